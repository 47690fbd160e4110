package producer

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// term is a producer between a Reset and the first error, with one producer id and epoch. Whatever comes back after its end
// changes the ended term only, so nothing needs to ask whether an answer is late. Fields are guarded by the producer's mu
// unless said otherwise.
type term struct {
	*Producer
	ctx    context.Context // ends with the term; its cause is err
	cancel context.CancelCauseFunc
	dial   *dialer // of all connections

	begun   bool
	err     error
	trouble error // the last one that was taken for passing

	id    int64
	epoch int16

	topics  map[string]*topic
	leaders map[string]*leader // by address
	filling []*partition       // those that may have an unsent batch
	pending int                // bytes added and not acknowledged
	unsent  int                // of these, bytes in open batches
	acked   map[int32]int64    // of the tracked topic: offset behind the last acknowledged record

	transactions *coordinator
	groups       map[string]*coordinator
	open         bool         // the coordinator may know of an open transaction
	ending       bool         // it is being ended
	members      []*partition // in the open transaction
	joining      []*partition // about to be
	enrolling    bool         // a goroutine takes care of joining
	held         []*partition // have to wait until the transaction has ended
}

type topic struct {
	name       string
	tracked    bool
	partitions map[int32]*partition
	lost       []*partition // need a leader
	locating   bool         // a goroutine takes care of lost
}

// partition is a queue of batches. While it waits for something or has a batch on its way it is busy, and on one list at
// most.
type partition struct {
	topic    *topic
	id       int32
	open     *batch   // takes records; may be nil
	queue    []*batch // closed; the first may be on its way
	filling  bool     // on the term's list
	busy     bool
	member   bool    // of the open transaction
	leader   *leader // nil: unknown
	sequence int32   // of the next record
	usual    int     // records of its last batch
	attempts int     // failed ones since the last success
	missing  time.Time
}

func newTerm(p *Producer) *term {
	t := &term{
		Producer: p,
		topics:   map[string]*topic{},
		leaders:  map[string]*leader{},
		acked:    map[int32]int64{},
		groups:   map[string]*coordinator{},
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.dial = newDialer(t.ctx, p.client.Config())
	t.transactions = t.transactionCoordinator()
	return t
}

// ready returns why the term takes no records, if it does not.
func (t *term) ready() error {
	if t.err == nil && !t.begun {
		return errNotReset
	}
	return t.err
}

// fail ends the term, once. Waiting callers are released, connections are closed and all goroutines end.
func (t *term) fail(err error) {
	if t.err != nil {
		return
	}
	t.err = err
	t.cancel(err)
	t.pending, t.unsent = 0, 0
	t.topics, t.leaders, t.filling, t.members, t.joining, t.held = nil, nil, nil, nil, nil, nil
	t.changed.Broadcast()
}

// within returns a context that ends with ctx and with the term.
func (t *term) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// ended is the error of a ctx that is over, with the trouble that may have used up its time.
func (t *term) ended(ctx context.Context) error {
	if t.err != nil {
		return t.err
	}
	if t.trouble != nil {
		return fmt.Errorf("%w (last trouble: %w)", context.Cause(ctx), t.trouble)
	}
	return context.Cause(ctx)
}

// add copies a record into the open batch of its partition.
func (t *term) add(r *codecs.Record, size int) {
	p := t.partition(r.Topic, r.Partition)
	if p.open != nil && p.open.bytes+size > t.cfg.BatchBytes {
		t.closeBatch(p)
	}
	if p.open == nil {
		p.open = t.spare.get(p.usual)
	}
	if !p.filling {
		p.filling = true
		t.filling = append(t.filling, p)
	}
	p.open.add(r, size)
	t.pending += size
	t.unsent += size
	if p.open.bytes >= t.cfg.BatchBytes {
		t.closeBatch(p)
	}
}

func (t *term) partition(name string, id int32) *partition {
	tp := t.topics[name]
	if tp == nil {
		tp = &topic{name: name, tracked: name == t.cfg.Tracked, partitions: map[int32]*partition{}}
		t.topics[name] = tp
	}
	p := tp.partitions[id]
	if p == nil {
		p = &partition{topic: tp, id: id}
		tp.partitions[id] = p
	}
	return p
}

// closeBatches closes all open batches, which sends them.
func (t *term) closeBatches() {
	for _, p := range t.filling {
		p.filling = false
		if p.open != nil {
			t.closeBatch(p)
		}
	}
	t.filling = t.filling[:0]
}

func (t *term) closeBatch(p *partition) {
	b := p.open
	p.open = nil
	p.usual = b.count()
	p.queue = append(p.queue, b)
	t.unsent -= b.bytes
	t.advance(p)
}

// advance takes a partition with something to send to its next stage, unless it is in one.
func (t *term) advance(p *partition) {
	if t.err != nil || p.busy || len(p.queue) == 0 {
		return
	}
	p.busy = true
	switch {
	case t.ending:
		t.held = append(t.held, p)
	case t.cfg.TransactionalID != "" && !p.member:
		t.joining = append(t.joining, p)
		if !t.enrolling {
			t.enrolling = true
			go t.enrol()
		}
	case p.leader == nil:
		t.lose(p)
	default:
		p.leader.waiting = append(p.leader.waiting, p)
		if !p.leader.sending {
			p.leader.sending = true
			go t.send(p.leader)
		}
	}
}

// flush waits until nothing is pending.
func (t *term) flush(ctx context.Context) error {
	defer t.wakeAt(ctx)()
	for {
		if err := t.ready(); err != nil {
			return err
		}
		if t.pending == 0 {
			return nil
		}
		t.closeBatches()
		if ctx.Err() != nil {
			return fmt.Errorf("flush %d bytes: %w", t.pending, t.ended(ctx))
		}
		t.changed.Wait()
	}
}

// wakeAt makes those who wait look again when ctx ends.
func (t *term) wakeAt(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changed.Broadcast()
	})
}

// acknowledge takes the first batch of a partition off its queue, whose first record has got the offset.
func (t *term) acknowledge(p *partition, offset int64) {
	b := p.queue[0]
	if p.topic.tracked {
		if offset < 0 {
			t.fail(fmt.Errorf("write %d records to %s/%d: they were written before, at an offset that the broker does not tell: %w",
				b.count(), p.topic.name, p.id, sarama.ErrDuplicateSequenceNumber))
			return
		}
		t.acked[p.id] = offset + int64(b.count())
	}
	p.queue = append(p.queue[:0], p.queue[1:]...)
	t.pending -= b.bytes
	t.spare.put(b)
	p.attempts, p.missing, t.trouble = 0, time.Time{}, nil
	p.busy = false
	t.advance(p)
}

// drop gives up the batches that no broker has seen.
func (t *term) drop() {
	for _, tp := range t.topics {
		for _, p := range tp.partitions {
			if p.open != nil {
				t.pending -= p.open.bytes
				t.unsent -= p.open.bytes
				p.open = nil
			}
			kept := p.queue[:0]
			for _, b := range p.queue {
				if b.numbered {
					kept = append(kept, b)
				} else {
					t.pending -= b.bytes
				}
			}
			clear(p.queue[len(kept):])
			p.queue = kept
		}
	}
}
