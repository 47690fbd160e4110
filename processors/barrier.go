package processors

import (
	"context"
	"fmt"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// barriers writes a record into the changelog of every assigned partition and returns their offsets. A table is restored
// when it has read its barrier: whatever was written before, by whomever, is then in it. (The end that the broker reports
// says less: below it may be transactions that are still open, and the last offset may be a marker that nobody is ever
// given.) A barrier is a tombstone, so that compaction removes it.
func (s *session) barriers() (map[int32]int64, error) {
	offsets := map[int32]int64{}
	assigned := s.assigned()
	key := codecs.AppendBarrierKey(nil, s.p.config.ClientID)
	for _, n := range assigned {
		s.outbox.Add(codecs.Record{Topic: s.p.changelog, Partition: n, Key: key})
	}
	write := s.outbox.Flush
	if s.p.transactional != "" {
		// Readers of a table wait for what is open, so a barrier must not be. It changes nothing, so it needs no offset that
		// would prove that this member is still in its group.
		write = func(ctx context.Context) error { return s.outbox.Commit(ctx, producer.Offsets{}) }
	}
	if err := write(s.ctx); err != nil {
		return nil, fmt.Errorf("write barriers to %s: %w", s.p.changelog, err)
	}
	for _, n := range assigned {
		next, ok := s.outbox.Acked(n)
		if !ok {
			return nil, fmt.Errorf("write barriers to %s: no offset was returned for partition %d", s.p.changelog, n)
		}
		offsets[n] = next - 1
	}
	return offsets, nil
}

// versionSkip is how far the row versions jump when a table comes into service again: further than what one commit
// interval can have emitted before a failure, whose versions are not known.
const versionSkip = 1 << 20

// skipVersions makes the versions jump. In a transaction the jump becomes durable with the first rows that have such a version,
// and rows of failures are never seen (the jump is there for what an earlier run without transactions may have left).
// Otherwise it is made durable before the first event: were it written with the first commit only, two failures in a row
// would give one version to different rows.
func (s *session) skipVersions(st *store) error {
	m := *st.table.Meta()
	if m.Accepted == 0 {
		return nil
	}
	m.Accepted += versionSkip
	st.table.SetMeta(m)
	if s.p.transactional != "" {
		return nil
	}
	s.queueChanges(st)
	if err := s.outbox.Flush(s.ctx); err != nil {
		return fmt.Errorf("write the state of partition %d: %w", st.partition, err)
	}
	return nil
}
