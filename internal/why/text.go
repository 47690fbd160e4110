package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/seed-2058fbc3/lookback/rules"
)

// WriteJSON writes a line for each answer.
func WriteJSON(w io.Writer, answers []Answer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i := range answers {
		if err := out.Encode(&answers[i]); err != nil {
			return fmt.Errorf("writing the explanation: %w", err)
		}
	}
	return nil
}

// WriteText writes for people. Of touches it shows so many: those with credit first, then the latest.
func WriteText(w io.Writer, answers []Answer, limit int) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		answers[i].write(out, limit)
		if err := out.Flush(); err != nil {
			return fmt.Errorf("writing the explanation: %w", err)
		}
	}
	return nil
}

func (a *Answer) write(out io.Writer, limit int) {
	fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%s %s of %s  %s", a.Conversion.Stream, a.Conversion.ID, a.Conversion.Time, a.Conversion.At), " "))
	if a.Conversion.Detail != "" {
		fmt.Fprintln(out, a.Conversion.Detail)
	}
	var key []string
	for _, name := range slices.Sorted(maps.Keys(a.Key)) {
		key = append(key, name+" "+a.Key[name])
	}
	fmt.Fprintf(out, "key: %s\nrule: %s\n", strings.Join(key, ", "), a.Rule)
	if a.Source == FromState && a.Partition != nil {
		fmt.Fprintf(out, "source: the state of partition %d, watermark %s\n", *a.Partition, cmp.Or(a.Watermark, "none yet"))
	}
	if len(a.Rows) == 0 {
		fmt.Fprintln(out, "rows: none")
	} else {
		fmt.Fprintln(out, "rows:")
	}
	for _, row := range a.Rows {
		fmt.Fprintf(out, "  %s\n", row)
	}
	if len(a.TakenBack) > 0 {
		fmt.Fprintln(out, "taken back by:")
	}
	for _, e := range a.TakenBack {
		a.writeEvent(out, e)
	}
	switch {
	case a.Touches == nil:
		fmt.Fprintln(out, "touches of the key: not known")
	case len(a.Touches) == 0:
		fmt.Fprintln(out, "touches of the key: none")
	default:
		fmt.Fprintln(out, "touches of the key:")
	}
	touches := a.ranked()
	for i, t := range touches {
		if i == limit {
			fmt.Fprintf(out, "  and %d more, see --limit\n", len(touches)-limit)
			break
		}
		detail := t.Detail
		if t.Parent != "" {
			detail = strings.TrimSuffix("by "+t.Parent+"; "+detail, "; ")
		}
		when := t.Lag + " before"
		if later, after := strings.CutPrefix(t.Lag, "-"); after {
			when = later + " after"
		}
		cells := []string{t.Stream + " " + t.ID, when, t.At, t.Class, string(t.Verdict), detail}
		if a.Source == FromState {
			cells = slices.Delete(cells, 2, 3) // there is none
		}
		writeCells(out, cells...)
	}
	section := func(title string, events []Event) {
		if len(events) > 0 {
			fmt.Fprintln(out, title)
		}
		for _, e := range events {
			a.writeEvent(out, e)
		}
	}
	section("late:", a.Late)
	section("rejected:", a.Rejected)
	section("in flight, not counted here:", a.InFlight)
	if !slices.ContainsFunc(a.Touches, func(t Touch) bool { return t.Verdict == rules.Credited }) {
		section("near, in other keys:", a.Near)
	}
	if len(a.History) > 0 {
		fmt.Fprintln(out, "history:")
	}
	for _, h := range a.History {
		var deltas []string
		for _, d := range h.Deltas {
			text := fmt.Sprintf("%+d %s %s", d.Sign, d.Model, d.Class)
			if d.Touch != "" {
				text += fmt.Sprintf(" %s %s", d.Touch, Text(d.TouchID))
			}
			deltas = append(deltas, text)
		}
		writeCells(out, h.Event, h.At, strings.Join(deltas, ", "))
	}
	if len(a.Unknown) > 0 {
		fmt.Fprintln(out, "not known here:")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Unknown)) {
		writeCells(out, name, a.Unknown[name])
	}
}

// ranked returns the touches, those with credit first.
func (a *Answer) ranked() []Touch {
	touches := slices.Clone(a.Touches)
	slices.SortStableFunc(touches, func(x, y Touch) int {
		rank := func(t Touch) int {
			if t.Verdict == rules.Credited {
				return 0
			}
			return 1
		}
		return rank(x) - rank(y)
	})
	return touches
}

func (a *Answer) writeEvent(out io.Writer, e Event) {
	if a.Source == FromState {
		writeCells(out, e.Stream+" "+e.ID, e.Time, e.Detail)
		return
	}
	writeCells(out, e.Stream+" "+e.ID, e.Time, e.At, e.Detail)
}

// writeCells writes a line whose cells are lined up with those of its neighbours.
func writeCells(out io.Writer, cells ...string) {
	fmt.Fprintln(out, "  "+strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}
