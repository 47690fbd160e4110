package processors

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// InspectOptions say what of an app's topics is read, and who is told. Calls come one at a time, in the order of each partition, and what
// they are given is valid until they return.
type InspectOptions struct {
	From    time.Time           // event time of the first conversion that matters; zero: all do
	Streams func(rank int) bool // which streams are read; nil: all

	// Event is told of every event, for each key that uses it, and what the app has made of it. Whether it was late to one key alone
	// is not known.
	Event func(k *rules.Key, key []byte, row codecs.Row, raw *Raw, what Observation)
	// Refused is told of records that are no events; nil: nobody is.
	Refused func(stream int, raw *Raw, why *codecs.Reject)
	// Row is told of every row in the output topics; nil: they are not read.
	Row func(r *rules.Rule, at codecs.Origin, key []byte, row *codecs.WrittenRow)

	Progress func(stage string, done, total int64) // as in VerifyOptions
}

// What an app may have made of an event that its topics hold, beside what a replay may.
const (
	ObservedInFlight Observation = "in_flight" // it has not committed it
	ObservedRefused  Observation = "rejected"  // it has rejected it, though by the rules it is an event
)

// Inspect reads what the topics of an app hold. It changes nothing and belongs to no group. gap says what they have lost that conversions
// from From on may need; "" where that is nothing.
func Inspect(ctx context.Context, plan *rules.Plan, cfg Config, o InspectOptions) (gap string, err error) {
	a, err := openAppTopics(ctx, plan, cfg, o.From)
	if err != nil {
		return "", err
	}
	defer a.close()
	var one sync.Mutex
	a.streams, a.progress = o.Streams, o.Progress
	a.event = func(e *topicEvent) error {
		if e.raw == nil {
			return nil // its source has it, too
		}
		what := ObservedAccepted
		switch {
		case e.flags&eventLate != 0:
			what = ObservedLate
		case e.flags&eventRefused != 0:
			what = ObservedRefused
		case e.flags&eventInFlight != 0:
			what = ObservedInFlight
		}
		one.Lock()
		defer one.Unlock()
		o.Event(plan.Keys[e.key], e.bytes, e.row, e.raw, what)
		return nil
	}
	a.reject = func(rank int, raw *Raw, why *codecs.Reject) {
		if o.Refused != nil {
			one.Lock()
			defer one.Unlock()
			o.Refused(rank, raw, why)
		}
	}
	a.row = func(rule int, at codecs.Origin, key []byte, row *codecs.WrittenRow) error {
		one.Lock()
		defer one.Unlock()
		o.Row(plan.Rules[rule], at, key, row)
		return nil
	}
	s, err := a.snapshot(ctx)
	if err != nil {
		return "", err
	}
	if o.Row == nil {
		s.rows = nil
	}
	return a.gap, a.readAll(ctx, s)
}
