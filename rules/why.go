package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Finding is what becomes of one touch, and why.
type Finding struct {
	Touch   codecs.Row
	Parent  codecs.Row // what it came by, or would nearest; nil: nothing
	Class   *Class     // that it fits, or comes nearest to
	Verdict Verdict
	Detail  string // for people: by how much, which fields
}

// Explanation is why a conversion has the rows that it has under a rule.
type Explanation struct {
	Outcome
	Taken    bool      // it has been taken out, or is a refund: there is nothing else to say
	TakenBy  []TakenBy // what takes it back
	Findings []Finding // of all touches of the key, latest first
}

// TakenBy is an event that takes a conversion back.
type TakenBy struct {
	Row    codecs.Row
	Refund bool         // else it takes the conversion out
	Back   codecs.Value // of refunds: how much it takes back; Null: all that is left
}

// takenBy returns what takes a conversion back, in the total order.
func takenBy(r *Rule, conv codecs.Row, streams [][]codecs.Row) (list []TakenBy) {
	for _, refunds := range []bool{true, false} {
		for _, t := range naiveTakings(r, conv, refunds, streams) {
			by := TakenBy{Row: t.by, Refund: refunds}
			if t.taking.Valued {
				by.Back = t.by.Value(t.taking.Value)
			}
			list = append(list, by)
		}
	}
	slices.SortFunc(list, func(a, b TakenBy) int { return a.Row.Compare(b.Row) })
	return list
}

// Explain says of every touch of a key what it is to a conversion, by the definition of the rule. rows are those of one key, as Naive
// takes them; conv is one of them. It is false where another version of the conversion counts, or it is not of this rule.
func Explain(p *Plan, r *Rule, conv codecs.Row, rows []codecs.Row) (Explanation, bool) {
	events, streams := canonical(p, rows)
	if _, counts := slices.BinarySearchFunc(streams[r.Conversion], conv, codecs.Row.Compare); !counts {
		return Explanation{}, false
	}
	touches, left := naiveTaken(r, events, streams)
	w := &explainer{plan: p, rule: r, scope: p.NewScope(), conv: conv, streams: left}
	if _, there := slices.BinarySearchFunc(left[r.Conversion], conv, codecs.Row.Compare); !there {
		return Explanation{Outcome: Outcome{Conversion: conv}, Taken: true, TakenBy: takenBy(r, conv, streams)}, true
	}
	conversions := []codecs.Row{conv}
	if r.Counting != nil { // the others decide, too
		conversions = left[r.Conversion]
	}
	var e Explanation
	for _, o := range naiveOutcomes(w.scope, r, conversions, touches, left) {
		if o.Conversion.Compare(conv) == 0 {
			e.Outcome = o
		}
	}
	e.Terms, e.TakenBy = naiveTerms(r, conv, streams), takenBy(r, conv, streams)
	for _, touch := range slices.Backward(events) {
		if touch.Compare(conv) == 0 {
			continue
		}
		if f, ok := w.touch(touch); ok {
			if by := naiveTakings(r, touch, false, streams); len(by) > 0 {
				f.Verdict, f.Detail = Invalidated, "by "+w.name(by[0].by)
			}
			e.Findings = append(e.Findings, f)
		}
	}
	w.judge(&e)
	return e, true
}

// explainer holds what explaining one conversion needs.
type explainer struct {
	plan    *Plan
	rule    *Rule
	scope   *Scope
	conv    codecs.Row
	streams [][]codecs.Row
}

// candidate is the verdict on a pair that nothing keeps from being one.
const candidate Verdict = ""

// touch says how near a touch comes to being a candidate; false where no class is for its stream.
func (w *explainer) touch(touch codecs.Row) (best Finding, ok bool) {
	reached := -1
	for _, class := range w.rule.Classes {
		i := slices.Index(class.Touch, touch.Stream())
		if i < 0 {
			continue
		}
		if w.rule.Orphans && w.rule.Parents[touch.Stream()] >= 0 && !tied(w.scope, w.rule, w.conv, touch, w.streams[w.rule.Parents[touch.Stream()]]) {
			if _, fit := fits(w.scope, w.rule, class, &Tuple{Conversion: w.conv, Touch: touch}); fit {
				return Finding{Touch: touch, Class: class}, true
			}
		}
		for _, parent := range w.parents(touch) {
			f := Finding{Touch: touch, Parent: parent, Class: class}
			f.Verdict, f.Detail = w.pair(class, class.Vias[i], &Tuple{Conversion: w.conv, Touch: touch, Parent: parent})
			if f.Verdict == candidate {
				return f, true
			}
			if at := slices.Index(verdictOrder, f.Verdict); at > reached {
				best, reached = f, at
			}
		}
	}
	return best, reached >= 0
}

// parents returns what a touch's join may refer to, latest first; a nil row where it refers to nothing, or there is nothing.
func (w *explainer) parents(touch codecs.Row) []codecs.Row {
	stream := w.rule.Parents[touch.Stream()]
	if stream < 0 || len(w.streams[stream]) == 0 {
		return []codecs.Row{nil}
	}
	list := slices.Clone(w.streams[stream])
	slices.Reverse(list)
	return list
}

// pair says what keeps a conversion, a touch and its parent from being a candidate of a class.
func (w *explainer) pair(c *Class, v *Via, t *Tuple) (Verdict, string) {
	at, touched := t.Conversion.Time(), t.Touch.Time()
	if touched > at-v.Ahead && !c.After {
		return AfterConversion, fmt.Sprintf("it is %s", behind(touched-at))
	}
	if v.Parent >= 0 && t.Parent == nil {
		return NoParent, fmt.Sprintf("there is no %s in this key", w.plan.Streams[v.Parent].Name)
	}
	sides := []struct {
		pairs []Pair
		a, b  codecs.Row
	}{{v.TouchParent, t.Touch, t.Parent}, {v.ConvTouch, t.Conversion, t.Touch}, {v.ConvParent, t.Conversion, t.Parent}}
	for _, s := range sides {
		for _, p := range s.pairs {
			if a, b := s.a.Value(p.A), s.b.Value(p.B); a.IsNull() || a != b {
				return JoinDiffers, fmt.Sprintf("%s is %s, %s is %s", w.plan.SlotName(s.a.Stream(), p.A), shownValue(a), w.plan.SlotName(s.b.Stream(), p.B), shownValue(b))
			}
		}
	}
	anchor := touched
	if t.Parent != nil {
		shown := t.Parent.Time()
		name := w.plan.Streams[v.Parent].Name
		switch gap := touched - shown; {
		case shown > at-v.Ahead:
			return AfterConversion, fmt.Sprintf("its %s is %s", name, behind(shown-at))
		case gap < 0, gap == 0 && !v.AnyGap:
			return ParentGap, fmt.Sprintf("its %s is not before it", name)
		case gap > v.MaxGap:
			return ParentGap, fmt.Sprintf("its %s is %s before it, max_gap is %s", name, FormatDuration(gap), FormatDuration(v.MaxGap))
		}
		if v.AnchorParent {
			anchor = shown
		}
	}
	switch lag := at - anchor; {
	case lag < c.Min:
		return TooSoon, fmt.Sprintf("the lag is %s, min is %s", FormatDuration(lag), FormatDuration(c.Min))
	case lag > c.Within:
		return OutsideWindow, fmt.Sprintf("the lag is %s, %s more than within allows", FormatDuration(lag), FormatDuration(lag-c.Within))
	}
	if c.Own != nil {
		own, err := c.Own.Value(w.scope, t)
		within := int64(0)
		if err == nil && own.Str != "" {
			within, err = parseDuration(own.Str)
		}
		switch lag := at - anchor; {
		case err != nil:
			return OutsideWindow, condition(c.Own, err)
		case own.Str != "" && (lag > within || lag == within && c.Before):
			return OutsideWindow, fmt.Sprintf("the lag is %s, and within is %s: %s", FormatDuration(lag), c.Own, own.Str)
		}
	}
	if t.Parent != nil && v.MaxParentLag > 0 && at-t.Parent.Time() > v.MaxParentLag {
		return ParentWindow, fmt.Sprintf("its %s is %s before the conversion, %s more than allowed", w.plan.Streams[v.Parent].Name,
			FormatDuration(at-t.Parent.Time()), FormatDuration(at-t.Parent.Time()-v.MaxParentLag))
	}
	for _, x := range v.Residual {
		if holds, err := x.Bool(w.scope, t); err != nil || !holds {
			return JoinFalse, condition(x, err)
		}
	}
	if c.Where != nil {
		if holds, err := c.Where.Bool(w.scope, t); err != nil || !holds {
			return Filtered, condition(c.Where, err)
		}
	}
	if c.Expires != nil {
		v, err := c.Expires.Value(w.scope, t)
		switch {
		case err != nil:
			return Expired, condition(c.Expires, err)
		case !v.IsNull() && (at > v.Num || at == v.Num && c.Before):
			return Expired, fmt.Sprintf("it expired %s before the conversion, at %s", FormatDuration(at-v.Num), shownValue(v))
		}
	}
	for _, row := range []codecs.Row{t.Touch, t.Parent} {
		if row == nil {
			continue
		}
		if from := w.plan.Streams[row.Stream()].AcceptedFrom(row); at < from {
			return CameLate, fmt.Sprintf("%s came late, and counts for conversions from %s on", w.name(row), shownValue(codecs.TimeValue(from)))
		}
	}
	return candidate, ""
}

// judge says of the candidates that were found who has credit, and of the others what they lose to.
func (w *explainer) judge(e *Explanation) {
	found := e.found
	place := func(touch codecs.Row) int {
		return slices.IndexFunc(found, func(c Candidate) bool { return c.Touch.Compare(touch) == 0 })
	}
	credited := func(touch codecs.Row) bool {
		return slices.ContainsFunc(e.Parts, func(parts []Part) bool {
			return slices.ContainsFunc(parts, func(p Part) bool { return p.Tuple.Touch.Compare(touch) == 0 })
		})
	}
	unattributed := !slices.ContainsFunc(e.Parts, func(parts []Part) bool { return len(parts) > 0 })
	for i := range e.Findings {
		f := &e.Findings[i]
		if f.Verdict != candidate {
			continue
		}
		at := place(f.Touch)
		if at >= 0 {
			f.Class, f.Parent = found[at].Class, found[at].Parent
		}
		if !slices.ContainsFunc(e.touches, func(t codecs.Row) bool { return t.Compare(f.Touch) == 0 }) {
			f.Verdict, f.Detail = Retired, "it lost an earlier conversion, and losers are retired"
			continue
		}
		winner := naiveWinner(found)
		switch {
		case at < 0 && slices.ContainsFunc(found, func(c Candidate) bool { return c.Parent != nil && c.Parent.Compare(f.Touch) == 0 }):
			f.Verdict, f.Detail = OwnTouch, "what came of it is a candidate, and the two are one"
		case at < 0 && w.rule.PerParent != AllOfParent && f.Parent != nil && w.otherOfParent(found, f):
			f.Verdict, f.Detail = OfOneParent, fmt.Sprintf("of the touches of %s the %s counts", w.name(f.Parent), w.rule.PerParent)
		case at < 0:
			f.Verdict, f.Detail = OtherClass, fmt.Sprintf("class %s has a candidate and comes first", found[0].Class.Name)
		case e.Silent != "" && winner == &found[at]:
			f.Verdict, f.Detail = e.Silent, silence[e.Silent]
		case e.Silent != "":
			f.Verdict, f.Detail = WinnerSilent, fmt.Sprintf("%s won, and the conversion does not count: %s", w.name(winner.Touch), silence[e.Silent])
		case unattributed && winner == &found[at]:
			_, err := w.rule.Require.Bool(w.scope, &winner.Tuple)
			f.Verdict, f.Detail = Refused, condition(w.rule.Require, err)
		case unattributed:
			f.Verdict, f.Detail = WinnerRefused, fmt.Sprintf("%s won and was refused", w.name(winner.Touch))
		case credited(f.Touch):
			f.Verdict = Credited
		case winner.comparePriorities(&found[at]) > 0:
			f.Verdict, f.Detail = LowerPriority, fmt.Sprintf("%s is %s, that of %s is %s", w.rule.Priority, shownValue(found[at].Priority), w.name(winner.Touch), shownValue(winner.Priority))
		case len(w.rule.Models) == 1 && w.rule.Models[0].Kind == Last:
			f.Verdict, f.Detail = Earlier, fmt.Sprintf("%s is %s", w.name(winner.Touch), behind(winner.Anchor-found[at].Anchor))
		default:
			f.Verdict, f.Detail = NoWeight, "no model gives it a part"
		}
	}
}

// otherOfParent tells whether another touch of what a touch came by, or could have come by, is a candidate, which the finding then names.
func (w *explainer) otherOfParent(found []Candidate, f *Finding) bool {
	for i := range found {
		parent := found[i].Parent
		if parent == nil {
			continue
		}
		if _, ok := fits(w.scope, w.rule, f.Class, &Tuple{Conversion: w.conv, Touch: f.Touch, Parent: parent}); ok {
			f.Parent = parent
			return true
		}
	}
	return false
}

// Near tells of a touch of another key in which fields of the key it differs, where it would otherwise be near: it is before the conversion,
// within a class's window, and agrees with it in another field of the key, or in all that their join says of the two.
func Near(r *Rule, conv, touch codecs.Row, convKey, touchKey []codecs.Value) (detail string, near bool) {
	for _, class := range r.Classes {
		i := slices.Index(class.Touch, touch.Stream())
		if i < 0 {
			continue
		}
		v := class.Vias[i]
		lag := conv.Time() - touch.Time()
		if lag < v.Ahead || lag > class.Within {
			continue
		}
		agree := len(v.ConvTouch) > 0
		for _, pair := range v.ConvTouch {
			if a := conv.Value(pair.A); a.IsNull() || a != touch.Value(pair.B) {
				agree = false
			}
		}
		for k, name := range r.Key.Fields {
			if convKey[k] == touchKey[k] {
				agree = true
				continue
			}
			if detail != "" {
				detail += ", "
			}
			detail += fmt.Sprintf("%s is %s, that of the conversion is %s", name, shownValue(touchKey[k]), shownValue(convKey[k]))
		}
		if agree && detail != "" {
			return fmt.Sprintf("%s, %s before it", detail, FormatDuration(lag)), true
		}
		return "", false
	}
	return "", false
}

// name is a row as people know it.
func (w *explainer) name(row codecs.Row) string {
	return fmt.Sprintf("%s %s", w.plan.Streams[row.Stream()].Name, codecs.AppendText(nil, row.IDValue()))
}

// behind says how much later something is.
func behind(us int64) string {
	if us == 0 {
		return "at the same time"
	}
	return FormatDuration(us) + " later"
}

func shownValue(v codecs.Value) string {
	switch v.Kind {
	case codecs.Null:
		return "absent"
	case codecs.String:
		return fmt.Sprintf("%q", v.Str)
	case codecs.Time:
		return v.Time().Format(time.RFC3339Nano)
	}
	return string(codecs.AppendText(nil, v))
}

// condition says that an expression does not hold, and why where it failed.
func condition(x *Expr, err error) string {
	if err != nil {
		return fmt.Sprintf("%s fails: %v", x, err)
	}
	return fmt.Sprintf("%s is false", x)
}
