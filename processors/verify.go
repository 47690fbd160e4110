package processors

import (
	"context"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
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
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	m, err := newMaintenance(plan, cfg)
	if err != nil {
		return nil, err
	}
	defer m.close()
	v := &verifier{
		plan: plan, cfg: cfg, m: m, o: o, low: math.MinInt64, high: math.MaxInt64, remembered: math.MinInt64,
		late: places{}, refused: places{}, overflown: map[string]bool{}, result: newVerification(plan),
	}
	if !o.From.IsZero() {
		v.low = o.From.UnixMicro()
	}
	if !o.To.IsZero() {
		v.high = o.To.UnixMicro()
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	if v.result.Gap != "" && v.result.Judged() == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNothingToVerify, v.result.Gap)
	}
	return v.result, nil
}

// verifier is one run of Verify.
type verifier struct {
	plan *rules.Plan
	cfg  Config
	m    *maintenance
	o    VerifyOptions
	dims []*tables.Dimension

	counts    map[string]int32 // partitions by topic
	low, high int64            // of the event time of conversions that are judged
	// remembered is from when on it is known which records were late or rejected: those topics may have lost their beginnings.
	remembered int64
	events     *spill
	rows       *spill

	mu        sync.Mutex      // of what follows, which many readers write to
	late      places          // records that came too late
	refused   places          // records that the app has rejected
	overflown map[string]bool // touches that have left a full history: see touchName
	result    *Verification

	done, total atomic.Int64
	reporting   sync.Mutex
}

func (v *verifier) run(ctx context.Context) error {
	if _, err := inspect(v.plan, v.m.admin); err != nil {
		return err
	}
	var err error
	if v.counts, err = countPartitions(v.m.admin, Topics(v.plan)); err != nil {
		return err
	}
	for _, t := range ownTopics(v.plan) {
		if _, exists := v.counts[t.Name]; !exists {
			return fmt.Errorf("topic %s does not exist: app %s has never run here", t.Name, v.plan.App)
		}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	fail := func(error) {} // a table that cannot be followed any more is as it was when the others were read
	v.dims, err = loadDimensions(following, v.plan, func() (sarama.Client, error) {
		return sarama.NewClient(v.plan.Settings.Brokers, v.m.config)
	}, fail, v.cfg.Logger)
	if err != nil {
		return err
	}
	snapshot, err := v.snapshot(ctx)
	if err != nil {
		return err
	}
	if v.low >= v.high {
		return fmt.Errorf("%w: %s", ErrNothingToVerify, v.result.Gap)
	}
	return v.judge(ctx, snapshot)
}

// judge reads what the snapshot names and compares.
func (v *verifier) judge(ctx context.Context, s *verifySnapshot) (err error) {
	size := func(spans []topicSpan) (n int64) {
		for _, s := range spans {
			n += s.end - s.from
		}
		return n
	}
	events, rows := size(s.events), size(s.rows)
	v.result.Records = events + rows + size(s.refusals)
	v.total.Store(v.result.Records)
	if v.events, err = newSpill(v.o.Dir, partsOf(events)); err != nil {
		return err
	}
	defer v.events.close()
	if v.rows, err = newSpill(v.o.Dir, partsOf(rows)); err != nil {
		return err
	}
	defer v.rows.close()
	for _, spans := range [][]topicSpan{s.refusals, s.events, s.rows} {
		err := parallel(ctx, len(spans), func(ctx context.Context, i int) error { return v.read(ctx, &spans[i]) })
		if err != nil {
			return err
		}
		v.late.sort()
		v.refused.sort()
	}
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
	const each, most = 50_000, 512
	return int(min(max(records/each, 1), most))
}

// advance tells how far it is.
func (v *verifier) advance(stage string, by int64) {
	done := v.done.Add(by)
	if v.o.Progress == nil || !v.reporting.TryLock() {
		return
	}
	defer v.reporting.Unlock()
	v.o.Progress(stage, done, v.total.Load())
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
