package processors

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// work is what a processor does with records, for the time of one session. The methods that take the clock run with every
// partition at rest; handle and open run concurrently for different partitions.
type work interface {
	// open takes a partition into service. Its table (nil where the processor has no state) is restored, and nobody else
	// touches it until the session ends.
	open(partition int32, t *tables.Table) error

	// handle takes records of one topic and one partition, which is open, in their order. What is wrong with a record is no
	// error; an error is about the state, and ends the session.
	handle(batch []input) error

	// tick does what time asks for: watermarks, expiry.
	tick(now time.Time) error

	// committed says that everything handled and ticked so far is acknowledged and committed.
	committed(now time.Time)
}

// input is a record on its way into a callback. It is valid during the call.
type input struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte // nil: none
	Value     []byte // nil: a tombstone
	Timestamp int64  // microseconds

	raw []*sarama.RecordHeader
}

// headers returns the record's headers.
func (in *input) headers() []codecs.Header {
	var headers []codecs.Header
	for _, h := range in.raw {
		headers = append(headers, codecs.Header{Key: string(h.Key), Value: h.Value})
	}
	return headers
}

// session is one membership in a consumer group, from one rebalance to the next, and the unit of failure: whatever goes
// wrong ends it, drops what is not committed, and the next session reads it again. It stands in for sarama's session
// towards goka.
//
// A session's records pass the gate to goka's callbacks, and every commit interval its committer (see commit.go) closes
// the gate and makes durable what they caused.
type session struct {
	sarama.ConsumerGroupSession
	p      *processor
	log    *slog.Logger
	ctx    context.Context // sarama's session context
	cancel context.CancelCauseFunc

	gate   *gate
	outbox *outbox
	work   work
	stores map[int32]*store // by partition; nil without state
	inputs [][]input        // by partition: the batch in hand
	claims map[string][]*claim

	handled  atomic.Int64  // records since the last commit
	early    chan struct{} // has room for one: "so many records have been handled that a commit is due"
	restored atomic.Int32  // partitions in service
	failed   atomic.Bool
	mu       sync.Mutex
	err      error // why it failed
	running  bool  // run was started
	finished chan struct{}
	trimmed  time.Time
	sized    time.Time // when the tables were looked at last
	nextStep time.Time // of look-ups: not before
}

// newSession opens what a session needs: its outbox, its tables' barriers and its work.
func newSession(p *processor, inner sarama.ConsumerGroupSession, cancel context.CancelCauseFunc) (*session, error) {
	s := &session{
		ConsumerGroupSession: inner,
		p:                    p,
		log:                  p.log.With("group", p.name, "generation", inner.GenerationID()),
		ctx:                  inner.Context(),
		cancel:               cancel,
		gate:                 newGate(),
		claims:               map[string][]*claim{},
		early:                make(chan struct{}, 1),
		finished:             make(chan struct{}),
		trimmed:              time.Now(),
	}
	for topic, partitions := range inner.Claims() {
		byPartition := make([]*claim, p.partitions)
		for _, n := range partitions {
			if int(n) >= len(byPartition) {
				return nil, fatalError{fmt.Errorf("topic %s has more than the %d partitions it had at the start: restart to take them in", topic, p.partitions)}
			}
			byPartition[n] = newClaim(topic, n)
		}
		s.claims[topic] = byPartition
	}
	s.inputs = make([][]input, p.partitions)
	p.report().joined(inner.GenerationID(), s.assigned())
	var err error
	if s.outbox, err = newOutbox(s.ctx, p.client, p.producer, p.rejected, p.changelog); err == nil {
		if s.work, err = p.newWork(s); err == nil {
			err = s.openPartitions()
		}
	}
	if err != nil {
		p.producer.Fail(err)
		if s.ctx.Err() != nil {
			err = errSessionOver
		}
		return nil, err
	}
	s.log.Debug("session begins", "partitions", s.assigned())
	return s, nil
}

// openPartitions opens the partitions of a processor without state, or prepares the restore of those that have a table.
func (s *session) openPartitions() error {
	if s.p.changelog == "" {
		for _, n := range s.assigned() {
			if err := s.work.open(n, nil); err != nil {
				return err
			}
			s.p.report().serving(n)
		}
		s.p.ready()
		return nil
	}
	barriers, err := s.barriers()
	if err != nil {
		return err
	}
	s.stores = map[int32]*store{}
	for n, barrier := range barriers {
		s.stores[n] = s.p.stores.get(n, barrier)
	}
	if len(s.stores) == 0 {
		s.p.ready()
	}
	return nil
}

// assigned returns the partition numbers that the session has.
func (s *session) assigned() []int32 {
	var numbers []int32
	for n := range s.p.partitions {
		for _, claims := range s.claims {
			if claims[n] != nil {
				numbers = append(numbers, n)
				break
			}
		}
	}
	return numbers
}

func (s *session) claim(topic string, partition int32) *claim { return s.claims[topic][partition] }

// ready returns a channel that is closed once records of the partition may pass.
func (s *session) ready(partition int32) <-chan struct{} {
	if s.stores == nil {
		return alwaysReady
	}
	return s.stores[partition].ready
}

var alwaysReady = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// endOf looks up the offset behind the last record of a topic partition.
func (s *session) endOf(topic string, partition int32) (int64, error) {
	return s.p.client.GetOffset(topic, partition, sarama.OffsetNewest)
}

// receive is goka's callback for every input topic: it handles a batch.
func (s *session) receive(gctx goka.Context) {
	if s.failed.Load() {
		return
	}
	c := s.claim(string(gctx.Topic()), gctx.Partition())
	batch := c.take(gctx.Offset())
	if batch == nil {
		s.fail(fmt.Errorf("%s/%d: the message of offset %d is not that of the next batch", c.topic, c.partition, gctx.Offset()))
		return
	}
	which := recordsOf(c, batch[0].Offset, batch[len(batch)-1].Offset)
	defer func() {
		if r := recover(); r != nil {
			s.fail(fmt.Errorf("%s: panic: %v\n%s", which(), r, debug.Stack()))
		}
	}()
	inputs := s.inputs[c.partition][:0]
	for _, m := range batch {
		in := input{Topic: c.topic, Partition: c.partition, Offset: m.Offset, Key: m.Key, Value: m.Value, raw: m.Headers}
		if !m.Timestamp.IsZero() {
			in.Timestamp = m.Timestamp.UnixMicro()
		}
		inputs = append(inputs, in)
	}
	s.inputs[c.partition] = inputs
	if err := s.work.handle(inputs); err != nil {
		s.fail(fmt.Errorf("%s: %w", which(), err))
		return
	}
	n := int64(len(batch))
	c.handled += n
	if before := s.handled.Add(n) - n; before < s.p.records && before+n >= s.p.records {
		select {
		case s.early <- struct{}{}:
		default:
		}
	}
	c.give(batch)
}

// recordsOf returns what says in an error which records of a claim it is about.
func recordsOf(c *claim, first, last int64) func() string {
	return func() string {
		if first == last {
			return fmt.Sprintf("record %s/%d offset %d", c.topic, c.partition, first)
		}
		return fmt.Sprintf("records %s/%d offset %d to %d", c.topic, c.partition, first, last)
	}
}

// fail ends the session: nothing more of it is committed, and what was not committed is read again. The first error
// counts.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.failed.Store(true)
	s.outbox.fail(err)
	s.cancel(err)
}

func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end finishes a session whose callbacks have stopped: it commits what they did, unless the session has failed, and puts
// the tables into a state in which the next session can take them up.
func (s *session) end() {
	if s.running {
		<-s.finished
	}
	if !s.failed.Load() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.p.grace)
		defer cancel()
		if err := s.flush(ctx, time.Now()); err != nil {
			s.fail(fmt.Errorf("last commit of the session: %w", err))
		}
	}
	for n, st := range s.stores {
		if err := st.settle(); err != nil {
			s.log.Error("table could not be reset and is opened again", "partition", n, "error", err)
		}
	}
	s.log.Debug("session ended", "failed", s.failed.Load())
}
