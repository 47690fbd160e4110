package processors

import (
	"context"
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// eventFlags are what is known of an event.
type eventFlags byte

const (
	eventLate      eventFlags = 1 << iota // the app has found it late
	eventRefused                          // the app has rejected it
	eventInFlight                         // the app has not committed it
	eventForgotten                        // it came before it is known what was late
)

// readAll reads what a snapshot names: first what has become of events.
func (a *appTopics) readAll(ctx context.Context, s *topicsSnapshot) error {
	a.total.Store(sizeOf(s.fates) + sizeOf(s.events) + sizeOf(s.rows))
	for _, spans := range [][]topicSpan{s.fates, s.events, s.rows} {
		err := parallel(ctx, len(spans), func(ctx context.Context, i int) error { return a.read(ctx, &spans[i]) })
		if err != nil {
			return err
		}
		for _, p := range append([]places{a.late, a.refused}, a.onTheWay...) {
			p.sort()
		}
	}
	return nil
}

// sizeOf returns how many records spans have at most.
func sizeOf(spans []topicSpan) (n int64) {
	for _, s := range spans {
		n += s.end - s.from
	}
	return n
}

// read reads a span.
func (a *appTopics) read(ctx context.Context, s *topicSpan) error {
	take := s.reader()
	const step = 1000 // records between two reports
	pending := int64(0)
	begun := time.Now()
	var delay backoff
	for s.from < s.end {
		var failed error
		var next int64
		err := a.m.retry(ctx, func() (err error) {
			next, err = visitCommitted(a.m.client, s.topic, s.partition, s.from, s.end, func(r *committedRecord) bool {
				if failed = take(r); failed != nil || ctx.Err() != nil {
					return false
				}
				if pending++; pending == step {
					a.advance("reading", pending)
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
	a.advance("reading", pending)
	return nil
}

// advance tells how far it is.
func (a *appTopics) advance(stage string, by int64) {
	done := a.done.Add(by)
	if a.progress == nil || !a.reporting.TryLock() {
		return
	}
	defer a.reporting.Unlock()
	a.progress(stage, done, a.total.Load())
}

// source returns what takes the records of a partition of a stream. positions are those of the groups that read it, by index of
// plan.Keys and partition; nil for keys that do not use the stream.
func (a *appTopics) source(rank int, partition int32, positions [][]int64) func(*committedRecord) error {
	stream := a.plan.Streams[rank]
	c, ev := newCleanser(a.plan, stream, a.dims), &codecs.Event{}
	var key, row []byte
	var e topicEvent
	return func(r *committedRecord) error {
		raw := Raw{Key: r.Key, Value: r.Value, Origin: codecs.Origin{
			Topic: stream.Topic, Partition: partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMicro()}}
		why := c.clean(&raw, ev)
		if why != nil {
			a.reject(rank, &raw, why)
			return nil
		}
		flags := eventFlags(0)
		switch {
		case a.late.has(stream.Topic, partition, r.Offset):
			flags |= eventLate
		case a.refused.has(stream.Topic, partition, r.Offset):
			flags |= eventRefused
		}
		if r.Timestamp.UnixMicro() < a.remembered || stream.Late == rules.LateDrop {
			flags |= eventForgotten
		}
		row = codecs.AppendRow(row[:0], ev, stream.Kept)
		for i, k := range a.plan.Keys {
			if positions[i] == nil {
				continue
			}
			if key, why = keyOf(key[:0], k, ev); why != nil {
				a.reject(rank, &raw, why)
				continue
			}
			of := flags
			if r.Offset >= positions[i][partition] || a.onTheWay[i].has(stream.Topic, partition, r.Offset) {
				of |= eventInFlight
			}
			e.key, e.bytes, e.flags, e.row, e.raw = i, key, of, row, &raw
			if stream.Late == rules.LateKept {
				if from, late := a.acceptedFrom[acceptedEvent{i, stream.Topic, partition, r.Offset}]; late {
					e.row = stream.AppendAccepted(nil, row, from)
				}
			}
			if err := a.event(&e); err != nil {
				return err
			}
		}
		return nil
	}
}

// onItsWay takes a record of a repartition topic that its key's processor has not committed.
func (a *appTopics) onItsWay(key int) func(*committedRecord) error {
	var shuffle codecs.Shuffle
	var mark codecs.Watermark
	layouts := layouts(a.plan)
	return func(r *committedRecord) error {
		watermark, err := codecs.DecodeShuffle(r.Value, layouts, &shuffle, &mark)
		if watermark {
			return nil
		}
		if err == nil { // else the app is going to reject it
			topic, o := a.plan.Streams[shuffle.Row.Stream()].Topic, shuffle.Origin
			a.mu.Lock()
			a.onTheWay[key].add(topic, o.Partition, o.Offset)
			a.mu.Unlock()
		}
		return a.event(&topicEvent{key: key, bytes: r.Key, flags: eventInFlight})
	}
}

// lateRecord takes a record of the late topic.
func (a *appTopics) lateRecord(r *committedRecord) error {
	o, _, rule, err := refusedOrigin(r)
	if err != nil || o.Offset < 0 {
		return err
	}
	from, accepted, err := acceptedFrom(r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !accepted {
		a.late.add(o.Topic, o.Partition, o.Offset)
		return nil
	}
	for i, k := range a.plan.Keys {
		if slices.ContainsFunc(k.Rules, func(r *rules.Rule) bool { return r.Name == rule }) {
			a.acceptedFrom[acceptedEvent{i, o.Topic, o.Partition, o.Offset}] = from
		}
	}
	return nil
}

// acceptedEvent is an event that was accepted late under a key.
type acceptedEvent struct {
	key       int // index of plan.Keys
	topic     string
	partition int32
	offset    int64
}

// acceptedFrom returns from which time on conversions have a late event, if it was accepted.
func acceptedFrom(r *committedRecord) (from int64, accepted bool, err error) {
	for _, h := range r.Headers {
		if string(h.Key) == headerAcceptedFrom {
			if from, err = strconv.ParseInt(string(h.Value), 10, 64); err != nil {
				return 0, false, fmt.Errorf("offset %d: header %s: %w", r.Offset, h.Key, err)
			}
			accepted = true
		}
	}
	return from, accepted, nil
}

// rejectedRecord takes a record of the topic of rejects.
func (a *appTopics) rejectedRecord(r *committedRecord) error {
	o, reason, rule, err := refusedOrigin(r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case reason == reasonMaxTouches:
		a.overflow(o.Topic, r.Value)
	case rule == "" && o.Offset >= 0: // what has a rule was accepted all the same
		a.refused.add(o.Topic, o.Partition, o.Offset)
	}
	return nil
}

// overflow notes a touch that has left a full history.
func (a *appTopics) overflow(topic string, value []byte) {
	for rank, s := range a.plan.Streams {
		var fields map[string]json.RawMessage
		if s.Topic != topic || json.Unmarshal(value, &fields) != nil {
			continue
		}
		id := fields[s.Declared[s.ID].Name]
		var text string
		if json.Unmarshal(id, &text) != nil {
			text = string(id)
		}
		a.overflown[touchName(rank, text)] = true
	}
}

func touchName(rank int, id string) string { return string(rune(rank)) + id }

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

// written returns what takes the records of a partition of an output topic of a rule.
func (a *appTopics) written(index int, topic string, partition int32) func(*committedRecord) error {
	measures := map[string]bool{}
	for _, m := range a.plan.Rules[index].Measure {
		measures[m.Name] = true
	}
	isMeasure := func(name []byte) bool { return measures[string(name)] }
	var memory []byte
	return func(r *committedRecord) error {
		if r.Value == nil {
			return nil // somebody has removed the row
		}
		row, err := codecs.ReadRow(r.Value, memory, isMeasure)
		if err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		memory = row.Said
		at := codecs.Origin{Topic: topic, Partition: partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMicro()}
		return a.row(index, at, r.Key, &row)
	}
}

// parallel calls do for 0 to n-1 with as many goroutines as there are processors. The first error ends it.
func parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var working sync.WaitGroup
	for range min(goruntime.GOMAXPROCS(0), n) {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	working.Wait()
	return context.Cause(ctx)
}

// places are records of topics, by their offsets.
type places map[string][][]int64 // by topic and partition

func (p places) add(topic string, partition int32, offset int64) {
	for len(p[topic]) <= int(partition) {
		p[topic] = append(p[topic], nil)
	}
	p[topic][partition] = append(p[topic][partition], offset)
}

func (p places) sort() {
	for _, partitions := range p {
		for _, offsets := range partitions {
			slices.Sort(offsets)
		}
	}
}

func (p places) has(topic string, partition int32, offset int64) bool {
	if int(partition) >= len(p[topic]) {
		return false
	}
	_, has := slices.BinarySearch(p[topic][partition], offset)
	return has
}
