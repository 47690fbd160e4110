package processors

import (
	"context"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// claim is one topic partition of a session, as goka sees it: its messages have passed the gate.
//
// What goka is given as one message stands for a batch of records, those that had arrived when the one before was handed
// over: a hop from goroutine to goroutine costs as much as handling a record, and goka takes several per message. The
// message has the offset of the batch's last record; the records themselves wait in batches, in the same order.
type claim struct {
	sarama.ConsumerGroupClaim
	topic     string
	partition int32
	out       chan *sarama.ConsumerMessage
	batches   chan []*sarama.ConsumerMessage
	spare     chan []*sarama.ConsumerMessage // batches that are done, to be filled again

	next      atomic.Int64 // offset behind the last record whose callback is done; -1: none in this session
	committed int64        // offset last committed in this session; belongs to the committer
	handled   int64        // records since the last commit; of the callbacks and, when they are at rest, the committer
	metadata  string       // committed with the offset
	pressing  bool         // the metadata is to be committed although the offset has not moved

	attached atomic.Bool // the embedded claim is there
}

func newClaim(topic string, partition int32) *claim {
	c := &claim{
		topic: topic, partition: partition, committed: -1,
		out:     make(chan *sarama.ConsumerMessage, claimBuffer),
		batches: make(chan []*sarama.ConsumerMessage, 4*claimBuffer+4),
		spare:   make(chan []*sarama.ConsumerMessage, 4*claimBuffer+4),
	}
	c.next.Store(-1)
	return c
}

func (c *claim) attach(inner sarama.ConsumerGroupClaim) {
	c.ConsumerGroupClaim = inner
	c.attached.Store(true)
}

const (
	// claimBuffer is how many batches wait between the gate and goka, and between goka's claim and its callbacks; with
	// batchRecords it is small enough that they are done with before a commit in no time.
	claimBuffer = 2
	// batchRecords is how many records a batch has at most.
	batchRecords = 64
)

// Messages returns the records that have passed the gate.
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.out }

// waiting tells whether records have been fetched that have not passed the gate.
func (c *claim) waiting() bool {
	return c.attached.Load() && len(c.ConsumerGroupClaim.Messages()) > 0
}

// unknownPosition is the position of a claim that has not begun to read.
const unknownPosition = -3

// position returns the offset of the next record to read; OffsetOldest before the first record of a partition without a
// committed offset.
func (c *claim) position() int64 {
	if next := c.next.Load(); next >= 0 {
		return next
	}
	if !c.attached.Load() {
		return unknownPosition
	}
	return c.InitialOffset()
}

// pump passes a claim's records through the gate until the session ends. Where the partition has a table, nothing passes
// before it is restored.
func (s *session) pump(c *claim) {
	defer close(c.out)
	done := s.Context().Done()
	select {
	case <-s.ready(c.partition):
	case <-done:
		return
	}
	in := c.ConsumerGroupClaim.Messages()
	for {
		select {
		case m, ok := <-in:
			if !ok {
				return
			}
			batch := c.gather(m, in)
			if !s.gate.enter(done) {
				return
			}
			c.batches <- batch // has room for all that can be on their way
			last := batch[len(batch)-1]
			select {
			case c.out <- &sarama.ConsumerMessage{Topic: c.topic, Partition: c.partition, Offset: last.Offset, Timestamp: last.Timestamp}:
			case <-done:
				return // inside for good; nobody waits for it any more
			}
		case <-done:
			return
		}
	}
}

// gather returns a batch of first and what else has arrived.
func (c *claim) gather(first *sarama.ConsumerMessage, in <-chan *sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	var batch []*sarama.ConsumerMessage
	select {
	case batch = <-c.spare:
	default:
		batch = make([]*sarama.ConsumerMessage, 0, batchRecords)
	}
	batch = append(batch[:0], first)
	for len(batch) < batchRecords {
		select {
		case m, ok := <-in:
			if !ok {
				return batch
			}
			batch = append(batch, m)
		default:
			return batch
		}
	}
	return batch
}

// take returns the batch that the message with this offset stands for; nil where it is not next, which cannot be.
func (c *claim) take(offset int64) []*sarama.ConsumerMessage {
	select {
	case batch := <-c.batches:
		if batch[len(batch)-1].Offset == offset {
			return batch
		}
	default:
	}
	return nil
}

// give returns a batch that is done.
func (c *claim) give(batch []*sarama.ConsumerMessage) {
	clear(batch)
	select {
	case c.spare <- batch:
	default:
	}
}

// MarkOffset takes note of a batch whose callback is done. goka calls it once, with the offset behind the last record.
func (s *session) MarkOffset(topic string, partition int32, offset int64, _ string) {
	s.claim(topic, partition).next.Store(offset)
	s.gate.leave()
}

// MarkMessage takes note of a batch whose callback is done.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, metadata)
}

// Commit does nothing: the session commits by itself, when what the records caused is acknowledged.
func (s *session) Commit() {}

// ResetOffset does nothing: a claim cannot be rewound, only read again by another session.
func (s *session) ResetOffset(string, int32, int64, string) {}

// Context ends with the session.
func (s *session) Context() context.Context { return s.ctx }
