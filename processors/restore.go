package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors/failpoint"
	"github.com/seed-2058fbc3/lookback/tables"
)

const progressInterval = 5 * time.Second

// errRebuild says that a local table does not belong to the changelog as it is now.
var errRebuild = errors.New("the local table does not fit the changelog")

// restore begins to bring a partition's table up to its barrier and into service, in the background: goka sets up all
// partitions before it lets any claim start, and the gate keeps this one's waiting. The end of the session stops it.
func (s *session) restore(partition int32) error {
	st := s.stores[partition]
	if st == nil {
		return fmt.Errorf("partition %d is not assigned", partition)
	}
	done := make(chan struct{})
	st.done = done
	go func() {
		defer close(done)
		var delay backoff
		for {
			err := s.restoreOnce(st)
			if err == nil || s.ctx.Err() != nil {
				return
			}
			if isFatal(err) || unreadable(err) {
				s.fail(fatalError{fmt.Errorf("restore table %s/%d: %w", s.p.changelog, partition, err)})
				return
			}
			if errors.Is(err, errRebuild) {
				s.log.Warn("local state is discarded and restored from the changelog", "partition", partition, "cause", err)
				if err = st.rebuild(); err == nil {
					continue
				}
			}
			wait := delay.next()
			s.log.Warn("restore failed, trying again", "partition", partition, "error", err, "wait", wait)
			s.p.report().stalled(partition, err)
			if !sleep(s.ctx, wait) {
				return
			}
		}
	}()
	return nil
}

func (s *session) restoreOnce(st *store) error {
	if err := st.open(); err != nil {
		return err
	}
	oldest, err := s.p.client.GetOffset(s.p.changelog, st.partition, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("read start of changelog: %w", err)
	}
	position := st.table.Position()
	if position > st.barrier || position > 0 && position < oldest {
		return fmt.Errorf("%w: it is at offset %d, the changelog has %d to %d", errRebuild, position, oldest, st.barrier)
	}
	if position < st.barrier {
		if err := s.load(st, max(position, oldest)); err != nil {
			return err
		}
	}
	if s.p.memory.histories > 0 {
		st.table.SetCacheBytes(s.p.memory.share(len(s.stores)))
	}
	if err := st.failed(st.table.Loaded(s.ctx, st.barrier+1)); err != nil {
		return err
	}
	if err := s.skipVersions(st); err != nil {
		return err
	}
	if err := s.work.open(st.partition, st.table); err != nil {
		return err
	}
	s.p.report().serving(st.partition)
	close(st.ready)
	s.noteReady()
	return nil
}

// load reads the changelog from an offset on into the table, up to the barrier.
func (s *session) load(st *store, from int64) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ahead := newReadAhead(ctx, s.p.reader, s.p.changelog, st.partition, from, len(s.stores))
	begun, reported := time.Now(), time.Now()
	records, total := 0, st.barrier-from
	report := s.p.report()
	report.restoring(st.partition, total, total)
	for {
		var part fetched
		select {
		case part = <-ahead.blocks:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		switch {
		case part.err != nil:
			return readError(part.err)
		case part.block == nil:
			return context.Cause(s.ctx)
		}
		var failed error
		visitBlock(part.block, part.from, st.barrier+1, func(r *committedRecord) bool {
			records++
			failed = st.table.Load(r.Key, r.Value, r.Offset)
			return failed == nil && s.ctx.Err() == nil
		})
		next := behind(part.block, part.from)
		switch {
		case failed != nil:
			return st.failed(fatalError{failed}) // reading it again would find the same
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case next > st.barrier:
			report.restoring(st.partition, 0, total)
			took := time.Since(begun)
			level := slog.LevelDebug
			if took > progressInterval {
				level = slog.LevelInfo // what follows takes a while too: a disk table is written now
			}
			s.log.Log(s.ctx, level, "changelog read", "partition", st.partition, "records", records, "took", took)
			return nil
		}
		report.restoring(st.partition, st.barrier-next, total)
		if time.Since(reported) > progressInterval {
			reported = time.Now()
			s.log.Info("restoring table", "partition", st.partition, "records", records, "remaining", st.barrier-next)
		}
	}
}

// readError returns what reading a changelog failed with, as a reason to rebuild the table where the changelog does not have what
// is to be read next.
func readError(err error) error {
	if errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return fmt.Errorf("%w: %w", errRebuild, err)
	}
	return fmt.Errorf("read changelog: %w", err)
}

// isolation is that of whoever reads a table: what was aborted is not in it.
func isolation() sarama.IsolationLevel {
	if failpoint.On("bug-read-uncommitted-restore") {
		return sarama.ReadUncommitted
	}
	return sarama.ReadCommitted
}

// noteReady tells the processor once all partitions of the session are in service.
func (s *session) noteReady() {
	if int(s.restored.Add(1)) == len(s.stores) {
		s.log.Info("all partitions restored", "partitions", len(s.stores))
		s.p.ready()
	}
}

// unreadable tells errors that say that a changelog is not for these rules, or damaged.
func unreadable(err error) bool {
	layout, row := (*tables.LayoutError)(nil), (*tables.RowError)(nil)
	return errors.As(err, &layout) || errors.As(err, &row)
}

// closeConsumer closes a partition consumer and reads what it still has, without which it would not end.
func closeConsumer(c sarama.PartitionConsumer) {
	// Close returns the errors that nobody read; what is closed here is of no interest any more.
	_ = c.Close()
}
