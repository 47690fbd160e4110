package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

// compareSteps holds what arrivals have changed against what is expected of them, one after the other.
func compareSteps(t *rules.Test, steps []step) *Failure {
	lines := [][]string{{"step", "time", "expected", "got"}}
	failed := false
	for i := range max(len(t.Expect.Deltas), len(steps)) {
		line := []string{fmt.Sprint(i + 1), "", "nothing", "nothing"}
		ok := i < len(t.Expect.Deltas) && i < len(steps)
		if i < len(steps) {
			s := &steps[i]
			line[1] = rules.FormatDuration(s.arrival.Since) + " " + s.arrival.Label
			line[3] = s.shown(i < len(t.Expect.Deltas) && len(t.Expect.Deltas[i].Rows) > 0)
		}
		if i < len(t.Expect.Deltas) {
			want := &t.Expect.Deltas[i]
			line[2] = showStep(want)
			ok = ok && steps[i].matches(want)
		}
		if !ok {
			failed = true
			line[0] += " !"
		}
		lines = append(lines, line)
	}
	if !failed {
		return nil
	}
	f := &Failure{Line: t.Line, What: "deltas"}
	if len(t.Expect.Deltas) > 0 {
		f.Line = t.Expect.Deltas[0].Line
	}
	f.Diff = columns(lines)
	return f
}

// matches tells whether a step is the expected one: by its time where one is given, and by sums of signs or by rows.
func (s *step) matches(want *rules.ExpectedStep) bool {
	if want.Arrives != nil && *want.Arrives != s.arrival.Since {
		return false
	}
	if len(want.Rows) > 0 {
		missing, extra := pair(want.Rows, s.deltas)
		return len(missing)+len(extra) == 0
	}
	sums := s.sums()
	for _, c := range want.Classes {
		if sums[c.Class] != c.Sum {
			return false
		}
		delete(sums, c.Class)
	}
	for _, n := range sums {
		if n != 0 {
			return false
		}
	}
	return true
}

// sums returns the sum of signs by class.
func (s *step) sums() map[string]int64 {
	sums := map[string]int64{}
	for _, d := range s.deltas {
		sign := int64(1)
		if d.text("sign") == "-1" {
			sign = -1
		}
		sums[d.text("class")] += sign
	}
	return sums
}

func (s *step) shown(rows bool) string {
	var parts []string
	if rows {
		for _, d := range s.deltas {
			parts = append(parts, d.show([]string{"rule", "model", "conversion_id", "touch_id", "class", "credit", "sign", "reason"}))
		}
		return strings.Join(parts, ", ")
	}
	sums := s.sums()
	for _, class := range slices.Sorted(maps.Keys(sums)) {
		parts = append(parts, fmt.Sprintf("%s %+d", class, sums[class]))
	}
	return strings.Join(parts, ", ")
}

func showStep(want *rules.ExpectedStep) string {
	var parts []string
	for _, c := range want.Classes {
		parts = append(parts, fmt.Sprintf("%s %+d", c.Class, c.Sum))
	}
	slices.Sort(parts)
	for _, r := range want.Rows {
		parts = append(parts, showExpected(r))
	}
	text := strings.Join(parts, ", ")
	if want.Arrives != nil {
		text += " at " + rules.FormatDuration(*want.Arrives)
	}
	return text
}

// compareRows holds rows, or records, against what is expected: each expected one must be there, and no other.
func (r *Runner) compareRows(t *rules.Test, what string, want []rules.ExpectedRow, got []row) *Failure {
	missing, extra := pair(want, got)
	if len(missing)+len(extra) == 0 {
		return nil
	}
	f := &Failure{Line: t.Line, What: what}
	if len(missing) > 0 {
		f.Line = want[missing[0]].Line
	}
	names := []string{"rule", "model", "conversion_id", "touch_id", "class"}
	if what == "rejected" || what == "late" {
		names = []string{rules.RecordStream, rules.RecordReason, rules.RecordMessage}
		for _, s := range r.plan.Streams {
			names = append(names, s.Declared[s.ID].Name)
		}
	}
	manyRules := t.Rule == "" && len(r.plan.Rules) > 1
	manyModels := t.Model == "" && slices.ContainsFunc(r.plan.Rules, func(rule *rules.Rule) bool {
		return (t.Rule == "" || t.Rule == rule.Name) && len(rule.Models) > 1
	})
	names = slices.DeleteFunc(names, func(n string) bool { return n == "rule" && !manyRules || n == "model" && !manyModels })
	for _, w := range want {
		for _, field := range w.Fields {
			if !slices.Contains(names, field.Name) {
				names = append(names, field.Name)
			}
		}
	}
	lines := [][]string{{"time", "expected", "got"}}
	for _, i := range missing {
		lines = append(lines, []string{"", showExpected(want[i]), ""})
	}
	for _, i := range extra {
		lines = append(lines, []string{r.timeOf(got[i]), "", got[i].show(names)})
	}
	f.Diff = columns(lines)
	return f
}

// timeOf is when a row's conversion happened, since the start.
func (r *Runner) timeOf(of row) string {
	at, err := time.Parse(time.RFC3339Nano, of.text("event_time"))
	if err != nil {
		return ""
	}
	return rules.FormatDuration(at.UnixMicro() - r.file.Start)
}

// pair finds for each expected row one that it matches, each row for one at most, and returns the indexes of those on either side that
// are left. It leaves as few as can be (augmenting paths; Kuhn 1955).
func pair(want []rules.ExpectedRow, got []row) (missing, extra []int) {
	taken := make([]int, len(got)) // by which expected row, counted from 1
	var find func(i int, seen []bool) bool
	find = func(i int, seen []bool) bool {
		for j := range got {
			if seen[j] || !got[j].matches(want[i]) {
				continue
			}
			seen[j] = true
			if taken[j] == 0 || find(taken[j]-1, seen) {
				taken[j] = i + 1
				return true
			}
		}
		return false
	}
	for i := range want {
		if !find(i, make([]bool, len(got))) {
			missing = append(missing, i)
		}
	}
	for j, by := range taken {
		if by == 0 {
			extra = append(extra, j)
		}
	}
	return missing, extra
}

// columns lines cells up.
func columns(lines [][]string) (out []string) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
	for line := range strings.Lines(b.String()) {
		out = append(out, strings.TrimRight(line, " \n"))
	}
	return out
}
