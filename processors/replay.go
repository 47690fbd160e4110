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
	only    func(k *rules.Key, key []byte) bool
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
	all       []*partition // it, and those of ReplayOptions.Beside
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
	// Only says which keys have a history; nil: all. Events of others move the watermark and do nothing else.
	Only func(k *rules.Key, key []byte) bool
	// Beside are the same rules with another lateness, which take each event after the plan itself, under the same watermark. What they
	// emit goes nowhere.
	Beside []ReplayBeside
}

// ReplayBeside is a plan that runs beside a replay's own, of which it is a copy but for its lateness.
type ReplayBeside struct {
	Plan     *rules.Plan
	Changed  func(r *rules.Rule, before, after *codecs.Credit)                          // as in ReplayOptions
	Observed func(k *rules.Key, key []byte, row codecs.Row, raw *Raw, what Observation) // likewise
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
	r := &Replay{plan: plan, emit: emit, tally: stats.tally(), hold: o.HoldWatermark, only: o.Only}
	for _, s := range plan.Streams {
		r.streams = append(r.streams, replayStream{progress: progress{noTime}, cleanser: newCleanser(plan, s, dims)})
	}
	for i, k := range plan.Keys {
		open := func(b ReplayBeside, emit func(codecs.Record), tally *tally) (*partition, error) {
			t, err := tables.Open(shapeOf(b.Plan, b.Plan.Keys[i]), o.Tables)
			if err != nil {
				return nil, err
			}
			p := newPartition(b.Plan, b.Plan.Keys[i], t, emit, tally)
			p.changed = b.Changed
			if b.Observed != nil {
				p.observed = func(key []byte, row codecs.Row, raw *Raw, what Observation) { b.Observed(k, key, row, raw, what) }
			}
			return p, nil
		}
		own, err := open(ReplayBeside{plan, o.Changed, o.Observed}, emit, r.tally)
		if err != nil {
			return nil, err
		}
		at := replayKey{key: k, partition: own, all: []*partition{own}}
		for _, b := range o.Beside {
			p, err := open(b, func(codecs.Record) {}, NewStats(plan).tally())
			if err != nil {
				return nil, err
			}
			at.all = append(at.all, p)
		}
		r.keys = append(r.keys, at)
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
		if err := r.keys[i].advance(r.watermark(r.keys[i].key)); err != nil {
			return err
		}
	}
	return nil
}

// Advance raises the watermark of every key, as events that are of no account would. It never falls. An error is one of the state store.
func (r *Replay) Advance(watermark int64) error {
	for i := range r.keys {
		if err := r.keys[i].advance(watermark); err != nil {
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
		if r.only != nil && !r.only(k.key, k.buf) {
			continue
		}
		for _, p := range k.all {
			if err := p.acceptEvent(k.buf, ev, raw); err != nil {
				return fmt.Errorf("key %s: %w", k.key.Name, err)
			}
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

// Watermark returns how far a key has come, math.MinInt64 before its first watermark.
func (r *Replay) Watermark(k *rules.Key) int64 {
	for i := range r.keys {
		if r.keys[i].key == k {
			return r.keys[i].partition.watermark()
		}
	}
	return noTime
}

func (k *replayKey) advance(watermark int64) error {
	for _, p := range k.all {
		if err := p.advance(watermark); err != nil {
			return err
		}
	}
	return nil
}

// Close frees the tables.
func (r *Replay) Close() error {
	for i := range r.keys {
		for _, p := range r.keys[i].all {
			if err := p.table.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}
