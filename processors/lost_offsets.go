package processors

import (
	"fmt"
	"sync"

	"github.com/IBM/sarama"
)

// offsetWatch is how far this process has seen its group come in each topic partition. A group's offsets only grow while it has
// members, so a coordinator that answers less has lost what it had acknowledged, as one does that comes back from a crash
// without a part of its log. To believe it would be to read the records again, and what they cause would take effect twice.
type offsetWatch struct {
	mu   sync.Mutex
	next map[topicPartition]int64
}

// note takes an offset that the coordinator has acknowledged or told.
func (w *offsetWatch) note(topic string, partition int32, next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil {
		w.next = map[topicPartition]int64{}
	}
	at := topicPartition{topic, partition}
	w.next[at] = max(w.next[at], next)
}

// forget lets the partition begin anew.
func (w *offsetWatch) forget(topic string, partition int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.next, topicPartition{topic, partition})
}

func (w *offsetWatch) in(topic string, partition int32) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next[topicPartition{topic, partition}]
}

// lostOffsetError says that a group's coordinator has lost an offset.
type lostOffsetError struct {
	group, topic string
	partition    int32
	told, known  int64
}

func (e *lostOffsetError) Error() string {
	told := fmt.Sprint("offset ", e.told)
	if e.told < 0 {
		told = "no offset"
	}
	return fmt.Sprintf("the brokers have lost offsets of group %s: they have %s for %s/%d, where %d was committed; to go on without what they "+
		"have lost, stop all instances, set that offset with `kafka-consumer-groups.sh --reset-offsets --to-offset %d --topic %s:%d` and start them",
		e.group, told, e.topic, e.partition, e.known, e.known, e.topic, e.partition)
}

// check compares the offset from which a partition is to be read with what this process knows. It is OffsetOldest where the
// group has none, and where the topic does not hold the one that it has. An error ends the session; the next one may be told
// the right offset.
func (w *offsetWatch) check(s *session, topic string, partition int32, told int64) error {
	known := w.in(topic, partition)
	switch {
	case told >= known:
		w.note(topic, partition, told)
		return nil
	case known == 0:
		return nil // nothing was read yet
	case told < 0:
		oldest, err := s.p.client.GetOffset(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("read start of %s/%d: %w", topic, partition, err)
		}
		end, err := s.endOf(topic, partition)
		if err != nil {
			return fmt.Errorf("read end of %s/%d: %w", topic, partition, err)
		}
		if known < oldest || known > end {
			s.log.Error("the records that come next are not in the topic any more; reading goes on with the oldest that it has",
				"topic", topic, "partition", partition, "next", known, "oldest", oldest, "end", end)
			w.forget(topic, partition)
			return nil
		}
	}
	return &lostOffsetError{group: s.p.name, topic: topic, partition: partition, told: told, known: known}
}
