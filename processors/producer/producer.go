// Package producer writes records to Kafka, each exactly once: in batches that are built by hand and numbered, and where a
// transactional id is given in transactions that commit a consumer group's offsets besides. It is the last station of the
// processors' route. It chooses no partition and does not judge what a record says.
//
// A record goes through these stages, each in a file of its own: it is copied into its partition's open batch (batch.go);
// the batch is closed when it is full or when everything is sent; the partition joins the transaction (transaction.go), its
// leader is looked up (locate.go), and batches for the same broker leave together (send.go). One batch of a partition is on
// its way at any time, so a retry cannot be overtaken. All of that belongs to a term (term.go), which lasts from one Reset to
// the first error. There are goroutines only while there is something to do.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

var (
	// ErrFenced says that the transactional id is in other hands: another producer has taken it, or the coordinator has ended
	// a transaction that was open for too long. Reset takes the id back.
	ErrFenced = errors.New("producer is fenced")

	// ErrUnknownOutcome says that a commit was asked for and no answer could be had, so it may have happened or not. Reading
	// the group's offsets after a Reset tells.
	ErrUnknownOutcome = errors.New("outcome of the transaction is unknown")

	errClosed   = errors.New("producer is closed")
	errReplaced = errors.New("producer was reset")
	errNotReset = errors.New("producer is used before its reset")
)

// Config says how a producer writes.
type Config struct {
	TransactionalID    string        // "": idempotent, without transactions
	TransactionTimeout time.Duration // the coordinator aborts a transaction that is open for longer; 0: 10 s
	Tracked            string        // topic whose acknowledged offsets Acked reports; may be ""
	BatchBytes         int           // a partition's records are sent once they are this many; 0: 512 KiB
	PendingBytes       int           // unacknowledged bytes from which Add waits; 0: 32 MiB
	MissingTimeout     time.Duration // how long a topic may be unknown to the brokers before that is an error; 0: 30 s
	Logger             *slog.Logger  // nil: slog.Default()
}

// Offsets are what a transaction commits for a consumer group besides its records.
type Offsets struct {
	Group      string
	Member     string
	Instance   string // "": not a static member
	Generation int32
	Positions  []Position
}

// Position is the offset from which the group reads on in a partition.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	Metadata  string
}

// Producer writes records. Add, Acked, Usable, Empty, Fail and Close are safe for concurrent use; Reset, Flush, Commit and Abort
// are for one goroutine at a time.
//
// The first error ends a term: everything unsent, unacknowledged or uncommitted is given up, further records are dropped,
// and each call returns the error until Reset begins a new term.
type Producer struct {
	client sarama.Client
	cfg    Config
	spare  spare

	mu      sync.Mutex
	changed *sync.Cond // on mu: less is pending, a transaction has ended, or a term has failed
	term    *term
	closed  bool
}

// New returns a producer that must be Reset before its first use. It finds brokers through the client, which stays the
// caller's and must outlive it, and connects to them on its own, with the client's configuration: a request of the client
// that waits at a broker, as a fetch does, delays no batch. The configured version must be 2.5 at least.
func New(client sarama.Client, cfg Config) *Producer {
	if cfg.TransactionTimeout == 0 {
		cfg.TransactionTimeout = 10 * time.Second
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = 512 << 10
	}
	if cfg.PendingBytes == 0 {
		cfg.PendingBytes = 32 << 20
	}
	if cfg.MissingTimeout == 0 {
		cfg.MissingTimeout = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Producer{client: client, cfg: cfg}
	p.changed = sync.NewCond(&p.mu)
	p.term = newTerm(p)
	p.term.fail(errNotReset)
	return p
}

// Reset begins a new term with a new epoch of the producer's id. What an earlier holder of the transactional id has left open
// is aborted and its late requests are refused; of the producer itself the records that were not committed, the error and
// what Acked knows are forgotten. What may pass (a coordinator that moves, a transaction that is still ending, no
// connection) is retried until ctx ends.
func (p *Producer) Reset(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed
	}
	p.term.fail(errReplaced)
	t := newTerm(p)
	p.term = t
	p.mu.Unlock()

	ctx, done := t.within(ctx)
	defer done()
	err := t.begin(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = t.err
	}
	if err != nil {
		err = fmt.Errorf("reset producer: %w", err)
		t.fail(err)
		return err
	}
	t.begun = true
	return nil
}

// Usable tells whether a new transaction could start: the term has begun, has no error, and nothing of it is left unsent,
// unacknowledged or uncommitted.
func (p *Producer) Usable() bool { return p.Empty() }

// Empty tells whether nothing is unsent, unacknowledged or in an open transaction. After an error that is not known, so it is
// false.
func (p *Producer) Empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term.ready() == nil && p.term.pending == 0 && !p.term.open
}

// Add copies a record into the batch of its partition, which must not be negative. It waits while too much is
// unacknowledged. A Timestamp of 0 stands for the time at which the record is sent, and Kafka knows no time before 1970.
// After an error records are dropped; the error shows at the next Flush or Commit. A record that is added while Commit runs
// belongs to that transaction or to the next.
func (p *Producer) Add(r *codecs.Record) {
	size := recordSize(r.Key, r.Value)
	for _, h := range r.Headers {
		size += headerSize(len(h.Key), h.Value)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.term
	for t.pending >= p.cfg.PendingBytes && t.err == nil {
		// What is left in open batches is sent only where little is on its way, or each record that finds room again would
		// leave in a batch of its own.
		if t.pending-t.unsent < p.cfg.PendingBytes/2 {
			t.closeBatches()
		}
		p.changed.Wait()
	}
	if err := t.ready(); err != nil {
		t.fail(err)
		return
	}
	if r.Partition < 0 {
		t.fail(fmt.Errorf("record for %s: partition %d was not chosen", r.Topic, r.Partition))
		return
	}
	t.add(r, size)
}

// Flush sends everything that was added and returns when all of it is acknowledged by all in-sync replicas, or with the
// first error. Where ctx ends first, it is sent all the same.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term.flush(ctx)
}

// Acked returns the offset behind the last acknowledged record of a partition of the tracked topic, and whether there was one
// in this term. The records may belong to a transaction that is still open.
func (p *Producer) Acked(partition int32) (next int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, ok = p.term.acked[partition]
	return next, ok
}

// Commit sends everything that was added and commits it together with the offsets, as one transaction. Without positions it
// commits records only; with nothing at all to commit it asks the broker nothing. The group's coordinator refuses a
// generation, member or instance that is not the present one: errors.Is then finds sarama.ErrIllegalGeneration,
// ErrUnknownMemberId or ErrFencedInstancedId.
//
// Any error ends the term, also that of ctx: what was added is not committed unless the error is ErrUnknownOutcome.
func (p *Producer) Commit(ctx context.Context, o Offsets) error {
	if err := p.current().commit(ctx, o); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// Abort drops what was not sent and aborts the open transaction, if there is one. Any error, also that of ctx, ends the
// term, and Reset is what aborts the transaction then.
func (p *Producer) Abort(ctx context.Context) error {
	if err := p.current().abort(ctx); err != nil {
		return fmt.Errorf("abort transaction: %w", err)
	}
	return nil
}

// Fail ends the term with err, unless it has an error, and releases everybody who waits.
func (p *Producer) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.term.fail(err)
}

// Close gives up what is pending and the producer's connections. A transaction that is open stays so until its time-out or
// until its id is used again. Close does not wait, and further calls do nothing.
func (p *Producer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.term.fail(errClosed)
}

func (p *Producer) current() *term {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term
}
