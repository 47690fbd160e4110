package processors

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// LatenessTrial finds out what more lateness would recover. It replays the same records twice: First finds how late events are and which
// keys have late ones; Second runs the histories of those keys alone, under the present lateness and under more, side by side, and
// compares their rows. In other keys nothing is late, and what is kept for longer changes no row.
//
// Memory is that of a replay, then of the histories of keys with late events, once for each step; and of what differs.
type LatenessTrial struct {
	plan    *rules.Plan
	dims    []*tables.Dimension
	replay  *Replay
	second  bool
	sampler *TrafficSampler
	streams []*lateStream
	keys    []map[string]bool // that have late events, by index of plan.Keys
	changes rowChanges        // of the event in hand, by the plan itself
	late    bool              // the event in hand is late by the plan itself
	steps   []*lateStep
}

// lateStream is what comes to a key of a stream.
type lateStream struct {
	key, rank int
	behind    Latency
	largest   int64
	ahead     int64 // events that are not behind the watermark
	late      int64
	histogram Lateness
}

// LatenessReport is what a trial has found.
type LatenessReport struct {
	Streams []StreamLateness `json:"streams"`
	Steps   []LatenessStep   `json:"steps"`
}

// StreamLateness is how far events of a stream were behind the watermark of a key, which each event moves, when they came. Times are in
// seconds. Quantiles are over all events that are no rejects, upper bounds of at most an eighth more; those that were not behind count as 0.
type StreamLateness struct {
	Key      string           `json:"key"`
	Stream   string           `json:"stream"`
	Lateness float64          `json:"lateness_seconds"` // by the rules
	Events   int64            `json:"events"`
	Behind   int64            `json:"behind"` // that were behind at all
	Late     int64            `json:"late"`   // that were refused
	P50      float64          `json:"p50_seconds"`
	P90      float64          `json:"p90_seconds"`
	P99      float64          `json:"p99_seconds"`
	P999     float64          `json:"p999_seconds"`
	Max      float64          `json:"max_seconds"`
	Buckets  []LatenessBucket `json:"histogram"`
}

// LatenessBucket counts events that were behind by at most so much, and by more than the bucket before.
type LatenessBucket struct {
	UpTo   *float64 `json:"up_to_seconds"` // nil: no bound
	Events int64    `json:"events"`
}

// LatenessStep is what so much more lateness of every stream would recover.
type LatenessStep struct {
	More     time.Duration    `json:"-"`
	Seconds  float64          `json:"more_seconds"`
	Accepted map[string]int64 `json:"accepted"`   // late events that would be accepted, by stream
	Again    int64            `json:"duplicates"` // late events of which the history would have had a version
	Rules    []RuleLateness   `json:"rules"`
}

// RuleLateness is what changes of a rule's rows.
type RuleLateness struct {
	Rule       string        `json:"rule"`
	Changed    int64         `json:"conversions"`      // whose rows would be others
	Attributed int64         `json:"newly_attributed"` // of them, those that would have a touch, and have none now, or are late themselves
	Rows       int64         `json:"rows"`             // that would be others, or that there are not
	Gained     []ClassGained `json:"gained"`
}

// ClassGained is what a class gains under a model, in conversions and measures: exact decimals. Another class may lose it.
type ClassGained struct {
	Model string            `json:"model"`
	Class string            `json:"class"`
	Sums  map[string]string `json:"sums"`
}

// NewLatenessTrial returns a trial of more lateness, in steps of so many microseconds, before its first replay. The plan must have no
// tables from topics without a file. Who asks closes it.
func NewLatenessTrial(plan *rules.Plan, dims []*tables.Dimension, more []int64) (*LatenessTrial, error) {
	t := &LatenessTrial{plan: plan, dims: dims, sampler: NewTrafficSampler(plan, dims)}
	for i, k := range plan.Keys {
		t.keys = append(t.keys, map[string]bool{})
		for _, rank := range k.Streams {
			t.streams = append(t.streams, &lateStream{key: i, rank: rank})
		}
	}
	for _, us := range more {
		t.steps = append(t.steps, newLateStep(plan, us))
	}
	var err error
	t.replay, err = t.open(ReplayOptions{Observed: t.observeFirst})
	return t, err
}

func (t *LatenessTrial) open(o ReplayOptions) (*Replay, error) {
	o.Tables.Untracked = true
	return NewReplay(t.plan, t.dims, func(codecs.Record) {}, NewStats(t.plan), o)
}

// Close frees the tables.
func (t *LatenessTrial) Close() error { return t.replay.Close() }

// Sampler has seen every event that was accepted, once the first replay is over.
func (t *LatenessTrial) Sampler() *TrafficSampler { return t.sampler }

// Record takes the next record of the replay that is under way.
func (t *LatenessTrial) Record(stream int, raw *Raw) error {
	if err := t.replay.Record(stream, raw); err != nil || !t.second {
		return err
	}
	for _, s := range t.steps {
		s.settle(t.changes)
		clear(s.changes)
	}
	clear(t.changes)
	return nil
}

// Again ends the first replay and begins the second. It tells whether there is one: without late events there is nothing to recover.
func (t *LatenessTrial) Again() (bool, error) {
	if !slices.ContainsFunc(t.streams, func(s *lateStream) bool { return s.late > 0 }) {
		return false, nil
	}
	if err := t.replay.Close(); err != nil {
		return false, err
	}
	t.second, t.changes = true, rowChanges{}
	o := ReplayOptions{
		Only:    func(k *rules.Key, key []byte) bool { return t.keys[slices.Index(t.plan.Keys, k)][string(key)] },
		Changed: t.changes.note,
		Observed: func(_ *rules.Key, _ []byte, _ codecs.Row, _ *Raw, what Observation) {
			t.late = what == ObservedLate
		},
	}
	for _, s := range t.steps {
		o.Beside = append(o.Beside, ReplayBeside{Plan: s.plan, Changed: s.changes.note,
			Observed: func(_ *rules.Key, _ []byte, row codecs.Row, _ *Raw, what Observation) {
				switch {
				case !t.late || what == ObservedLate:
				case what == ObservedAccepted:
					s.accepted[row.Stream()]++
				default:
					s.again++
				}
			}})
	}
	replay, err := t.open(o)
	if err != nil {
		return false, fmt.Errorf("second replay: %w", err)
	}
	t.replay = replay
	return true, nil
}

func (t *LatenessTrial) observeFirst(k *rules.Key, key []byte, row codecs.Row, _ *Raw, what Observation) {
	index := slices.Index(t.plan.Keys, k)
	s := t.streams[slices.IndexFunc(t.streams, func(s *lateStream) bool { return s.key == index && s.rank == row.Stream() })]
	us := lagOf(t.replay.Watermark(k), row.Time())
	s.behind.Observe(time.Duration(us) * time.Microsecond)
	s.histogram.observe(us)
	s.largest = max(s.largest, us)
	if us == 0 {
		s.ahead++
	}
	switch what {
	case ObservedLate:
		s.late++
		if !t.keys[index][string(key)] {
			t.keys[index][string(key)] = true
		}
	case ObservedAccepted:
		t.sampler.Event(k, key, row)
	}
}

// Report returns what was found.
func (t *LatenessTrial) Report() *LatenessReport {
	r := &LatenessReport{Streams: []StreamLateness{}, Steps: []LatenessStep{}}
	for _, s := range t.streams {
		stream := t.plan.Streams[s.rank]
		count, _, _ := s.histogram.Cumulative()
		q := func(share float64) float64 { return min(s.behind.Quantile(share).Seconds(), float64(s.largest)/1e6) }
		d := StreamLateness{
			Key: t.plan.Keys[s.key].Name, Stream: stream.Name, Lateness: float64(stream.Lateness) / 1e6, Events: int64(count), Behind: int64(count) - s.ahead,
			Late: s.late, P50: q(0.5), P90: q(0.9), P99: q(0.99), P999: q(0.999), Max: float64(s.largest) / 1e6,
			Buckets: []LatenessBucket{{new(float64), s.ahead}},
		}
		for i, n := range s.histogram.counts {
			b := LatenessBucket{Events: n}
			if i == 0 {
				b.Events -= s.ahead
			}
			if i < len(latenessBounds) {
				seconds := latenessBounds[i].Seconds()
				b.UpTo = &seconds
			}
			d.Buckets = append(d.Buckets, b)
		}
		r.Streams = append(r.Streams, d)
	}
	for _, s := range t.steps {
		r.Steps = append(r.Steps, s.report(t.plan))
	}
	return r
}
