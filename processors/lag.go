package processors

import (
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Lag returns how many records the consumer groups of a plan have still to commit. Groups are looked at behind those
// whose output they read, so 0 means that everything in the input topics has had its effect. Watermarks, which come for as long as
// something is idle, do not count.
func Lag(plan *rules.Plan, client sarama.Client) (int64, error) {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return 0, fmt.Errorf("open admin client: %w", err)
	}
	lag := int64(0)
	for _, stage := range Stages(plan) {
		for _, topic := range stage.Topics {
			counts := anyRecord
			if !isSource(plan, topic) {
				counts = func(r *committedRecord) bool { return r.Key != nil }
			}
			n, err := topicLag(client, admin, stage.Group, topic, counts)
			if err != nil {
				return 0, fmt.Errorf("lag of group %s in %s: %w", stage.Group, topic, err)
			}
			lag += n
		}
	}
	return lag, nil
}

func topicLag(client sarama.Client, admin sarama.ClusterAdmin, group, topic string, counts func(*committedRecord) bool) (int64, error) {
	partitions, err := client.Partitions(topic)
	if err != nil {
		return 0, err
	}
	committed, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: partitions})
	if err != nil {
		return 0, err
	}
	lag := int64(0)
	for _, n := range partitions {
		end, err := client.GetOffset(topic, n, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		next, err := client.GetOffset(topic, n, sarama.OffsetOldest)
		if err != nil {
			return 0, err
		}
		if b := committed.GetBlock(topic, n); b != nil {
			if !errors.Is(b.Err, sarama.ErrNoError) {
				return 0, b.Err
			}
			next = max(next, b.Offset)
		}
		if next < end {
			// What is left may be markers of transactions, behind which no reader of a group ever commits.
			left, err := hasRecords(client, topic, n, next, end, counts)
			if err != nil {
				return 0, err
			}
			if left {
				lag += end - next
			}
		}
	}
	return lag, nil
}

// isSource tells whether a topic is a stream's.
func isSource(plan *rules.Plan, topic string) bool {
	return slices.ContainsFunc(plan.Streams, func(s *rules.Stream) bool { return s.Topic == topic })
}

func anyRecord(*committedRecord) bool { return true }

// hasRecords tells whether there is, or may yet be, a committed record of a partition in [from, end) that counts: one that was committed,
// or a transaction that is open.
func hasRecords(client sarama.Client, topic string, partition int32, from, end int64, counts func(*committedRecord) bool) (bool, error) {
	found := false
	next, err := visitCommitted(client, topic, partition, from, end, func(r *committedRecord) bool {
		found = counts(r)
		return !found
	})
	return found || err == nil && next < end, err
}
