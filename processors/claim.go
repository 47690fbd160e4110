package processors

import (
	"context"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// claim is one topic partition of a session, as goka sees it: its messages are those that have passed the gate.
type claim struct {
	sarama.ConsumerGroupClaim
	topic     string
	partition int32
	out       chan *sarama.ConsumerMessage

	next      atomic.Int64 // offset behind the last record whose callback is done; -1: none in this session
	committed int64        // offset last committed in this session; belongs to the committer
	metadata  string       // committed with the offset

	attached atomic.Bool // the embedded claim is there
}

func newClaim(topic string, partition int32) *claim {
	c := &claim{topic: topic, partition: partition, out: make(chan *sarama.ConsumerMessage, claimBuffer), committed: -1}
	c.next.Store(-1)
	return c
}

func (c *claim) attach(inner sarama.ConsumerGroupClaim) {
	c.ConsumerGroupClaim = inner
	c.attached.Store(true)
}

// claimBuffer is how many records wait between the gate and goka, and between goka's claim and its callbacks: enough that
// goroutines do not take turns at every record, few enough that they are done with before a commit in no time.
const claimBuffer = 128

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
			if !ok || !s.gate.enter(done) {
				return
			}
			select {
			case c.out <- m:
			case <-done:
				return // inside for good; nobody waits for it any more
			}
		case <-done:
			return
		}
	}
}

// MarkOffset takes note of a record whose callback is done. goka calls it once per record, with the offset behind it.
func (s *session) MarkOffset(topic string, partition int32, offset int64, _ string) {
	s.claim(topic, partition).next.Store(offset)
	s.gate.leave()
}

// MarkMessage takes note of a record whose callback is done.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, metadata)
}

// Commit does nothing: the session commits by itself, when what the records caused is acknowledged.
func (s *session) Commit() {}

// ResetOffset does nothing: a claim cannot be rewound, only read again by another session.
func (s *session) ResetOffset(string, int32, int64, string) {}

// Context ends with the session.
func (s *session) Context() context.Context { return s.ctx }
