package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// noOffset is what Kafka answers where a group has committed nothing.
const noOffset = -1

// fetchFromNewGroup answers OffsetFetch for groups that do not exist yet as Apache Kafka does, with "nothing committed" for
// each partition. The engine's own answer is an error, which clients that look up a group before its first commit cannot
// get past. Requests about groups that exist go on to the engine.
func (b *Broker) fetchFromNewGroup(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // the engine's signature
	fetch, ok := req.(*kmsg.OffsetFetchRequest)
	if !ok {
		return nil, nil, false
	}
	resp := fetch.ResponseKind().(*kmsg.OffsetFetchResponse)
	const firstWithGroups = 8 // earlier versions ask about a single group, in fields of their own
	if fetch.Version < firstWithGroups {
		if b.groupExists(fetch.Group) {
			return nil, nil, false
		}
		for _, topic := range fetch.Topics {
			resp.Topics = append(resp.Topics, nothingCommitted(topic))
		}
	}
	for _, group := range fetch.Groups {
		if b.groupExists(group.Group) {
			return nil, nil, false
		}
		answer := kmsg.NewOffsetFetchResponseGroup()
		answer.Group = group.Group
		for _, topic := range group.Topics {
			answer.Topics = append(answer.Topics, nothingCommittedInGroup(topic))
		}
		resp.Groups = append(resp.Groups, answer)
	}
	b.cluster.KeepControl()
	return resp, nil, true
}

func (b *Broker) groupExists(name string) bool { return b.cluster.GroupInfo(name) != nil }

func nothingCommitted(topic kmsg.OffsetFetchRequestTopic) kmsg.OffsetFetchResponseTopic {
	answer := kmsg.NewOffsetFetchResponseTopic()
	answer.Topic = topic.Topic
	for _, id := range topic.Partitions {
		p := kmsg.NewOffsetFetchResponseTopicPartition()
		p.Partition, p.Offset, p.Metadata = id, noOffset, new(string)
		answer.Partitions = append(answer.Partitions, p)
	}
	return answer
}

func nothingCommittedInGroup(topic kmsg.OffsetFetchRequestGroupTopic) kmsg.OffsetFetchResponseGroupTopic {
	answer := kmsg.NewOffsetFetchResponseGroupTopic()
	answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
	for _, id := range topic.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.Metadata = id, noOffset, new(string)
		answer.Partitions = append(answer.Partitions, p)
	}
	return answer
}
