package processors

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Reasons of rejects of records of a repartition topic. They are part of the message format.
const (
	reasonMalformed   = "malformed_shuffle" // not written by an intake
	reasonOtherLayout = "other_layout"      // written under rules that kept other fields
)

// keyed is the processor of one key: it takes events, from the key's repartition topic or straight from the streams'
// topics, into the histories of its partitions and lets the rules write what changes.
type keyed struct {
	s           *session
	plan        *rules.Plan
	now         time.Time // of the last tick
	key         *rules.Key
	repartition string                      // "": the streams are read directly
	streams     map[string]int              // rank by topic, of the streams read directly
	counts      map[int]int32               // partitions of each stream's topic, by rank
	layouts     []codecs.Layout             // by rank
	lanes       []atomic.Pointer[keyedLane] // by partition

	dims     []*tables.Dimension
	stats    *Stats
	interval *interval // nil: rows of all conversions are emitted
	endOf    func(topic string, partition int32) (int64, error)
}

// keyedLane is what one partition uses.
type keyedLane struct {
	engine  *partition
	table   *tables.Table
	tracker *tracker

	cleaners []*cleanser // by rank, of the streams read directly
	sources  []*source   // by rank, likewise

	tally   *tally
	event   codecs.Event
	shuffle codecs.Shuffle
	mark    codecs.Watermark
	stamps  []int64 // Kafka timestamps of what was handled since the last commit

	// Of the batch in hand: what has been decoded, and memory for it.
	batch  []incoming
	memory []byte
}

// newKeyed returns the work of a key's processor for one session. Partitions has the partition counts of the topics.
func newKeyed(s *session, plan *rules.Plan, key *rules.Key, repartition string, dims []*tables.Dimension, partitions map[string]int32, stats *Stats) *keyed {
	w := &keyed{
		s:           s,
		plan:        plan,
		now:         time.Now(),
		key:         key,
		repartition: repartition,
		streams:     map[string]int{},
		counts:      map[int]int32{},
		layouts:     layouts(plan),
		lanes:       make([]atomic.Pointer[keyedLane], s.p.partitions),
		dims:        dims,
		stats:       stats,
		endOf:       s.endOf,
	}
	for _, rank := range key.Streams {
		topic := plan.Streams[rank].Topic
		w.streams[topic] = rank
		w.counts[rank] = partitions[topic]
	}
	return w
}

func (w *keyed) open(partition int32, t *tables.Table) error {
	l := &keyedLane{table: t, tally: w.stats.tally()}
	l.engine = newPartition(w.plan, w.key, t, w.s.outbox.Add, l.tally)
	l.engine.interval = w.interval
	disorder := func(stream int) int64 { return w.plan.Streams[stream].Disorder }
	if w.repartition != "" {
		var ids []sourceID
		for _, rank := range w.key.Streams {
			for n := range w.counts[rank] {
				ids = append(ids, sourceID{rank, n})
			}
		}
		l.tracker = newTracker(ids, w.plan.Settings.IdleTimeout, disorder)
	} else {
		l.cleaners = make([]*cleanser, len(w.plan.Streams))
		l.sources = make([]*source, len(w.plan.Streams))
		var ids []sourceID
		now := time.Now()
		for _, rank := range w.key.Streams {
			id := sourceID{rank, partition}
			ids = append(ids, id)
			l.cleaners[rank] = newCleanser(w.plan, w.plan.Streams[rank], w.dims)
			l.sources[rank] = newSource(id, w.s.claim(w.plan.Streams[rank].Topic, partition), now)
		}
		l.tracker = newTracker(ids, w.plan.Settings.IdleTimeout, disorder)
	}
	for _, s := range t.Meta().Sources {
		l.tracker.recall(s)
		if l.sources != nil && s.Stream < len(l.sources) && s.Partition == partition && l.sources[s.Stream] != nil {
			l.sources[s.Stream].time = s.Time
		}
	}
	l.tracker.changed = false
	w.lanes[partition].Store(l)
	return nil
}

// incoming is an event on its way into a history. Its slices are valid until the next batch.
type incoming struct {
	key []byte
	row codecs.Row
	raw Raw
}

// handle first decodes the whole batch and then takes it into the histories, so that the table can fetch from memory what they
// need all at once.
func (w *keyed) handle(batch []input) error {
	l := w.lanes[batch[0].Partition].Load()
	l.batch, l.memory = l.batch[:0], l.memory[:0]
	for i := range batch {
		if w.repartition != "" {
			w.decodeShuffled(l, &batch[i])
		} else {
			w.decodeDirect(l, &batch[i])
		}
	}
	l.table.Warm()
	for i := range l.batch {
		a := &l.batch[i]
		if err := l.engine.accept(a.key, a.row, &a.raw); err != nil {
			return err
		}
	}
	return nil
}

// arrive puts an event among those of the batch.
func (l *keyedLane) arrive(a incoming) {
	if a.raw.Origin.Timestamp != 0 {
		l.stamps = append(l.stamps, a.raw.Origin.Timestamp)
	}
	l.table.Expect(a.key)
	l.batch = append(l.batch, a)
}

// decodeShuffled takes a record of the repartition topic: an event that an intake has cleansed, or a watermark.
func (w *keyed) decodeShuffled(l *keyedLane, in *input) {
	watermark, reject := w.decode(l, in.Key, in.Value)
	if reject != nil {
		w.reject(in, &Raw{Key: in.Key, Value: in.Value, Origin: originOf(in)}, reject)
		return
	}
	if watermark {
		for _, s := range l.mark.Sources {
			l.tracker.set(s, in.Timestamp)
		}
		return
	}
	raw := Raw{Key: l.shuffle.OriginalKey, Value: l.shuffle.Original, Origin: l.shuffle.Origin}
	raw.Origin.Topic = w.plan.Streams[l.shuffle.Row.Stream()].Topic
	l.arrive(incoming{in.Key, l.shuffle.Row, raw})
}

// decode reads a record of the repartition topic into the lane. An event must be one that this key's history can take and
// its changelog give back: what goes in here is not looked at again before the next restore.
func (w *keyed) decode(l *keyedLane, key, value []byte) (watermark bool, reject *codecs.Reject) {
	watermark, err := codecs.DecodeShuffle(value, w.layouts, &l.shuffle, &l.mark)
	if err == nil && !watermark {
		if rank := l.shuffle.Row.Stream(); w.key.Slots[rank] == nil {
			err = fmt.Errorf("stream %d is not one of this key: %w", rank, codecs.ErrOtherLayout)
		} else if err = codecs.CheckKey(key, len(w.key.Fields)); err == nil && len(key) > tables.MaxKey {
			err = fmt.Errorf("the key takes %d bytes, the limit is %d", len(key), tables.MaxKey)
		}
	}
	switch {
	case errors.Is(err, codecs.ErrOtherLayout):
		return false, codecs.Rejectf(reasonOtherLayout, "%v", err)
	case err != nil:
		return false, codecs.Rejectf(reasonMalformed, "%v", err)
	}
	return watermark, nil
}

// decodeDirect takes a record of a stream's own topic.
func (w *keyed) decodeDirect(l *keyedLane, in *input) {
	rank := w.streams[in.Topic]
	stream, ev, src := w.plan.Streams[rank], &l.event, l.sources[rank]
	raw := Raw{Key: in.Key, Value: in.Value, Origin: originOf(in)}
	ev.Time = noTime
	if why := skips(w.plan, in.Timestamp, w.now); why != nil {
		if refuser(w.plan, rank) == w.key {
			raw.Headers = in.headers()
			w.s.outbox.Add(rejected(w.plan.App, &raw, why, ""))
			l.tally.late(rank, lateSkipped)
		}
		return
	}
	reject := l.cleaners[rank].clean(&raw, ev)
	reported := reject == nil || refuser(w.plan, rank) == w.key
	at := len(l.memory)
	if reject == nil {
		l.memory, reject = keyOf(l.memory, w.key, ev)
	}
	if ev.Time != noTime {
		src.observe(ev.Time, in.Timestamp, stream.MaxSkew)
	}
	if reject != nil {
		if reported {
			w.reject(in, &raw, reject)
		}
		return
	}
	if watermark := l.engine.watermark(); watermark != noTime && ev.Time < watermark-stream.Lateness {
		raw.Headers = in.headers() // it is late, so it goes out as it came
	}
	split := len(l.memory)
	l.memory = codecs.AppendRow(l.memory, ev, stream.Kept)
	l.arrive(incoming{l.memory[at:split:split], l.memory[split:], raw})
}

// refuser returns the key whose processor reports what is wrong with a stream's records, of several that read them
// directly: each record is rejected once. It is nil where the stream's intake does.
func refuser(plan *rules.Plan, rank int) *rules.Key {
	var first *rules.Key
	for _, k := range plan.Keys {
		if !slices.Contains(k.Streams, rank) {
			continue
		}
		if !k.Direct {
			return nil
		}
		if first == nil {
			first = k
		}
	}
	return first
}

func (w *keyed) reject(in *input, raw *Raw, reject *codecs.Reject) {
	raw.Headers = in.headers()
	w.s.outbox.Add(rejected(w.plan.App, raw, reject, ""))
	w.lanes[in.Partition].Load().tally.reject(reject.Reason)
}

// tick raises the watermarks. That what the tracker knows is written with the state keeps a restart from waiting for
// sources that have nothing new to say.
func (w *keyed) tick(now time.Time) error {
	w.now = now
	for i := range w.lanes {
		l := w.lanes[i].Load()
		if l == nil {
			continue
		}
		for _, src := range l.sources {
			if src != nil {
				src.settle(now, w.plan.Settings.IdleTimeout, w.endOf)
				l.tracker.set(src.state(), now.UnixMicro())
			}
		}
		known, changed := l.tracker.snapshot()
		watermark := l.engine.watermark()
		if changed {
			watermark = max(watermark, l.tracker.watermark())
		}
		if err := l.engine.advance(watermark); err != nil { // also without a change: there may be more to let go
			return err
		}
		if !changed {
			continue
		}
		meta := *l.table.Meta()
		meta.Sources = known
		l.table.SetMeta(meta)
	}
	return nil
}

func (w *keyed) committed(now time.Time) {
	for i := range w.lanes {
		l := w.lanes[i].Load()
		if l == nil {
			continue
		}
		for _, stamp := range l.stamps {
			w.stats.latency.Observe(now.Sub(time.UnixMicro(stamp)))
		}
		l.stamps = l.stamps[:0]
		l.tally.commit()
	}
}
