package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// settled is how long nothing must arrive for a dimension topic to count as read, where its last offsets are transaction
// markers, which nobody is given.
const settled = time.Second

const (
	// versionRetention is how long a table remembers a row after another has taken its place, by the timestamps of the
	// table's topic: events that were sent earlier and are read only now get the oldest row that is remembered.
	versionRetention = 7 * 24 * time.Hour
	// versionTrimming is how far the topic's timestamps move between two searches for rows to forget.
	versionTrimming = time.Hour
)

// loadDimensions returns the dimension tables of a plan, by their index. Those from files are read whole; those from
// topics are read to their present end, and followed until ctx ends.
func loadDimensions(ctx context.Context, plan *rules.Plan, client func() (sarama.Client, error), log *slog.Logger) ([]*tables.Dimension, error) {
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
		// A client of its own: its fetches, which wait for records, must not hold up anybody else's requests.
		c, err := client()
		if err != nil {
			return nil, err
		}
		f := &follower{topic: t.Topic, table: dims[i], client: c, log: log.With("table", t.Name, "topic", t.Topic)}
		if err := f.start(ctx); err != nil {
			return nil, fmt.Errorf("table %s: read topic %s: %w", t.Name, t.Topic, err)
		}
		log.Info("table loaded", "table", t.Name, "rows", dims[i].Len())
	}
	return dims, nil
}

// follower reads a compacted topic into a dimension table. Every instance reads all of it.
type follower struct {
	topic  string
	table  *tables.Dimension
	client sarama.Client
	log    *slog.Logger

	mu      sync.Mutex // partitions are followed by a goroutine each
	trimmed int64      // timestamp of the record at which rows were last forgotten
}

// start reads the topic to its end and goes on following it in the background until ctx ends, which closes the client.
func (f *follower) start(ctx context.Context) error {
	context.AfterFunc(ctx, func() { _ = f.client.Close() })
	consumer, err := sarama.NewConsumerFromClient(f.client)
	if err != nil {
		return err
	}
	partitions, err := f.client.Partitions(f.topic)
	if err != nil {
		return err
	}
	for _, n := range partitions {
		if err := f.startPartition(ctx, consumer, n); err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
	}
	return nil
}

func (f *follower) startPartition(ctx context.Context, consumer sarama.Consumer, n int32) error {
	end, err := f.client.GetOffset(f.topic, n, sarama.OffsetNewest)
	if err != nil {
		return err
	}
	part, err := consumer.ConsumePartition(f.topic, n, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	if err := f.catchUp(ctx, part, end); err != nil {
		closeConsumer(part)
		return err
	}
	go f.follow(ctx, part)
	return nil
}

// catchUp reads up to the offset end.
func (f *follower) catchUp(ctx context.Context, part sarama.PartitionConsumer, end int64) error {
	if end == 0 {
		return nil
	}
	quiet := time.NewTimer(settled)
	defer quiet.Stop()
	for {
		select {
		case m, ok := <-part.Messages():
			if !ok {
				return errors.New("the consumer was closed")
			}
			f.take(m)
			if m.Offset >= end-1 {
				return nil
			}
			quiet.Reset(settled)
		case e := <-part.Errors():
			if e != nil {
				f.log.Warn("reading table", "error", e.Err)
			}
			quiet.Reset(settled)
		case <-quiet.C:
			// An answer of the broker has arrived, and it held no record of ours: what is left below end is markers.
			if part.HighWaterMarkOffset() >= end {
				return nil
			}
			quiet.Reset(settled)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow takes what comes later.
func (f *follower) follow(ctx context.Context, part sarama.PartitionConsumer) {
	defer closeConsumer(part)
	for {
		select {
		case m, ok := <-part.Messages():
			if !ok {
				return
			}
			f.take(m)
		case e, ok := <-part.Errors():
			if !ok {
				return
			}
			f.log.Warn("reading table", "error", e.Err)
		case <-ctx.Done():
			return
		}
	}
}

// take puts a record into the table. One that cannot be used leaves the row as it was.
func (f *follower) take(m *sarama.ConsumerMessage) {
	at := m.Timestamp.UnixMicro()
	if err := f.table.Put(m.Key, m.Value, at); err != nil {
		f.log.Warn("table row refused", "partition", m.Partition, "offset", m.Offset, "error", err)
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
