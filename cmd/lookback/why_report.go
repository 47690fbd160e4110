package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// answer explains one conversion under one rule.
type answer struct {
	Conversion eventAnswer       `json:"conversion"`
	Key        map[string]string `json:"key"`
	Rule       string            `json:"rule"`
	Rows       []json.RawMessage `json:"rows"`
	TakenBack  []eventAnswer     `json:"taken_back"` // by what the conversion is refunded, or taken out
	Touches    []touchAnswer     `json:"touches"`
	Near       []eventAnswer     `json:"near"`
	Late       []eventAnswer     `json:"late"`
	Rejected   []eventAnswer     `json:"rejected"`  // by the app, though by these rules they are events
	InFlight   []eventAnswer     `json:"in_flight"` // that the app has not committed; they do not count here
	History    []changeAnswer    `json:"history"`
}

type eventAnswer struct {
	Stream string `json:"stream"`
	ID     string `json:"id"`
	Time   string `json:"time"`
	At     string `json:"at"` // file:line, or topic/partition@offset
	Detail string `json:"detail,omitempty"`
}

type touchAnswer struct {
	eventAnswer
	Lag     string        `json:"lag"` // from the touch to the conversion
	Class   string        `json:"class,omitempty"`
	Verdict rules.Verdict `json:"verdict"`
	Parent  string        `json:"parent,omitempty"`
}

type changeAnswer struct {
	At     string     `json:"at"`
	Event  string     `json:"event"` // that caused it; of topics, when it was written
	Deltas []deltaRow `json:"deltas"`
}

// answers explains the conversion under each key and rule.
func (q *inquiry) answers() (list []answer) {
	for _, f := range q.found {
		for _, r := range f.key.Rules {
			if r.Conversion == f.conversion.Stream() {
				list = append(list, q.answer(f, r))
			}
		}
	}
	return list
}

func (q *inquiry) answer(f *foundKey, r *rules.Rule) answer {
	a := answer{Rule: r.Name, Key: map[string]string{}, Rows: []json.RawMessage{}, Touches: []touchAnswer{}, TakenBack: []eventAnswer{}, Near: []eventAnswer{},
		Late: []eventAnswer{}, Rejected: []eventAnswer{}, InFlight: []eventAnswer{}, History: []changeAnswer{}}
	for i, name := range f.key.Fields {
		a.Key[name] = string(codecs.AppendText(nil, f.values[i]))
	}
	conv := q.counted(f)
	a.Conversion = q.event(conv, f.origins[string(conv)], "")
	uncounted := func(events []placedEvent) []eventAnswer {
		list := []eventAnswer{}
		for _, l := range events {
			detail := ""
			if l.row.Stream() == conv.Stream() && bytes.Equal(l.row.ID(), conv.ID()) {
				detail = "the conversion itself"
			}
			list = append(list, q.event(l.row, l.origin, detail))
		}
		return list
	}
	a.Late, a.Rejected, a.InFlight = uncounted(f.late), uncounted(f.refused), uncounted(f.inFlight)
	for _, n := range f.near[r] {
		a.Near = append(a.Near, q.event(n.row, n.origin, n.detail))
	}
	for _, h := range f.history {
		if h.rule == r.Name {
			a.History = append(a.History, changeAnswer{q.place(h.origin), h.event, h.deltas})
		}
	}
	for _, row := range f.final.sorted() {
		if row.topic == r.Into {
			a.Rows = append(a.Rows, row.value)
		}
	}
	e, ok := rules.Explain(q.plan, r, conv, f.rows)
	if !ok {
		return a // it was late
	}
	for _, by := range e.TakenBy {
		detail := "takes it out"
		if by.Refund {
			detail = "takes back all that is left"
			if !by.Back.IsNull() {
				detail = "takes back " + string(codecs.AppendText(nil, by.Back))
			}
		}
		a.TakenBack = append(a.TakenBack, q.event(by.Row, f.origins[string(by.Row)], detail))
	}
	if e.Taken && len(e.TakenBy) == 0 {
		a.Conversion.Detail = "it is a refund, which is no conversion"
	}
	for _, found := range e.Findings {
		t := touchAnswer{eventAnswer: q.event(found.Touch, f.origins[string(found.Touch)], found.Detail), Verdict: found.Verdict,
			Lag: rules.FormatDuration(conv.Time() - found.Touch.Time()), Class: found.Class.Name}
		if found.Parent != nil {
			t.Parent = string(codecs.AppendText([]byte(q.plan.Streams[found.Parent.Stream()].Name+" "), found.Parent.IDValue()))
		}
		a.Touches = append(a.Touches, t)
	}
	return a
}

// counted returns the version of the conversion that counts, or that came first where all were late.
func (q *inquiry) counted(f *foundKey) codecs.Row {
	best := f.conversion
	_, accepted := f.origins[string(best)]
	for _, row := range f.rows {
		if row.Stream() != best.Stream() || !bytes.Equal(row.ID(), best.ID()) {
			continue
		}
		if !accepted || q.plan.Streams[row.Stream()].Precedes(row, best) {
			best, accepted = row, true
		}
	}
	return best
}

func (q *inquiry) event(row codecs.Row, origin codecs.Origin, detail string) eventAnswer {
	return eventAnswer{Stream: q.plan.Streams[row.Stream()].Name, ID: string(codecs.AppendText(nil, row.IDValue())),
		Time: time.UnixMicro(row.Time()).UTC().Format(time.RFC3339Nano), At: q.place(origin), Detail: detail}
}

// place says where a record stands.
func (q *inquiry) place(o codecs.Origin) string {
	switch {
	case o.Topic == "":
		return ""
	case len(q.files) > 0:
		return fmt.Sprintf("%s:%d", o.Topic, o.Offset)
	}
	return fmt.Sprintf("%s/%d@%d", o.Topic, o.Partition, o.Offset)
}

func writeAnswersJSON(w io.Writer, answers []answer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i := range answers {
		if err := out.Encode(&answers[i]); err != nil {
			return fmt.Errorf("writing the explanation: %w", err)
		}
	}
	return nil
}

// writeAnswers writes for people. Of touches it shows so many: those with credit first, then the latest.
func writeAnswers(w io.Writer, answers []answer, limit int) error {
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

func (a *answer) write(out io.Writer, limit int) {
	fmt.Fprintf(out, "%s %s of %s  %s\n", a.Conversion.Stream, a.Conversion.ID, a.Conversion.Time, a.Conversion.At)
	if a.Conversion.Detail != "" {
		fmt.Fprintln(out, a.Conversion.Detail)
	}
	var key []string
	for _, name := range slices.Sorted(maps.Keys(a.Key)) {
		key = append(key, name+" "+a.Key[name])
	}
	fmt.Fprintf(out, "key: %s\nrule: %s\n", strings.Join(key, ", "), a.Rule)
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
		writeCells(out, e.Stream+" "+e.ID, e.Time, e.At, e.Detail)
	}
	if len(a.Touches) == 0 {
		fmt.Fprintln(out, "touches of the key: none")
	} else {
		fmt.Fprintln(out, "touches of the key:")
	}
	touches := slices.Clone(a.Touches)
	slices.SortStableFunc(touches, func(x, y touchAnswer) int {
		rank := func(t touchAnswer) int {
			if t.Verdict == rules.Credited {
				return 0
			}
			return 1
		}
		return rank(x) - rank(y)
	})
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
		writeCells(out, t.Stream+" "+t.ID, when, t.At, t.Class, string(t.Verdict), detail)
	}
	section := func(title string, events []eventAnswer) {
		if len(events) > 0 {
			fmt.Fprintln(out, title)
		}
		for _, e := range events {
			writeCells(out, e.Stream+" "+e.ID, e.Time, e.At, e.Detail)
		}
	}
	section("late:", a.Late)
	section("rejected:", a.Rejected)
	section("in flight, not counted here:", a.InFlight)
	if !slices.ContainsFunc(a.Touches, func(t touchAnswer) bool { return t.Verdict == rules.Credited }) {
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
				text += fmt.Sprintf(" %s %s", d.Touch, unquoted(d.TouchID))
			}
			deltas = append(deltas, text)
		}
		writeCells(out, h.Event, h.At, strings.Join(deltas, ", "))
	}
}

// writeCells writes a line whose cells are lined up with those of its neighbours.
func writeCells(out io.Writer, cells ...string) {
	fmt.Fprintln(out, "  "+strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}
