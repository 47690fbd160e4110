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
	begun, reported := time.Now(), time.Now()
	records, total := 0, st.barrier-from
	report := s.p.report()
	report.restoring(st.partition, total, total)
	return s.p.load(s.ctx, st, from, st.barrier+1, len(s.stores), func(b loaded) (bool, error) {
		records += b.records
		if b.next > st.barrier {
			report.restoring(st.partition, 0, total)
			took := time.Since(begun)
			level := slog.LevelDebug
			if took > progressInterval {
				level = slog.LevelInfo // what follows takes a while too: a disk table is written now
			}
			s.log.Log(s.ctx, level, "changelog read", "partition", st.partition, "from", from, "records", records, "took", took)
			return false, nil
		}
		report.restoring(st.partition, st.barrier-b.next, total)
		if time.Since(reported) > progressInterval {
			reported = time.Now()
			s.log.Info("restoring table", "partition", st.partition, "records", records, "remaining", st.barrier-b.next)
		}
		return true, nil
	})
}

// loaded is a block of a changelog that has been loaded into its table.
type loaded struct {
	records int   // of it
	next    int64 // offset behind it
	newest  int64 // offset behind the last record there was when it was fetched
}

// load loads what a partition's changelog has in [from, end) into its table, block by block, for as long as ctx lasts and more, which is
// told of each block, wants another. siblings is how many do so at once.
//
// A table is what its changelog says up to its position, so whoever goes on from there relies on every record before it. That is why
// nothing is loaded behind a block that the end of ctx has cut short, be the next at hand or not.
func (p *processor) load(ctx context.Context, st *store, from, end int64, siblings int, more func(loaded) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := newReadAhead(ctx, p.reader, p.changelog, st.partition, from, siblings)
	for {
		var part fetched
		select {
		case part = <-ahead.blocks:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch {
		case part.err != nil:
			return readError(part.err)
		case part.block == nil:
			return context.Cause(ctx)
		}
		var failed error
		records := 0
		next, whole := visitBlock(part.block, part.from, end, func(r *committedRecord) bool {
			if ctx.Err() != nil {
				return false
			}
			records++
			failed = st.table.Load(r.Key, r.Value, r.Offset)
			return failed == nil
		})
		switch {
		case failed != nil:
			return st.failed(fatalError{failed}) // reading it again would find the same
		case !whole:
			return context.Cause(ctx)
		}
		if on, err := more(loaded{records, next, part.block.HighWaterMarkOffset}); err != nil || !on {
			return err
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
