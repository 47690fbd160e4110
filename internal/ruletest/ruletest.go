// Package ruletest runs rule tests: it lets events arrive as a test says, in the engine that `replay` and `run` use, and compares
// what is written with what is expected. Whatever a test expects, the rows that remain must also be those of a batch recount and, where
// events arrive in several orders, the same in each.
package ruletest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Runner runs the tests of a file. It is not safe for concurrent use.
type Runner struct {
	file *rules.TestFile
	plan *rules.Plan
	dims []*tables.Dimension // by index of plan.Tables

	// reached has what the tests that were run have reached, in the words of Coverage.
	reached map[string]bool
}

// NewRunner returns a runner of a file's tests, which changes the file's plan: every rule writes upserts and deltas. dims are by
// index of the plan's tables, none nil.
func NewRunner(file *rules.TestFile, dims []*tables.Dimension) *Runner {
	for _, r := range file.Plan.Rules {
		r.Upserts, r.Deltas = true, true
	}
	return &Runner{file: file, plan: file.Plan, dims: dims, reached: map[string]bool{}}
}

// Result is what a test came to.
type Result struct {
	Test     *rules.Test
	Orders   int // of arrival that were tried
	Failures []Failure
	Took     time.Duration
}

// Failure is one thing that is not as expected.
type Failure struct {
	Line int // in the tests file
	What string
	Diff []string // lines for people, each a time, what was expected and what there is
}

// Run runs a test. An error is one of ctx or of the state store, not of the test.
func (r *Runner) Run(ctx context.Context, t *rules.Test) (Result, error) {
	result := Result{Test: t}
	started := time.Now()
	var first *observation
	for order := range orders(t) {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		o, err := r.observe(t, order)
		if err != nil {
			return result, err
		}
		result.Orders++
		if first == nil {
			first = o
			if result.Failures, err = r.judge(t, o, order); err != nil {
				return result, err
			}
			continue
		}
		if diff := o.differences(first); len(diff) > 0 {
			result.Failures = append(result.Failures, Failure{t.Line, "the rows depend on the order of arrival", append([]string{"in the order " + labels(t, order)}, diff...)})
			break
		}
	}
	r.cover(first)
	result.Took = time.Since(started)
	return result, nil
}

// observation is what one order of arrival has written.
type observation struct {
	steps    []step
	final    map[string]row // by topic and key
	rejected []row
	late     []row

	written   []codecs.Record // to the topics of rules
	accepted  []bool          // by place in the order: what may count for a recount
	from      map[int]int64   // by place: from which time on conversions have it, of what was accepted late
	uneven    bool            // an event was late, perhaps not for every key
	bounded   bool            // touches have left a full history, so a recount may differ
	duplicate bool
}

// step is what one arrival changed.
type step struct {
	arrival *rules.Arrival
	deltas  []row
}

// observe lets events arrive.
func (r *Runner) observe(t *rules.Test, order []int) (*observation, error) {
	o := &observation{final: map[string]row{}, accepted: make([]bool, len(order)), from: map[int]int64{}}
	var failed error
	var changes []row
	late, acceptedLate, from := false, false, int64(0)
	observed := func(_ *rules.Key, _ []byte, _ codecs.Row, _ *processors.Raw, what processors.Observation) {
		late = late || what == processors.ObservedLate
	}
	emit := func(rec codecs.Record) {
		switch rec.Topic {
		case processors.RejectedTopic(r.plan.App), processors.LateTopic(r.plan.App):
			refused := r.recordRow(rec)
			if rec.Topic == processors.LateTopic(r.plan.App) {
				o.late = append(o.late, refused)
				from, acceptedLate = processors.AcceptedFrom(rec.Headers)
			} else {
				o.rejected = append(o.rejected, refused)
				o.bounded = o.bounded || refused.text(rules.RecordReason) == "max_touches"
			}
			return
		}
		o.written = append(o.written, rec)
		fields, err := decode(rec.Value)
		if err != nil && failed == nil {
			failed = err
		}
		if _, signed := fields["sign"]; signed {
			if fields.concerns(t) {
				changes = append(changes, fields)
			}
			return
		}
		id := rec.Topic + "\x00" + string(rec.Key)
		if fields["_deleted"] == true {
			delete(o.final, id)
		} else {
			o.final[id] = fields.bare()
		}
	}
	stats := processors.NewStats(r.plan)
	options := processors.ReplayOptions{HoldWatermark: t.Order.Permuted(), Observed: observed}
	options.Tables.Untracked = true
	replay, err := processors.NewReplay(r.plan, r.dims, emit, stats, options)
	if err != nil {
		return nil, err
	}
	for place, i := range order {
		a := &t.Given[i]
		changes, late, acceptedLate = nil, false, false
		if a.Stream < 0 {
			err = replay.Advance(a.Arrives)
		} else {
			err = replay.Record(a.Stream, r.raw(a))
			o.accepted[place] = !late && !acceptedLate
			o.uneven = o.uneven || late && len(r.plan.Keys) > 1
			if acceptedLate {
				o.from[place] = from
			}
		}
		if err != nil {
			return nil, fmt.Errorf("test %q: %w", t.Name, err)
		}
		if len(changes) > 0 {
			o.steps = append(o.steps, step{a, changes})
		}
	}
	for _, n := range stats.Snapshot().Duplicates {
		o.duplicate = o.duplicate || n > 0
	}
	if failed == nil {
		failed = replay.Close()
	}
	return o, failed
}

// raw is the record of an arrival.
func (r *Runner) raw(a *rules.Arrival) *processors.Raw {
	return &processors.Raw{Value: a.Value, Origin: codecs.Origin{Topic: r.plan.Streams[a.Stream].Topic, Offset: int64(a.Line), Timestamp: a.Arrives}}
}

// judge holds what the first order has written against what is expected, and against a recount.
func (r *Runner) judge(t *rules.Test, o *observation, order []int) ([]Failure, error) {
	var failures []Failure
	note := func(f *Failure) {
		if f != nil {
			failures = append(failures, *f)
		}
	}
	if t.Expect.Deltas != nil {
		note(compareSteps(t, o.steps))
	}
	if t.Expect.Final != nil {
		var rows []row
		for _, id := range slices.Sorted(maps.Keys(o.final)) {
			if o.final[id].concerns(t) {
				rows = append(rows, o.final[id])
			}
		}
		note(r.compareRows(t, "final", t.Expect.Final, rows))
	}
	note(r.compareRows(t, "rejected", t.Expect.Rejected, o.rejected))
	note(r.compareRows(t, "late", t.Expect.Late, o.late))
	// Where a touch left a full history, or an event was late for one key and not for another, the accepted events are no one set.
	if o.bounded || o.uneven || len(o.late) > 0 && len(r.plan.Keys) > 1 {
		return failures, nil
	}
	net, batch := processors.NewNet(r.plan), processors.NewRecount(r.plan, r.dims)
	for _, rec := range o.written {
		if err := net.Add(rec.Topic, rec.Key, rec.Value); err != nil {
			return failures, err
		}
	}
	for place, i := range order {
		a := &t.Given[i]
		if o.accepted[place] {
			batch.Add(a.Stream, r.raw(a))
		}
		if from, late := o.from[place]; late {
			batch.AddAccepted(a.Stream, r.raw(a), from)
		}
	}
	const most = 5
	differences, _, err := net.Compare(batch, most)
	if len(differences) > 0 {
		note(&Failure{t.Line, "the rows are not those of a batch recount, which is a defect of Lookback", differences})
	}
	return failures, err
}

// differences says in which rows that remain an observation differs from another.
func (o *observation) differences(from *observation) (diff []string) {
	for _, id := range slices.Sorted(maps.Keys(from.final)) {
		if want, got := from.final[id].all(), o.final[id].all(); want != got {
			diff = append(diff, "expected "+want, "     got "+got)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(o.final)) {
		if _, ok := from.final[id]; !ok {
			diff = append(diff, "expected no row", "     got "+o.final[id].all())
		}
	}
	return diff
}

func labels(t *rules.Test, order []int) string {
	text := ""
	for _, i := range order {
		if text != "" {
			text += ", "
		}
		text += t.Given[i].Label
	}
	return text
}
