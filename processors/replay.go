package processors

import (
	"fmt"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Replay runs a plan over records in memory, in one goroutine and without Kafka: the same stations as Run, with the
// records' order for the order of arrival. Each stream is one input; a stream that has had no record yet holds the
// watermark back. It is not safe for concurrent use.
type Replay struct {
	plan    *rules.Plan
	emit    func(codecs.Record)
	tally   *tally
	streams []replayStream
	keys    []replayKey
	event   codecs.Event
	hold    bool
}

// replayStream is one input.
type replayStream struct {
	progress
	cleanser *cleanser
	keys     []int // indexes into Replay.keys
}

// replayKey is the whole of a key's processor.
type replayKey struct {
	key       *rules.Key
	partition *partition
	buf       []byte
}

// ReplayOptions are what a replay may do differently.
type ReplayOptions struct {
	Tables  tables.Options
	Changed func(r *rules.Rule, before, after *codecs.Credit) // told of every change of a row; nil is no row
	// HoldWatermark leaves the watermark where it is, before all time or where Advance has put it: nothing is late.
	HoldWatermark bool
	// Observed is told what becomes of every event, for each key that uses it. key and row are valid until it returns.
	Observed func(k *rules.Key, key []byte, row codecs.Row, raw *Raw, what Observation)
}

// Observation is what becomes of an event in a history.
type Observation string

// The observations.
const (
	ObservedAccepted  Observation = "accepted"
	ObservedDuplicate Observation = "duplicate" // the history had it, or a version of it that counts
	ObservedLate      Observation = "late"
)

// NewReplay returns a replay of the plan, which must have no tables from topics. dims are by index of plan.Tables. emit
// takes over the records' slices.
func NewReplay(plan *rules.Plan, dims []*tables.Dimension, emit func(codecs.Record), stats *Stats, o ReplayOptions) (*Replay, error) {
	r := &Replay{plan: plan, emit: emit, tally: stats.tally(), hold: o.HoldWatermark}
	for _, s := range plan.Streams {
		r.streams = append(r.streams, replayStream{progress: progress{noTime}, cleanser: newCleanser(plan, s, dims)})
	}
	for i, k := range plan.Keys {
		t, err := tables.Open(shapeOf(plan, k), o.Tables)
		if err != nil {
			return nil, err
		}
		p := newPartition(plan, k, t, emit, r.tally)
		p.changed = o.Changed
		if o.Observed != nil {
			p.observed = func(key []byte, row codecs.Row, raw *Raw, what Observation) { o.Observed(k, key, row, raw, what) }
		}
		r.keys = append(r.keys, replayKey{key: k, partition: p})
		for _, s := range k.Streams {
			r.streams[s].keys = append(r.streams[s].keys, i)
		}
	}
	return r, nil
}

// Record takes one record of the stream with that rank. An error is one of the state store; what is wrong with the
// record is emitted as a reject.
func (r *Replay) Record(stream int, raw *Raw) error {
	defer r.tally.commit()
	s := &r.streams[stream]
	ev := &r.event
	ev.Time = noTime
	if why := s.cleanser.clean(raw, ev); why != nil {
		r.reject(raw, why)
	} else if err := r.accept(s, ev, raw); err != nil {
		return err
	}
	// An event that is refused after its time has been read says how late it is all the same.
	if !s.observe(ev.Time, raw.Origin.Timestamp, r.plan.Streams[stream].MaxSkew) || r.hold {
		return nil
	}
	for _, i := range s.keys {
		if err := r.keys[i].partition.advance(r.watermark(r.keys[i].key)); err != nil {
			return err
		}
	}
	return nil
}

// Advance raises the watermark of every key, as events that are of no account would. It never falls. An error is one of the state store.
func (r *Replay) Advance(watermark int64) error {
	for i := range r.keys {
		if err := r.keys[i].partition.advance(watermark); err != nil {
			return err
		}
	}
	return nil
}

// accept gives an event to the keys that use its stream.
func (r *Replay) accept(s *replayStream, ev *codecs.Event, raw *Raw) error {
	for _, i := range s.keys {
		k := &r.keys[i]
		var why *codecs.Reject
		if k.buf, why = keyOf(k.buf[:0], k.key, ev); why != nil {
			r.reject(raw, why)
			continue
		}
		if err := k.partition.acceptEvent(k.buf, ev, raw); err != nil {
			return fmt.Errorf("key %s: %w", k.key.Name, err)
		}
	}
	return nil
}

// Reject emits a record that could not be given to a stream.
func (r *Replay) Reject(raw *Raw, why *codecs.Reject) {
	defer r.tally.commit()
	r.reject(raw, why)
}

func (r *Replay) reject(raw *Raw, why *codecs.Reject) {
	r.tally.reject(why.Reason)
	r.emit(rejected(r.plan.App, raw, why, ""))
}

// watermark is the minimum over the key's inputs of the latest time less the disorder.
func (r *Replay) watermark(k *rules.Key) int64 {
	w := int64(math.MaxInt64)
	for _, s := range k.Streams {
		if r.streams[s].time == noTime {
			return noTime
		}
		w = min(w, r.streams[s].time-r.plan.Streams[s].Disorder)
	}
	return w
}

// Close frees the tables.
func (r *Replay) Close() error {
	for _, k := range r.keys {
		if err := k.partition.table.Close(); err != nil {
			return err
		}
	}
	return nil
}
