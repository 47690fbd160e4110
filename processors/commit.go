package processors

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/failpoint"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// run commits every interval until the session ends.
func (s *session) run() {
	defer close(s.finished)
	// A commit that is under way when the session ends is finished, if that does not take long.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	defer cancel()
	stop := context.AfterFunc(s.ctx, func() { time.AfterFunc(s.p.grace, cancel) })
	defer stop()

	ticker := time.NewTicker(s.p.interval)
	defer ticker.Stop()
	var asked <-chan struct{} // never, where nobody may ask
	if s.p.lookups != nil {
		asked = s.p.lookups.asked
	}
	pace := time.NewTimer(s.p.interval)
	pace.Stop()
	defer pace.Stop()
	for {
		var now time.Time
		select {
		case <-s.ctx.Done():
			return
		case <-asked:
			pace.Reset(max(0, time.Until(s.nextStep)))
			continue
		case now = <-pace.C:
		case now = <-ticker.C:
		case <-s.early:
			now = time.Now()
			ticker.Reset(s.p.interval)
		}
		if s.gate.close(s.ctx) != nil {
			return
		}
		idle := s.handled.Load() == 0
		if err := s.flush(ctx, now); err != nil {
			s.fail(fmt.Errorf("commit: %w", err))
			return
		}
		if err := s.lookUp(idle); err != nil {
			s.fail(err)
			return
		}
		s.gate.open()
		s.trim(now)
	}
}

// flush is the commit. With every partition at rest it makes durable what the records since the last one caused: outputs,
// the changelog coalesced to one record per entry, and the input's offsets, in one transaction or, under at-least-once
// delivery, one after the other. The local tables follow when that is done, so they are never newer than their changelog.
// An interval in which nothing happened asks nothing of the broker.
//
// After a failure the session ends, and its records are read again from the last offsets that were committed. Also a commit
// whose outcome is unknown ends that way: the tables drop what they have not seen committed, and read from their changelog
// whether it was.
func (s *session) flush(ctx context.Context, now time.Time) error {
	if s.failed.Load() {
		return s.failure()
	}
	if err := s.work.tick(now); err != nil {
		return err
	}
	commit := s.commitInOrder
	if s.p.transactional != "" {
		commit = s.commitTransaction
	}
	committed, err := commit(ctx)
	if err != nil {
		s.p.report().abort(err)
		return err
	}
	if !committed {
		return nil
	}
	s.handled.Store(0)
	now = time.Now()
	s.work.committed(now)
	s.report(now)
	return nil
}

// commitTransaction commits everything at once. Each transaction carries an offset of a partition that this member owns,
// also one that only the clock has caused: the group's coordinator refuses it where the group has gone on without this
// member, so nothing of a member that slept through a rebalance takes effect. Where there is no such offset yet, what is to
// be written waits. It reports false where nothing was committed.
func (s *session) commitTransaction(ctx context.Context) (bool, error) {
	dirty := s.dirty()
	for _, st := range dirty {
		s.queueChanges(st)
	}
	moved := s.moved()
	if len(moved) == 0 {
		if s.outbox.Empty() {
			return true, s.applyTables(dirty) // rows that are due leave without a record
		}
		position, err := s.owned()
		if err != nil || position == nil {
			return false, err
		}
		moved = []producer.Position{*position}
	}
	if failpoint.On("bug-apply-before-commit") {
		if err := s.applyTables(dirty); err != nil {
			return false, err
		}
	}
	offsets := s.offsets(moved)
	if failpoint.On("bug-offsets-outside-transaction") {
		offsets.Positions = nil
	}
	began := time.Now()
	if err := s.outbox.Commit(ctx, offsets); err != nil {
		return false, err
	}
	failpoint.Hit("commit-before-apply")
	if failpoint.On("bug-offsets-outside-transaction") {
		if err := s.commitOffsets(ctx, moved); err != nil {
			return false, err
		}
	}
	if err := s.applyTables(dirty); err != nil {
		return false, err
	}
	s.noteCommitted(moved)
	s.p.report().commit(time.Since(began))
	failpoint.Hit("commit-after-apply")
	return true, nil
}

// commitInOrder commits under at-least-once delivery, each step acknowledged before the next begins:
//
//  1. outputs, so that no state says that something was emitted which was not;
//  2. the changelog;
//  3. the local tables;
//  4. the input's offsets.
//
// A failure between two steps leaves the later ones undone, so the records are read again.
func (s *session) commitInOrder(ctx context.Context) (bool, error) {
	began := time.Now()
	if err := s.outbox.Flush(ctx); err != nil {
		return false, fmt.Errorf("flush outputs: %w", err)
	}
	dirty := s.dirty()
	if len(dirty) > 0 {
		for _, st := range dirty {
			s.queueChanges(st)
		}
		if err := s.outbox.Flush(ctx); err != nil {
			return false, fmt.Errorf("flush changelog: %w", err)
		}
		if err := s.applyTables(dirty); err != nil {
			return false, err
		}
	}
	moved := s.moved()
	if len(moved) > 0 {
		if err := s.commitOffsets(ctx, moved); err != nil {
			return false, fmt.Errorf("commit offsets: %w", err)
		}
		s.noteCommitted(moved)
	}
	if len(dirty)+len(moved) > 0 {
		s.p.report().commit(time.Since(began))
	}
	return true, nil
}

// dirty returns the stores in service whose tables have changed since their last commit.
func (s *session) dirty() []*store {
	var dirty []*store
	for _, st := range s.stores {
		if st.restored() && st.table.Dirty() {
			dirty = append(dirty, st)
		}
	}
	return dirty
}

// applyTables lets tables take over the changes that their changelog now has.
func (s *session) applyTables(dirty []*store) error {
	for _, st := range dirty {
		position := st.table.Position()
		if next, ok := s.outbox.Acked(st.partition); ok {
			if next < position {
				return fatalError{fmt.Errorf("changelog %s/%d has begun anew: its next offset is %d, the table is at %d; it was deleted while it was in use, and what it held is lost",
					s.p.changelog, st.partition, next, position)}
			}
			position = next
		}
		if err := st.table.Commit(position); err != nil {
			return fmt.Errorf("commit table of partition %d: %w", st.partition, err)
		}
	}
	return nil
}

// queueChanges puts what has changed in a table since its last commit into the outbox.
func (s *session) queueChanges(st *store) {
	st.table.Changes(func(key, value []byte) {
		s.outbox.Add(codecs.Record{Topic: s.p.changelog, Partition: st.partition, Key: key, Value: value})
	})
}
