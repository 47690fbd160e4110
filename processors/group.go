package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	// steady is how long a session must have lasted for the next failure to count as the first one.
	steady = 30 * time.Second
)

// group is the consumer group that goka is given. It runs the sessions of one processor: goka sees one long call of
// Consume, within which sessions end and begin with each rebalance and each failure. (goka's own loop sleeps five seconds
// after every rebalance and ends the process on every error.)
type group struct {
	sarama.ConsumerGroup
	client sarama.Client // the group's own
	p      *processor
	log    *slog.Logger

	missing missing
}

// Close leaves the group.
func (g *group) Close() error {
	return errors.Join(g.ConsumerGroup.Close(), g.client.Close())
}

// Consume runs sessions until ctx ends, which is no error, or until an error that trying again cannot mend, which the
// processor is told of too.
func (g *group) Consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	g.p.failure = g.consume(ctx, topics, handler)
	return g.p.failure
}

func (g *group) consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	var delay backoff
	var waits, fenced waiting
	for {
		started := time.Now()
		sessionCtx, cancel := context.WithCancelCause(ctx)
		h := &sessionHandler{inner: handler, p: g.p, cancel: cancel}
		g.p.report().joining()
		err := g.ConsumerGroup.Consume(sessionCtx, topics, h)
		failure := h.failure()
		if failure == nil && err == nil {
			err = h.lost()
		}
		cancel(nil)
		if ctx.Err() != nil || errors.Is(failure, errSessionOver) {
			g.p.report().ended(nil)
		} else {
			g.p.report().ended(cmp.Or(failure, err))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(failure, sarama.ErrFencedInstancedId), errors.Is(err, sarama.ErrFencedInstancedId):
			if h.session != nil {
				fenced = waiting{}
			}
			if g.outlast(ctx, &fenced) {
				continue
			}
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("consumer group %s: another instance runs with instance_id %q; each needs one of its own: %w",
				g.p.name, g.p.config.Consumer.Group.InstanceId, errors.Join(failure, err))
		case failure != nil && isFatal(failure):
			return failure
		case failure == nil && err != nil && isFatal(err):
			return fmt.Errorf("consumer group %s: %w", g.p.name, err)
		}
		if gone := g.missing.note("", cmp.Or(failure, err), time.Now()); gone != nil {
			return gone
		}
		if time.Since(started) > steady {
			delay.reset()
		}
		if failure != nil && !errors.Is(err, failure) {
			err = errors.Join(failure, err)
		}
		if errors.Is(err, errSessionOver) {
			err = nil
		}
		if err == nil {
			waits = waiting{}
			continue // a rebalance
		}
		wait := passingDelay
		if failure != nil || !isPassing(err) {
			waits = waiting{}
			wait = delay.next()
			g.log.Warn("session ended, joining again", "group", g.p.name, "cause", err, "wait", wait)
		} else if since, long := waits.note(time.Now()); long {
			g.log.Warn("the group's coordinator lets no session begin, trying again", "group", g.p.name, "cause", err, "since", since)
		} else {
			g.log.Debug("session could not begin yet, joining again", "group", g.p.name, "cause", err, "wait", wait)
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// outlast waits where the group has another member with this instance's id, and returns whether to join again: it can be this instance's own
// predecessor, or itself under a name that the group's coordinator has lost in a crash, which leaves the group when its session is over.
// Whoever has been there for longer lives. Nothing is taken from it: who comes with a name that the group does not know is turned away.
func (g *group) outlast(ctx context.Context, fenced *waiting) bool {
	group := g.p.config.Consumer.Group
	patience := group.Session.Timeout + group.Session.Timeout/2
	if fenced.since.IsZero() {
		g.log.Warn("another member has this instance's id, waiting whether it lives", "group", g.p.name, "instance_id", group.InstanceId, "wait", patience)
	}
	since, _ := fenced.note(time.Now())
	return time.Since(since) < patience && sleep(ctx, fencedDelay)
}

// fencedDelay is how often it asks again meanwhile.
const fencedDelay = 500 * time.Millisecond

// passingDelay is how long to wait where the group is not ready for this member.
const passingDelay = 50 * time.Millisecond

// waitPatience is how long what should pass by itself may take before somebody is told, and how often. What takes longest is a
// transaction that was left open, whose coordinator looks every ten seconds whether the time of one is over.
const waitPatience = transactionTimeout + 20*time.Second

// waiting tells how long the answers have been such as should pass by themselves. The zero value has seen none.
type waiting struct {
	since, told time.Time
}

// note takes one more of them, and tells since when they are all there is, and whether that is worth a warning now.
func (w *waiting) note(now time.Time) (since time.Time, long bool) {
	if w.since.IsZero() {
		w.since, w.told = now, now
	}
	if now.Sub(w.told) < waitPatience {
		return w.since, false
	}
	w.told = now
	return w.since, true
}

// isPassing tells answers that are no failure of anything: the group is busy with another rebalance, its coordinator has just
// taken over, or what an instance has left open keeps its offsets unknown until it is ended.
func isPassing(err error) bool {
	for _, cause := range []error{
		sarama.ErrUnstableOffsetCommit,
		sarama.ErrRebalanceInProgress,
		sarama.ErrOffsetsLoadInProgress,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// errSessionOver is why a session could not begin that a rebalance ended before.
var errSessionOver = errors.New("the session ended before it began")

// sessionHandler puts a session of ours between sarama's session and goka. It serves one session.
type sessionHandler struct {
	inner   sarama.ConsumerGroupHandler
	p       *processor
	cancel  context.CancelCauseFunc // ends sarama's session
	session *session
	err     error // why Setup failed
}

// Setup prepares the session and lets goka set up its partitions. sarama calls Cleanup after a Setup that failed, too.
func (h *sessionHandler) Setup(inner sarama.ConsumerGroupSession) error {
	s, err := newSession(h.p, inner, h.cancel)
	if err != nil {
		h.err = fmt.Errorf("begin session: %w", err)
		return h.err
	}
	h.session = s
	h.p.current.Store(s)
	if err := h.inner.Setup(s); err != nil {
		s.fail(fmt.Errorf("set up partitions: %w", err))
		return err
	}
	go s.run()
	s.running = true
	return nil
}

// ConsumeClaim passes one claim's records through the gate to goka.
func (h *sessionHandler) ConsumeClaim(_ sarama.ConsumerGroupSession, inner sarama.ConsumerGroupClaim) error {
	c := h.session.claim(inner.Topic(), inner.Partition())
	if err := h.p.offsets.check(h.session, c.topic, c.partition, inner.InitialOffset()); err != nil {
		h.session.fail(err)
		return err
	}
	c.attach(inner)
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		h.session.pump(c)
	}()
	err := h.inner.ConsumeClaim(h.session, c)
	h.cancel(nil) // goka has stopped reading, so the session is over; the pump may still hold a record for it
	<-pumped
	return err
}

// Cleanup stops goka's partitions and commits what they have finished.
func (h *sessionHandler) Cleanup(sarama.ConsumerGroupSession) error {
	if h.session == nil {
		return nil
	}
	err := h.inner.Cleanup(h.session)
	if err != nil {
		h.session.fail(fmt.Errorf("stop partitions: %w", err))
	}
	h.session.end()
	h.p.current.Store(nil)
	return err
}

func (h *sessionHandler) failure() error {
	if h.session == nil {
		return h.err
	}
	return h.session.failure()
}

// lost returns why sarama ended the session, where that is neither a rebalance nor our own doing.
func (h *sessionHandler) lost() error {
	if h.session == nil {
		return nil
	}
	switch cause := context.Cause(h.session.ctx); {
	case cause == nil, errors.Is(cause, context.Canceled), errors.Is(cause, sarama.ErrRebalanceInProgress):
		return nil
	default:
		return fmt.Errorf("membership lost: %w", cause)
	}
}

// backoff is the delay between attempts: it doubles from minBackoff to maxBackoff.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, minBackoff), maxBackoff)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits and reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fatalError is an error that trying again cannot mend.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// isFatal tells errors of configuration and permission, which an operator must mend, from those that pass.
func isFatal(err error) bool {
	if fatal := (fatalError{}); errors.As(err, &fatal) {
		return true
	}
	if folder := (*tables.FolderError)(nil); errors.As(err, &folder) {
		return true
	}
	if config := sarama.ConfigurationError(""); errors.As(err, &config) {
		return true
	}
	for _, cause := range []error{
		sarama.ErrClosedConsumerGroup,
		sarama.ErrClosedClient,
		sarama.ErrGroupAuthorizationFailed,
		sarama.ErrTopicAuthorizationFailed,
		sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed,
		sarama.ErrFencedInstancedId,
		sarama.ErrInconsistentGroupProtocol,
		sarama.ErrInvalidGroupId,
		sarama.ErrInvalidSessionTimeout,
		sarama.ErrUnsupportedVersion,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}
