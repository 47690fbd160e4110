package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// VerifyOptions say what is held against the batch answer.
type VerifyOptions struct {
	From, To time.Time // of the conversions' event time, To excluded; zero: no bound
	Dir      string    // of temporary files, which take about as much as the events; "": the system's
	Examples int       // differences that are kept of each rule and cause

	Progress func(stage string, done, total int64) // told often, by one goroutine at a time; nil: nobody asks
}

// ErrNothingToVerify says that the topics do not hold what it takes to judge any conversion of the interval.
var ErrNothingToVerify = errors.New("nothing can be verified")

// Verify holds the rows that an app has written of the conversions of an interval against the batch answer over the records that it has
// read: rules.Naive, a key at a time and in no order. It changes nothing, belongs to no group, and may run beside the app.
//
// What the app has not committed yet is not judged: positions of the groups are taken first, ends of the outputs next, ends of the
// sources last, and a key that has a record behind its position is in flight. So what is judged has had all its effects.
//
// Memory follows the keys and conversions of a part, not the topics: events and rows are divided by their keys among temporary files.
// Late and rejected records take 8 bytes each. A key with more combinations than Naive can try in a moment is judged by look-ups, and
// counted as such.
func Verify(ctx context.Context, plan *rules.Plan, cfg Config, o VerifyOptions) (*Verification, error) {
	a, err := openAppTopics(ctx, plan, cfg, o.From)
	if err != nil {
		return nil, err
	}
	defer a.close()
	v := &verifier{appTopics: a, o: o, high: math.MaxInt64, result: newVerification(plan), firstKey: map[int]int{}}
	if !o.To.IsZero() {
		v.high = o.To.UnixMicro()
	}
	for i, k := range slices.Backward(plan.Keys) {
		for _, rank := range k.Streams {
			v.firstKey[rank] = i
		}
	}
	a.progress, a.event, a.row = o.Progress, v.takeEvent, v.takeRow
	a.reject = func(rank int, _ *Raw, why *codecs.Reject) { v.result.reject(rank, why.Reason) }
	snapshot, err := a.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if v.low < v.high {
		err = v.judge(ctx, snapshot)
	}
	if why := cmp.Or(a.gap, v.result.allGone()); err == nil && why != "" && v.result.Judged() == 0 {
		err = fmt.Errorf("%w: %s", ErrNothingToVerify, why)
	}
	if err != nil {
		return nil, err
	}
	return v.result, nil
}

// verifier is one run of Verify.
type verifier struct {
	*appTopics
	o        VerifyOptions
	high     int64 // of the event time of conversions that are judged
	events   *spill
	rows     *spill
	result   *Verification
	firstKey map[int]int // of the keys that use a stream, by rank
}

// judge reads what the snapshot names and compares.
func (v *verifier) judge(ctx context.Context, s *topicsSnapshot) (err error) {
	if v.events, err = newSpill(v.o.Dir, partsOf(sizeOf(s.events))); err != nil {
		return err
	}
	defer v.events.close()
	if v.rows, err = newSpill(v.o.Dir, partsOf(sizeOf(s.rows))); err != nil {
		return err
	}
	defer v.rows.close()
	if err := v.readAll(ctx, s); err != nil {
		return err
	}
	v.result.Records = v.total.Load()
	for _, stage := range []struct {
		name string
		in   *spill
		do   func(entries [][]byte) error
	}{{"recounting", v.events, v.recount}, {"comparing", v.rows, v.compare}} {
		v.done.Store(0)
		v.total.Store(int64(len(stage.in.parts)))
		err := parallel(ctx, len(stage.in.parts), func(_ context.Context, i int) error {
			entries, err := stage.in.take(i)
			if err == nil {
				err = stage.do(entries)
			}
			v.advance(stage.name, 1)
			return err
		})
		if err != nil {
			return err
		}
	}
	v.result.finish(v)
	return nil
}

// partsOf returns among how many files records are divided, so that each fits into some ten megabytes.
func partsOf(records int64) int {
	const each, most = 50_000, 256 // files of both kinds are open at once
	return int(min(max(records/each, 1), most))
}
