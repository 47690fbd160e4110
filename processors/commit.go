package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// trimInterval is how often the prefixes of repartition and changelog topics that nobody needs any more are deleted.
const trimInterval = 30 * time.Second

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
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			if s.gate.close(s.ctx) != nil {
				return
			}
			if err := s.flush(ctx, now); err != nil {
				s.fail(fmt.Errorf("commit: %w", err))
				return
			}
			s.gate.open()
			s.trim(now)
		}
	}
}

// flush is the commit. With every partition at rest it makes durable what the records since the last one caused, each
// step acknowledged before the next begins:
//
//  1. outputs, so that no state says that something was emitted which was not;
//  2. the changelog, coalesced to one record per entry;
//  3. the local tables, which are never newer than their changelog;
//  4. the input's offsets.
//
// A failure between two steps leaves the later ones undone, so the records are read again: at least once. An interval in
// which nothing happened asks nothing of the broker.
func (s *session) flush(ctx context.Context, now time.Time) error {
	if s.failed.Load() {
		return s.failure()
	}
	if err := s.work.tick(now); err != nil {
		return err
	}
	if err := s.outbox.Flush(ctx); err != nil {
		return fmt.Errorf("flush outputs: %w", err)
	}
	if err := s.flushTables(ctx); err != nil {
		return err
	}
	if err := s.commitOffsets(ctx); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	s.work.committed(now)
	return nil
}

// flushTables writes the changes of all tables to the changelog and then to the tables' stores.
func (s *session) flushTables(ctx context.Context) error {
	var dirty []*store
	for _, st := range s.stores {
		if !st.restored() || !st.table.Dirty() {
			continue
		}
		dirty = append(dirty, st)
		s.queueChanges(st)
	}
	if len(dirty) == 0 {
		return nil
	}
	if err := s.outbox.Flush(ctx); err != nil {
		return fmt.Errorf("flush changelog: %w", err)
	}
	for _, st := range dirty {
		position := st.table.Position()
		if next, ok := s.outbox.Acked(st.partition); ok {
			position = max(position, next)
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

// commitOffsets commits the claims that have moved, under the session's generation: a member that the group has given up
// is refused.
func (s *session) commitOffsets(ctx context.Context) error {
	moved := s.moved()
	if len(moved) == 0 {
		return nil
	}
	var delay backoff
	for {
		err := s.sendOffsets(moved)
		if err == nil {
			return nil
		}
		if !isRetriable(err) {
			return err
		}
		if refresh := s.p.client.RefreshCoordinator(s.p.name); refresh != nil {
			err = errors.Join(err, refresh)
		}
		if !sleep(ctx, delay.next()) {
			return err
		}
	}
}

func (s *session) moved() []*claim {
	var moved []*claim
	for _, claims := range s.claims {
		for _, c := range claims {
			if c != nil && c.next.Load() > c.committed {
				moved = append(moved, c)
			}
		}
	}
	return moved
}

func (s *session) sendOffsets(claims []*claim) error {
	const unknownEpoch = -1
	coordinator, err := s.p.client.Coordinator(s.p.name)
	if err != nil {
		return err
	}
	req := sarama.NewOffsetCommitRequest(s.p.client.Config(), s.p.name)
	req.ConsumerID = s.MemberID()
	req.ConsumerGroupGeneration = s.GenerationID()
	for _, c := range claims {
		req.AddBlockWithLeaderEpoch(c.topic, c.partition, c.next.Load(), unknownEpoch, 0, c.metadata)
	}
	resp, err := coordinator.CommitOffset(req)
	if err != nil {
		// The connection may be dead for good: drop it, so that the next attempt dials again.
		_ = coordinator.Close()
		return errNetwork{err}
	}
	for _, c := range claims {
		code, ok := resp.Errors[c.topic][c.partition]
		if !ok {
			return sarama.ErrIncompleteResponse
		}
		if code != sarama.ErrNoError {
			return fmt.Errorf("%s/%d: %w", c.topic, c.partition, code)
		}
	}
	for _, c := range claims {
		c.committed = c.next.Load()
	}
	return nil
}

// errNetwork is an error of a connection, not an answer of the broker.
type errNetwork struct{ error }

func (e errNetwork) Unwrap() error { return e.error }

// isRetriable tells whether an offset commit may succeed when it is sent again. An answer that the generation is over is
// not: the group has gone on without this member.
func isRetriable(err error) bool {
	if network := (errNetwork{}); errors.As(err, &network) {
		return true
	}
	for _, cause := range []error{
		sarama.ErrOutOfBrokers,
		sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrOffsetsLoadInProgress,
		sarama.ErrRequestTimedOut,
		sarama.ErrNotEnoughReplicas,
		sarama.ErrUnknownTopicOrPartition,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// trim deletes, now and then, what no restart needs: repartition records that are committed, and the changelog's prefix
// of rows that have expired. It is housekeeping: a failure is tried again at the next time.
func (s *session) trim(now time.Time) {
	if now.Sub(s.trimmed) < s.p.trimming || s.p.deleteRecords == nil {
		return
	}
	s.trimmed = now
	below := map[string]map[int32]int64{}
	note := func(topic string, partition int32, offset int64) {
		if offset <= 0 {
			return
		}
		if below[topic] == nil {
			below[topic] = map[int32]int64{}
		}
		below[topic][partition] = offset
	}
	if claims := s.claims[s.p.repartition]; claims != nil {
		for _, c := range claims {
			if c != nil {
				note(c.topic, c.partition, c.committed)
			}
		}
	}
	for n, offset := range s.trimmable() {
		note(s.p.changelog, n, offset)
	}
	go func() {
		for topic, offsets := range below {
			if err := s.p.deleteRecords(topic, offsets); err != nil {
				s.log.Debug("trimming failed", "topic", topic, "error", err)
			}
		}
	}()
}

// trimmable returns how far the changelogs may be cut. Tables are not safe for concurrent use, so it closes the gate.
func (s *session) trimmable() map[int32]int64 {
	if len(s.stores) == 0 || s.gate.close(s.ctx) != nil {
		return nil
	}
	defer s.gate.open()
	offsets := map[int32]int64{}
	for n, st := range s.stores {
		if st.restored() {
			offsets[n] = st.table.Trimmable()
		}
	}
	return offsets
}
