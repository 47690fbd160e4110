package processors

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// verifySnapshot is what Verify reads, as it stood at one moment.
type verifySnapshot struct {
	refusals []topicSpan // late and rejected records
	events   []topicSpan // sources, and what is on its way from an intake to a key
	rows     []topicSpan // outputs
}

// topicSpan is a part of a partition that is read.
type topicSpan struct {
	topic     string
	partition int32
	from, end int64
	complete  bool // what is open in it is waited for
	reader    func() func(r *committedRecord) error
}

// snapshot takes the positions of the groups, then the ends of the outputs, then those of the sources.
func (v *verifier) snapshot(ctx context.Context) (*verifySnapshot, error) {
	committed := map[string]map[string][]int64{} // by group and topic
	for _, stage := range Stages(v.plan) {
		committed[stage.Group] = map[string][]int64{}
		for _, topic := range stage.Topics {
			offsets, err := v.m.offsets(ctx, stage.Group, topic, v.counts[topic])
			if err != nil {
				return nil, err
			}
			committed[stage.Group][topic] = offsets
		}
	}
	s := &verifySnapshot{}
	var err error
	if err = v.outputSpans(ctx, s); err != nil {
		return nil, err
	}
	for rank, stream := range v.plan.Streams {
		positions := make([][]int64, len(v.plan.Keys))
		for i, k := range v.plan.Keys {
			if slices.Contains(k.Streams, rank) {
				group := IntakeGroup(v.plan.App, stream)
				if k.Direct {
					group = KeyGroup(v.plan.App, k)
				}
				positions[i] = committed[group][stream.Topic]
			}
		}
		if err := v.sourceSpans(ctx, s, rank, positions); err != nil {
			return nil, err
		}
	}
	for i, k := range v.plan.Keys {
		if k.Direct {
			continue
		}
		topic := RepartitionTopic(v.plan.App, k)
		for n, position := range committed[KeyGroup(v.plan.App, k)][topic] {
			oldest, newest, err := v.m.bounds(ctx, topic, int32(n))
			if err != nil {
				return nil, err
			}
			s.events = append(s.events, topicSpan{topic: topic, partition: int32(n), from: max(oldest, position), end: newest,
				reader: func() func(*committedRecord) error { return v.onItsWay(i) }})
		}
	}
	return s, nil
}

// reachOf returns how long before a conversion an event of the stream can matter to it, -1 where nothing uses the stream.
func reachOf(plan *rules.Plan, rank int) int64 {
	reach := int64(-1)
	for _, k := range plan.Keys {
		if slices.Contains(k.Streams, rank) {
			reach = max(reach, k.Retention[rank])
		}
	}
	return reach
}

func (v *verifier) sourceSpans(ctx context.Context, s *verifySnapshot, rank int, positions [][]int64) error {
	stream, reach := v.plan.Streams[rank], reachOf(v.plan, rank)
	if reach < 0 {
		return nil
	}
	for n := range v.counts[stream.Topic] {
		from, end, lost, err := v.bounds(ctx, stream.Topic, n, reach+stream.MaxSkew)
		if err != nil {
			return err
		}
		v.bound(lost, stream.Topic, n, reach+stream.MaxSkew)
		s.events = append(s.events, topicSpan{topic: stream.Topic, partition: n, from: from, end: end,
			reader: func() func(*committedRecord) error { return v.source(rank, n, positions) }})
	}
	return nil
}

// outputSpans are those of everything that the app writes for others. Nothing of a conversion is written before it.
func (v *verifier) outputSpans(ctx context.Context, s *verifySnapshot) error {
	skew, reach := int64(0), int64(0)
	for rank, stream := range v.plan.Streams {
		skew = max(skew, stream.MaxSkew)
		reach = max(reach, reachOf(v.plan, rank))
	}
	for i, r := range v.plan.Rules {
		var topics []string
		if r.Upserts {
			topics = append(topics, r.Into)
		}
		if r.Deltas {
			topics = append(topics, DeltasTopic(r))
		}
		for _, topic := range topics {
			for n := range v.counts[topic] {
				from, end, lost, err := v.bounds(ctx, topic, n, skew)
				if err != nil {
					return err
				}
				v.bound(lost, topic, n, skew)
				s.rows = append(s.rows, topicSpan{topic: topic, partition: n, from: from, end: end, complete: true,
					reader: func() func(*committedRecord) error { return v.written(i) }})
			}
		}
	}
	for topic, take := range map[string]func(*committedRecord) error{LateTopic(v.plan.App): v.lateRecord, RejectedTopic(v.plan.App): v.rejectedRecord} {
		for n := range v.counts[topic] {
			from, end, lost, err := v.bounds(ctx, topic, n, skew+reach)
			if err != nil {
				return err
			}
			switch {
			case lost == nil:
			case lost.all:
				v.remembered = math.MaxInt64
			default:
				v.remembered = max(v.remembered, lost.until)
			}
			s.refusals = append(s.refusals, topicSpan{topic: topic, partition: n, from: from, end: end, complete: true,
				reader: func() func(*committedRecord) error { return take }})
		}
	}
	return nil
}

// loss is a begin of a partition that is not there any more.
type loss struct {
	until int64 // what came later is there, unless somebody has deleted it
	all   bool  // the partition has no record any more
	what  string
}

// bound raises the time of the first conversion that can be judged where records are lost that may matter to earlier ones, which are
// those of before ahead of a conversion.
func (v *verifier) bound(lost *loss, topic string, n int32, before int64) {
	if lost == nil || lost.until+before <= v.low {
		return
	}
	v.low = lost.until + before
	v.result.Gap = fmt.Sprintf("conversions before %s cannot be verified: topic %s, partition %d, %s, and what comes %s before a conversion matters to it",
		stamp(v.low), topic, n, lost.what, rules.FormatDuration(before))
}

// bounds returns what is to be read of a partition where records of before ahead of the first conversion matter, and what of that is lost;
// nil: nothing.
func (v *verifier) bounds(ctx context.Context, topic string, n int32, before int64) (from, end int64, lost *loss, err error) {
	oldest, newest, err := v.m.bounds(ctx, topic, n)
	if err != nil {
		return 0, 0, nil, err
	}
	from = oldest
	if !v.o.From.IsZero() {
		at := v.o.From.UnixMicro() - before
		if from, err = v.m.offsetAt(ctx, topic, n, max(time.UnixMicro(at).UnixMilli(), 0)); err != nil {
			return 0, 0, nil, err
		}
		if from < 0 {
			from = newest
		}
		from = max(from, oldest)
	}
	if oldest > 0 && from == oldest {
		lost, err = v.lost(ctx, topic, n, oldest, newest)
	}
	return from, newest, lost, err
}

// lost tells what is missing of a partition that has lost its beginning.
func (v *verifier) lost(ctx context.Context, topic string, n int32, oldest, newest int64) (*loss, error) {
	found, at := false, int64(0)
	err := v.m.retry(ctx, func() error {
		_, err := visitCommitted(v.m.client, topic, n, oldest, newest, func(r *committedRecord) bool {
			found, at = true, r.Timestamp.UnixMicro()
			return false
		})
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s/%d: %w", topic, n, err)
	case found:
		return &loss{at, false, "begins with a record of " + stamp(at)}, nil
	}
	// All that was there is gone. What came within the retention would not be.
	now := time.Now()
	settings, err := topicSettings(v.m.admin, topic)
	if err != nil {
		return nil, err
	}
	if ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64); err == nil && ms > 0 && settings["retention.bytes"] == "-1" {
		now = now.Add(-time.Duration(ms) * time.Millisecond)
	}
	return &loss{now.UnixMicro(), true, "has lost all its records"}, nil
}

// read reads a span.
func (v *verifier) read(ctx context.Context, s *topicSpan) error {
	take := s.reader()
	const step = 1000 // records between two reports
	pending := int64(0)
	begun := time.Now()
	var delay backoff
	for s.from < s.end {
		var failed error
		var next int64
		err := v.m.retry(ctx, func() (err error) {
			next, err = visitCommitted(v.m.client, s.topic, s.partition, s.from, s.end, func(r *committedRecord) bool {
				if failed = take(r); failed != nil || ctx.Err() != nil {
					return false
				}
				if pending++; pending == step {
					v.advance("reading", pending)
					pending = 0
				}
				s.from = r.Offset + 1
				return true
			})
			return err
		})
		switch {
		case failed != nil:
			return fmt.Errorf("%s/%d: %w", s.topic, s.partition, failed)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("read %s/%d: %w", s.topic, s.partition, err)
		}
		if s.from = max(s.from, next); s.from >= s.end {
			break
		}
		// Here a transaction is open. One that comes later than the positions is no matter where the app cannot have read it.
		if !s.complete {
			break
		}
		if time.Since(begun) > 2*transactionTimeout+maintenancePatience {
			return fmt.Errorf("read %s/%d: the transaction at offset %d does not end", s.topic, s.partition, s.from)
		}
		if !sleep(ctx, delay.next()) {
			return context.Cause(ctx)
		}
	}
	v.advance("reading", pending)
	return nil
}

// refusedOrigin returns the record that the headers of a late or rejected one name, and why it was refused. An offset of -1 names none.
func refusedOrigin(r *committedRecord) (o codecs.Origin, reason, rule string, err error) {
	o.Offset = -1
	number := func(h *sarama.RecordHeader, bits int) int64 {
		n, failed := strconv.ParseInt(string(h.Value), 10, bits)
		if failed != nil && err == nil {
			err = fmt.Errorf("offset %d: header %s: %w", r.Offset, h.Key, failed)
		}
		return n
	}
	for _, h := range r.Headers {
		switch string(h.Key) {
		case codecs.HeaderException:
			reason = string(h.Value)
		case codecs.HeaderTopic:
			o.Topic = string(h.Value)
		case codecs.HeaderPartition:
			o.Partition = int32(number(h, 32))
		case codecs.HeaderOffset:
			o.Offset = number(h, 64)
		case codecs.HeaderRule:
			rule = string(h.Value)
		}
	}
	return o, reason, rule, err
}
