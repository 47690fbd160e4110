package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	// versionRetention is how long a table remembers a row after another has taken its place, by the timestamps of the
	// table's topic: events that were sent earlier and are read only now get the oldest row that is remembered.
	versionRetention = 7 * 24 * time.Hour
	// versionTrimming is how far the topic's timestamps move between two searches for rows to forget.
	versionTrimming = time.Hour
	// followers bounds what a partition of a table's topic fetches at once, as if so many shared it.
	followers = 32
)

// loadDimensions returns the dimension tables of a plan, by their index. Those from files are read whole; those from
// topics are read to their present end, and followed until ctx ends. What makes following impossible for good is handed to
// fail, also after the return.
func loadDimensions(ctx context.Context, plan *rules.Plan, client func() (sarama.Client, error), fail func(error), log *slog.Logger) ([]*tables.Dimension, error) {
	dims := make([]*tables.Dimension, len(plan.Tables))
	for i, t := range plan.Tables {
		spec := tables.DimensionSpec{Name: t.Name, Key: t.Key, Columns: t.Columns}
		if t.File != "" {
			d, err := tables.LoadDimension(t.File, spec)
			if err != nil {
				return nil, fatalError{fmt.Errorf("table %s: %w", t.Name, err)}
			}
			dims[i] = d
			continue
		}
		dims[i] = tables.NewDimension(spec)
		// A client of its own, as it is closed with ctx.
		c, err := client()
		if err != nil {
			return nil, err
		}
		f := &follower{topic: t.Topic, table: dims[i], client: c, log: log.With("table", t.Name, "topic", t.Topic)}
		f.fail = func(err error) { fail(fmt.Errorf("table %s: read topic %s: %w", t.Name, t.Topic, err)) }
		if err := f.start(ctx); err != nil {
			return nil, fmt.Errorf("table %s: read topic %s: %w", t.Name, t.Topic, err)
		}
		log.Info("table loaded", "table", t.Name, "rows", dims[i].Len())
	}
	return dims, nil
}

// follower reads a compacted topic into a dimension table. Every instance reads all of it.
type follower struct {
	topic   string
	table   *tables.Dimension
	client  sarama.Client
	log     *slog.Logger
	fail    func(error)
	missing missing

	mu      sync.Mutex // partitions are followed by a goroutine each
	trimmed int64      // timestamp of the record at which rows were last forgotten
}

// start reads the topic to its end and goes on following it in the background until ctx ends, which closes the client. A
// failure before the end is reached is returned, a later one is handed to fail.
func (f *follower) start(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	context.AfterFunc(ctx, func() { _ = f.client.Close() })
	err := f.load(ctx, func(err error) {
		stop(err)
		f.fail(err)
	})
	if err != nil {
		stop(err)
	}
	return err
}

func (f *follower) load(ctx context.Context, fail func(error)) error {
	partitions, err := f.client.Partitions(f.topic)
	if err != nil {
		return err
	}
	var loading sync.WaitGroup
	for _, n := range partitions {
		oldest, err := f.client.GetOffset(f.topic, n, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
		end, err := f.client.GetOffset(f.topic, n, sarama.OffsetNewest)
		if err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
		loading.Add(1)
		loaded := sync.OnceFunc(loading.Done)
		go func() {
			defer loaded()
			err := f.follow(ctx, n, oldest, func(next int64) {
				if next >= end {
					loaded()
				}
			})
			if err != nil {
				fail(fmt.Errorf("partition %d: %w", n, err))
			}
		}()
	}
	loading.Wait()
	return context.Cause(ctx)
}

// follow reads a partition from an offset on until ctx ends, or an error that trying again cannot mend, and says how far it
// has come.
func (f *follower) follow(ctx context.Context, partition int32, from int64, at func(next int64)) error {
	var delay backoff
	for {
		at(from)
		begun := time.Now()
		next, err := f.read(ctx, partition, from, at)
		from = next
		if ctx.Err() != nil {
			return nil
		}
		if gone := f.missing.note(f.topic, err, time.Now()); gone != nil {
			err = gone
		}
		if isFatal(err) {
			return err
		}
		if time.Since(begun) > steady {
			delay.reset()
		}
		f.log.Warn("reading table failed, trying again", "partition", partition, "error", err)
		if !sleep(ctx, delay.next()) {
			return nil
		}
		if errors.Is(err, sarama.ErrOffsetOutOfRange) {
			// The topic was made anew, or deletes what is old: rows that it does not have any more stay.
			if oldest, err := f.client.GetOffset(f.topic, partition, sarama.OffsetOldest); err == nil {
				f.log.Warn("table's topic does not have the next record: reading it from its start", "partition", partition, "offset", from, "start", oldest)
				from = oldest
			}
		}
	}
}

// read takes what a partition has from an offset on, until ctx ends or reading fails. It returns the offset behind.
func (f *follower) read(ctx context.Context, partition int32, from int64, at func(next int64)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := newReadAhead(ctx, f.client, f.topic, partition, from, followers)
	for part := range ahead.blocks {
		if part.err != nil {
			return from, part.err
		}
		visitBlock(part.block, from, math.MaxInt64, func(r *committedRecord) bool {
			f.take(partition, r)
			return true
		})
		from = behind(part.block, from)
		at(from)
	}
	return from, ctx.Err()
}

// take puts a record into the table. One that cannot be used leaves the row as it was.
func (f *follower) take(partition int32, r *committedRecord) {
	at := r.Timestamp.UnixMicro()
	if err := f.table.Put(r.Key, r.Value, at); err != nil {
		f.log.Warn("table row refused", "partition", partition, "offset", r.Offset, "error", err)
		return
	}
	f.trim(at)
}

// trim forgets rows that were superseded long before the newest record of the topic. A timestamp ahead of the clock counts
// as now: one wrong clock must not make the table forget what everybody else still needs.
func (f *follower) trim(newest int64) {
	newest = min(newest, time.Now().UnixMicro())
	f.mu.Lock()
	due := newest >= f.trimmed+versionTrimming.Microseconds()
	if due {
		f.trimmed = newest
	}
	f.mu.Unlock()
	if due {
		f.table.Trim(newest - versionRetention.Microseconds())
	}
}
