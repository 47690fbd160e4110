package why

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Case is a conversion of one key, and all that is known of it.
type Case struct {
	Key    *rules.Key
	Values []codecs.Value // of the key's fields

	Conversion codecs.Row // the first that came
	Rows       []codecs.Row
	Origins    map[string]codecs.Origin // by row
	Late       []Placed
	Refused    []Placed // that the app has rejected, and would not now
	InFlight   []Placed // that it has not committed
	Near       map[*rules.Rule][]Near
	History    []Changed
	Written    map[*rules.Rule][]json.RawMessage // the rows that there are
}

// Placed is an event that does not count, and where it stands.
type Placed struct {
	Row    codecs.Row
	Origin codecs.Origin
}

// Near is a touch of another key, and by what it is one.
type Near struct {
	Placed
	Detail string
}

// Changed is what one event did to the conversion's rows.
type Changed struct {
	Rule   string
	Event  string
	Origin codecs.Origin
	Deltas []Delta
}

// Writer writes answers about one plan's conversions.
type Writer struct {
	Plan   *rules.Plan
	Source string
	Place  func(codecs.Origin) string // says where a record stands
}

// Answers explains a case under each rule.
func (w *Writer) Answers(c *Case) (list []Answer) {
	for _, r := range c.Key.Rules {
		if r.Conversion == c.Conversion.Stream() {
			list = append(list, w.answer(c, r))
		}
	}
	return list
}

func (w *Writer) answer(f *Case, r *rules.Rule) Answer {
	conv := w.counted(f)
	a := w.begin(f, r, conv)
	a.Near, a.History = []Event{}, []Change{}
	uncounted := func(events []Placed) []Event {
		list := []Event{}
		for _, l := range events {
			detail := ""
			if l.Row.Stream() == conv.Stream() && bytes.Equal(l.Row.ID(), conv.ID()) {
				detail = "the conversion itself"
			}
			list = append(list, w.event(l.Row, l.Origin, detail))
		}
		return list
	}
	a.Late, a.Rejected, a.InFlight = uncounted(f.Late), uncounted(f.Refused), uncounted(f.InFlight)
	for _, n := range f.Near[r] {
		a.Near = append(a.Near, w.event(n.Row, n.Origin, n.Detail))
	}
	for _, h := range f.History {
		if h.Rule == r.Name {
			a.History = append(a.History, Change{w.Place(h.Origin), h.Event, h.Deltas})
		}
	}
	a.Rows = append(a.Rows, f.Written[r]...)
	if e, ok := rules.Explain(w.Plan, r, conv, f.Rows); ok { // else it was late
		w.explain(&a, f, conv, &e)
	}
	return a
}

// begin begins an answer.
func (w *Writer) begin(f *Case, r *rules.Rule, conv codecs.Row) Answer {
	a := Answer{Rule: r.Name, Key: map[string]string{}, Source: w.Source, Rows: []json.RawMessage{}, Touches: []Touch{}, TakenBack: []Event{}}
	for i, name := range f.Key.Fields {
		a.Key[name] = string(codecs.AppendText(nil, f.Values[i]))
	}
	a.Conversion = w.event(conv, f.Origins[string(conv)], "")
	return a
}

// explain says what an explanation does.
func (w *Writer) explain(a *Answer, f *Case, conv codecs.Row, e *rules.Explanation) {
	for _, by := range e.TakenBy {
		detail := "takes it out"
		if by.Refund {
			detail = "takes back all that is left"
			if !by.Back.IsNull() {
				detail = "takes back " + string(codecs.AppendText(nil, by.Back))
			}
		}
		a.TakenBack = append(a.TakenBack, w.event(by.Row, f.Origins[string(by.Row)], detail))
	}
	if e.Taken && len(e.TakenBy) == 0 {
		a.Conversion.Detail = "it is a refund, which is no conversion"
	}
	for _, found := range e.Findings {
		t := Touch{Event: w.event(found.Touch, f.Origins[string(found.Touch)], found.Detail), Verdict: found.Verdict,
			Lag: rules.FormatDuration(conv.Time() - found.Touch.Time()), Class: found.Class.Name}
		if found.Parent != nil {
			t.Parent = string(codecs.AppendText([]byte(w.Plan.Streams[found.Parent.Stream()].Name+" "), found.Parent.IDValue()))
		}
		a.Touches = append(a.Touches, t)
	}
}

// counted returns the version of the conversion that counts, or that came first where all were late.
func (w *Writer) counted(f *Case) codecs.Row {
	best := f.Conversion
	_, accepted := f.Origins[string(best)]
	for _, row := range f.Rows {
		if row.Stream() != best.Stream() || !bytes.Equal(row.ID(), best.ID()) {
			continue
		}
		if !accepted || w.Plan.Streams[row.Stream()].Precedes(row, best) {
			best, accepted = row, true
		}
	}
	return best
}

func (w *Writer) event(row codecs.Row, origin codecs.Origin, detail string) Event {
	e := Event{Stream: w.Plan.Streams[row.Stream()].Name, ID: string(codecs.AppendText(nil, row.IDValue())), Time: clock(row.Time()), Detail: detail}
	if origin.Topic != "" {
		e.At = w.Place(origin)
	}
	return e
}

// clock is an event time as people and programs read it.
func clock(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339Nano) }
