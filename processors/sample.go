package processors

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// NoTopicError says that a topic does not exist.
type NoTopicError struct {
	Topic  string
	Topics []string // that there are, sorted
}

func (e *NoTopicError) Error() string { return fmt.Sprintf("topic %q does not exist", e.Topic) }

// Sample returns the latest committed records of a topic, about n, each partition's in their order, and how many partitions it has. It
// changes nothing and belongs to no group.
func Sample(ctx context.Context, settings rules.Settings, cfg Config, topic string, n int) (list []Raw, partitions int32, err error) {
	m, err := newMaintenance(&rules.Plan{Settings: settings}, cfg.withDefaults(func() *Stats { return nil }))
	if err != nil {
		return nil, 0, err
	}
	defer m.close()
	topics, err := m.client.Topics()
	if err != nil {
		return nil, 0, fmt.Errorf("list topics: %w", err)
	}
	if slices.Sort(topics); !slices.Contains(topics, topic) {
		return nil, 0, &NoTopicError{topic, topics}
	}
	numbers, err := m.client.Partitions(topic)
	if err != nil {
		return nil, 0, fmt.Errorf("topic %s: %w", topic, err)
	}
	type span struct{ from, end int64 }
	spans := make([]span, len(numbers))
	sizes := make([]int64, len(numbers))
	for i, number := range numbers {
		if spans[i].from, spans[i].end, err = m.bounds(ctx, topic, number); err != nil {
			return nil, 0, err
		}
		sizes[i] = spans[i].end - spans[i].from
	}
	for i, size := range latestOf(sizes, int64(n)) {
		var part []Raw
		err := m.retry(ctx, func() error {
			part = part[:0]
			_, err := visitCommitted(m.client, topic, numbers[i], spans[i].end-size, spans[i].end, func(r *committedRecord) bool {
				part = append(part, sampled(topic, numbers[i], r))
				return ctx.Err() == nil
			})
			return err
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read %s/%d: %w", topic, numbers[i], err)
		}
		list = append(list, part...)
	}
	return list, int32(len(numbers)), nil
}

func sampled(topic string, partition int32, r *committedRecord) Raw {
	raw := Raw{Key: r.Key, Value: r.Value, Origin: codecs.Origin{Topic: topic, Partition: partition, Offset: r.Offset}}
	if !r.Timestamp.IsZero() && r.Timestamp.UnixMicro() > 0 {
		raw.Origin.Timestamp = r.Timestamp.UnixMicro()
	}
	return raw
}

// latestOf divides n records among partitions, alike, and what small ones do not have among the others.
func latestOf(sizes []int64, n int64) []int64 {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(min(max(sizes[a]-sizes[b], -1), 1)) })
	parts := make([]int64, len(sizes))
	for left, i := len(order), 0; i < len(order); left, i = left-1, i+1 {
		parts[order[i]] = min(sizes[order[i]], (n+int64(left)-1)/int64(left))
		n -= parts[order[i]]
	}
	return parts
}
