package processors

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// SampleTopics finds out what the traffic is from the source topics: rates from the number of records and their timestamps, over all that
// the topics have, and the rest from the last records of each partition, so many of them. It changes nothing and belongs to no group; the
// app need not have run.
func SampleTopics(ctx context.Context, plan *rules.Plan, cfg Config, records int64, progress func(done, total int64)) (*TrafficSampler, error) {
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	m, err := newMaintenance(plan, cfg)
	if err != nil {
		return nil, err
	}
	defer m.close()
	var topics []Topic
	for rank, s := range plan.Streams {
		if firstKeyOf(plan, rank) >= 0 {
			topics = append(topics, Topic{Name: s.Topic, Role: RoleSource})
		}
	}
	counts, err := countPartitions(m.admin, topics)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		if counts[t.Name] == 0 {
			return nil, fmt.Errorf("topic %s does not exist", t.Name)
		}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	client := func() (sarama.Client, error) { return sarama.NewClient(plan.Settings.Brokers, m.config) }
	dims, err := loadDimensions(following, plan, client, func(error) {}, cfg.Logger)
	if err != nil {
		return nil, err
	}
	t := &topicSampler{m: m, sampler: NewTrafficSampler(plan, dims), records: records, progress: progress}
	t.sampler.rates = make([]float64, len(plan.Streams))
	for rank, s := range plan.Streams {
		if counts[s.Topic] > 0 && firstKeyOf(plan, rank) >= 0 {
			t.total += records * int64(counts[s.Topic])
		}
	}
	for rank, s := range plan.Streams {
		if firstKeyOf(plan, rank) < 0 {
			continue
		}
		if err := t.stream(ctx, rank, counts[s.Topic]); err != nil {
			return nil, err
		}
	}
	return t.sampler, nil
}

type topicSampler struct {
	m           *maintenance
	sampler     *TrafficSampler
	records     int64 // of each partition
	progress    func(done, total int64)
	done, total int64
}

// stream samples the topic of a stream.
func (t *topicSampler) stream(ctx context.Context, rank int, partitions int32) error {
	topic := t.sampler.plan.Streams[rank].Topic
	offsets, read := int64(0), int64(0)
	var first, last time.Time
	for n := range partitions {
		oldest, end, err := t.m.bounds(ctx, topic, n)
		if err != nil {
			return err
		}
		at, found, err := t.m.firstTimestamp(ctx, topic, n, oldest, end)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		offsets += end - oldest
		raw := Raw{Origin: codecs.Origin{Topic: topic, Partition: n}}
		take := func(r *committedRecord) bool {
			if r.Timestamp.After(last) {
				last = r.Timestamp
			}
			raw.Key, raw.Value, raw.Origin.Offset, raw.Origin.Timestamp = r.Key, r.Value, r.Offset, r.Timestamp.UnixMicro()
			_ = t.sampler.Record(rank, &raw) // what is wrong with it counts as read, and for no event
			if read++; read%1000 == 0 && t.progress != nil {
				t.progress(min(t.done+read, t.total), t.total)
			}
			return ctx.Err() == nil
		}
		from := max(oldest, end-t.records)
		err = t.m.retry(ctx, func() (err error) {
			from, err = visitCommitted(t.m.client, topic, n, from, end, take)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("read %s/%d: %w", topic, n, err)
		}
	}
	t.done += read
	if seconds := last.Sub(first).Seconds(); seconds > 0 && read > 0 {
		t.sampler.rates[rank] = float64(offsets) / seconds * float64(t.sampler.Events(rank)) / float64(read)
	}
	return nil
}
