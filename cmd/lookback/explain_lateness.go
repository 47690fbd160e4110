package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// lateSteps are how much more lateness is tried.
var lateSteps = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}

// latenessAnswer is what more lateness would recover, and what it would cost.
type latenessAnswer struct {
	App       string                      `json:"app"`
	RulesHash string                      `json:"rules_hash"`
	Lines     int64                       `json:"lines"`
	Streams   []processors.StreamLateness `json:"streams"`
	Steps     []latenessStep              `json:"steps"`
	State     *processors.Budget          `json:"state"` // as it is, in the long run; nil: it cannot be told
	Assumed   []string                    `json:"assumed"`
}

type latenessStep struct {
	processors.LatenessStep
	Cost *processors.StateGrowth `json:"cost"` // nil: it cannot be told
}

// lateness replays files twice (see processors.LatenessTrial).
func explainLateness(c *cobra.Command, f *explainFlags, plan *rules.Plan, files []string) error {
	more, err := f.steps()
	if err != nil {
		return err
	}
	dims, err := openFileDimensions(plan, f.budget.tables)
	if err != nil {
		return err
	}
	trial, err := processors.NewLatenessTrial(plan, dims, more)
	if err != nil {
		return err
	}
	defer trial.Close()
	lines := newEventLines(plan, nil)
	lines.reject = func(*processors.Raw, *codecs.Reject) error { return nil }
	lines.record = trial.Record
	read := func() error {
		for _, file := range files {
			if err := lines.file(c.Context(), file); err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(); err != nil {
		return err
	}
	a := &latenessAnswer{App: plan.App, RulesHash: plan.Hash, Lines: lines.lines}
	if trial.Sampler().Seconds() == 0 {
		return fmt.Errorf("%s: no events of the rules' streams in %d lines", strings.Join(files, ", "), lines.lines)
	}
	again, err := trial.Again()
	if err == nil && again {
		err = read()
	}
	if err != nil {
		return err
	}
	report := trial.Report()
	a.Streams = report.Streams
	if err := a.reckon(plan, trial.Sampler(), report.Steps); err != nil {
		return err
	}
	if f.format == "json" {
		return writeIndented(c.OutOrStdout(), a)
	}
	return writeLatenessText(c.OutOrStdout(), plan, a)
}

// steps returns how much more lateness is tried, in microseconds.
func (f *explainFlags) steps() ([]int64, error) {
	var list []int64
	for _, d := range append(slices.Clone(f.more), lateSteps...) {
		const most = 366 * 24 * time.Hour
		if d <= 0 || d > most {
			return nil, usagef("--more %s: use a duration above 0 and up to a year", d)
		}
		if us := d.Microseconds(); us > 0 && !slices.Contains(list, us) {
			list = append(list, us)
		}
	}
	slices.Sort(list)
	return list, nil
}

// reckon says what each step costs.
func (a *latenessAnswer) reckon(plan *rules.Plan, sampler *processors.TrafficSampler, steps []processors.LatenessStep) error {
	traffic := sampler.Traffic()
	a.Assumed = append(a.Assumed,
		"events come in the order of the lines, and each moves the watermark: in a run it moves between two commits, and waits for every partition",
		"as much more lateness for every stream",
		"keys whose events were none late have the same rows with more lateness; that holds but for keys that max_touches bounds")
	var missing []string
	for _, k := range plan.Keys {
		for _, rank := range k.Streams {
			if name := plan.Streams[rank].Name; traffic.Streams[rank].Rate <= 0 && !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) == 0 {
		var err error
		if a.State, err = processors.NewBudget(plan, &traffic, processors.DefaultBudgetOptions()); err != nil {
			return err
		}
		a.Assumed = append(a.Assumed, fmt.Sprintf("state in the long run, at the rates of the files, which cover %s; explain --budget --sample has all of it", durationText(sampler.Seconds())))
	} else {
		a.Assumed = append(a.Assumed, "what it costs cannot be told: no accepted events of "+strings.Join(missing, ", "))
	}
	for _, s := range steps {
		step := latenessStep{LatenessStep: s}
		if a.State != nil {
			growth, err := a.State.Growth(plan.Later(s.More.Microseconds()), &traffic)
			if err != nil {
				return err
			}
			step.Cost = &growth
		}
		a.Steps = append(a.Steps, step)
	}
	return nil
}

// writeLatenessText writes it for people.
func writeLatenessText(w io.Writer, plan *rules.Plan, a *latenessAnswer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "app %s, rules %s: how late events are, over %s lines\n\n", a.App, a.RulesHash, grouped(a.Lines))
	fmt.Fprintf(t, "stream\tof key\tlateness\tevents\tbehind\trefused\tp50\tp90\tp99\tp99.9\tmax\n")
	late := int64(0)
	for _, s := range a.Streams {
		late += s.Late
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Stream, s.Key, durationText(s.Lateness), grouped(s.Events), grouped(s.Behind), grouped(s.Late),
			shortSeconds(s.P50), shortSeconds(s.P90), shortSeconds(s.P99), shortSeconds(s.P999), shortSeconds(s.Max))
	}
	fmt.Fprintf(t, "\nbehind the watermark by")
	for _, s := range a.Streams {
		fmt.Fprintf(t, "\t%s", s.Stream)
	}
	for i, b := range a.Streams[0].Buckets {
		name := "more"
		switch {
		case i == 0:
			name = "nothing"
		case b.UpTo != nil:
			name = "up to " + durationText(*b.UpTo)
		}
		fmt.Fprintf(t, "\n  %s", name)
		for _, s := range a.Streams {
			fmt.Fprintf(t, "\t%s", grouped(s.Buckets[i].Events))
		}
	}
	fmt.Fprint(t, "\n\n")
	if late == 0 {
		fmt.Fprint(t, "no event was refused: more lateness recovers nothing, and costs\n")
	}
	fmt.Fprintf(t, "more lateness\taccepted\tduplicates\tconversions changed\tnewly attributed\trows\tevents kept\tmemory\tdisk\tchangelog\n")
	for _, s := range a.Steps {
		accepted, changed, attributed, rows := int64(0), int64(0), int64(0), int64(0)
		for _, n := range s.Accepted {
			accepted += n
		}
		for _, r := range s.Rules {
			changed, attributed, rows = changed+r.Changed, attributed+r.Attributed, rows+r.Rows
		}
		fmt.Fprintf(t, "+%s\t%s of %s\t%s\t%s\t%s\t%s", durationText(s.Seconds), grouped(accepted), grouped(late), grouped(s.Again), grouped(changed), grouped(attributed), grouped(rows))
		if s.Cost == nil {
			fmt.Fprint(t, "\t?\t?\t?\t?\n")
			continue
		}
		fmt.Fprintf(t, "\t+%s (%.2f%%)\t+%s\t+%s\t+%s\n", about(s.Cost.Events), 100*s.Cost.Events/max(kept(a.State), 1), processors.FormatBytes(s.Cost.Memory),
			processors.FormatBytes(s.Cost.Disk), processors.FormatBytes(s.Cost.Changelog))
	}
	writeGained(t, plan, a)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nassumed\n")
	for _, line := range a.Assumed {
		fmt.Fprintf(w, "  - %s\n", line)
	}
	return nil
}

// writeGained writes what classes gain.
func writeGained(t io.Writer, plan *rules.Plan, a *latenessAnswer) {
	for _, r := range plan.Rules {
		names := []string{"credit"}
		for _, m := range r.Measure {
			names = append(names, m.Name)
		}
		titled := false
		for _, s := range a.Steps {
			for _, of := range s.Rules {
				if of.Rule != r.Name {
					continue
				}
				for _, g := range of.Gained {
					if !titled {
						fmt.Fprintf(t, "\nrule %s gains\tmodel\tclass\t%s\n", r.Name, strings.Join(names, "\t"))
						titled = true
					}
					fmt.Fprintf(t, "  +%s\t%s\t%s", durationText(s.Seconds), g.Model, g.Class)
					for _, name := range names {
						fmt.Fprintf(t, "\t%s", signed(g.Sums[name]))
					}
					fmt.Fprintln(t)
				}
			}
		}
	}
}

func signed(number string) string {
	if number == "0" || strings.HasPrefix(number, "-") {
		return number
	}
	return "+" + number
}

// kept returns how many events a budget keeps.
func kept(b *processors.Budget) (n float64) {
	for i := range b.Keys {
		n += b.Keys[i].Events
	}
	return n
}

// shortSeconds writes seconds as a duration in three digits or so.
func shortSeconds(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return durationText(seconds)
}
