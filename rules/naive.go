package rules

import (
	"math/big"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Naive is R(E) by definition: for every conversion, every combination of a touch and a parent is tried, and the whole
// conditions are evaluated as they were written. It shares no search with Evaluator, which is tested against it, and
// is what a batch recount uses. It takes the rows of one key, in any order; of the rows with one stream and id the one
// with the smaller (time, content) counts, of those with the same content the first.
func Naive(p *Plan, r *Rule, rows []codecs.Row) []Outcome {
	events, streams := canonical(p, rows)
	touches, left := naiveTaken(r, events, streams)
	out := naiveOutcomes(p.NewScope(), r, left[r.Conversion], touches, left)
	for i := range out {
		capped := out[i].Terms.Capped
		out[i].Terms = naiveTerms(r, out[i].Conversion, streams)
		out[i].Terms.Capped = capped
	}
	return out
}

// naiveOutcomes attributes conversions, which come in the total order.
func naiveOutcomes(scope *Scope, r *Rule, conversions, touches []codecs.Row, streams [][]codecs.Row) []Outcome {
	var out []Outcome
	for _, conv := range conversions {
		o := Outcome{Conversion: conv, found: naiveCandidates(scope, r, conv, touches, streams), touches: touches}
		if len(o.found) > 0 && naiveAccepts(scope, r, o.found) {
			o.Winner = *naiveWinner(o.found)
			if r.Counting != nil && r.Counting.Retire {
				touches = naiveRetire(scope, r, &o, touches, streams)
			}
		}
		out = append(out, o)
	}
	if r.Counting != nil {
		naiveCount(scope, r, out)
	}
	for i := range out {
		o := &out[i]
		for _, m := range r.Models {
			var parts []Part
			if o.Winner.Class != nil && o.Silent == "" {
				parts = naiveParts(scope, m, o.found)
			}
			o.Parts = append(o.Parts, parts)
		}
	}
	return out
}

// naiveAccepts tells whether the winner meets the rule's condition.
func naiveAccepts(scope *Scope, r *Rule, found []Candidate) bool {
	if r.Require == nil {
		return true
	}
	holds, err := r.Require.Bool(scope, &naiveWinner(found).Tuple)
	return holds && err == nil
}

// Outcome is a conversion and who gets its credit.
type Outcome struct {
	Conversion codecs.Row
	Parts      [][]Part  // by index of Rule.Models; nobody has a part where the conversion is unattributed
	Winner     Candidate // the zero Candidate where there is none, or the rule's require does not hold for it
	Silent     Verdict   // why the conversion does not count though it has a winner; "": it does
	Terms      Terms

	found   []Candidate
	touches []codecs.Row // that were not retired
}

// naiveCandidates returns the candidates of a conversion, first to last: of the first class that has any, or of all.
func naiveCandidates(scope *Scope, r *Rule, conv codecs.Row, events []codecs.Row, streams [][]codecs.Row) []Candidate {
	var found []Candidate
	has := func(touch codecs.Row) bool {
		return slices.ContainsFunc(found, func(c Candidate) bool { return c.Touch.Compare(touch) == 0 })
	}
	for _, class := range r.Classes {
		if len(found) > 0 && !r.Across {
			break
		}
		for _, touch := range events {
			if has(touch) {
				continue // it is of an earlier class
			}
			var best *Candidate
			for _, parent := range parents(scope, r, conv, touch, streams) {
				c := Candidate{Class: class, Tuple: Tuple{Conversion: conv, Touch: touch, Parent: parent}}
				var ok bool
				if c.Anchor, ok = fits(scope, r, class, &c.Tuple); !ok {
					continue
				}
				if r.Priority != nil {
					if v, err := r.Priority.Value(scope, &c.Tuple); err == nil {
						c.Priority = v
					}
				}
				if best == nil || wins(&c, best) {
					kept := c
					best = &kept
				}
			}
			if best != nil {
				found = append(found, *best)
			}
		}
	}
	// Of the touches of one parent the first or the last may be the only candidate.
	if r.PerParent != AllOfParent {
		var chosen []Candidate
		for _, c := range found {
			if !slices.ContainsFunc(found, func(d Candidate) bool {
				order := c.Touch.Compare(d.Touch)
				return c.Parent != nil && d.Parent != nil && c.Parent.Compare(d.Parent) == 0 &&
					(r.PerParent == FirstOfParent && order > 0 || r.PerParent == LastOfParent && order < 0)
			}) {
				chosen = append(chosen, c)
			}
		}
		found = chosen
	}
	// An impression whose own click is a candidate is not a second one.
	var own []Candidate
	for _, c := range found {
		if !slices.ContainsFunc(found, func(d Candidate) bool { return d.Parent != nil && d.Parent.Compare(c.Touch) == 0 }) {
			own = append(own, c)
		}
	}
	slices.SortFunc(own, func(a, b Candidate) int {
		if beats(&a, &b) {
			return 1
		}
		return -1
	})
	return own
}

// naiveWinner is the candidate that every other loses to.
func naiveWinner(found []Candidate) *Candidate {
	best := &found[0]
	for i := range found {
		if wins(&found[i], best) {
			best = &found[i]
		}
	}
	return best
}

// canonical returns the set of events, one row per stream and id, in the total order: all, and those of each stream.
func canonical(p *Plan, rows []codecs.Row) (set []codecs.Row, streams [][]codecs.Row) {
	type identity struct {
		stream int
		id     string
	}
	kept := map[identity]codecs.Row{}
	for _, row := range rows {
		id := identity{row.Stream(), string(row.ID())}
		if have, ok := kept[id]; !ok || p.Streams[row.Stream()].Counts(row, have) {
			kept[id] = row
		}
	}
	for _, row := range kept {
		set = append(set, row)
	}
	slices.SortFunc(set, codecs.Row.Compare)
	streams = make([][]codecs.Row, len(p.Streams))
	for _, row := range set {
		streams[row.Stream()] = append(streams[row.Stream()], row)
	}
	return set, streams
}

// parents returns the rows that touch may refer to; a nil row where its join refers to none, or to one that is not there and need not be.
func parents(scope *Scope, r *Rule, conv, touch codecs.Row, streams [][]codecs.Row) []codecs.Row {
	stream := r.Parents[touch.Stream()]
	if stream < 0 || r.Orphans && !tied(scope, r, conv, touch, streams[stream]) {
		return []codecs.Row{nil}
	}
	return streams[stream]
}

// tied tells whether there is a parent that a touch's join refers to.
func tied(scope *Scope, r *Rule, conv, touch codecs.Row, parents []codecs.Row) bool {
	return slices.ContainsFunc(parents, func(parent codecs.Row) bool {
		gap := touch.Time() - parent.Time()
		if gap < 0 || gap > r.MaxGap || gap == 0 && !r.anyGap(touch.Stream()) || conv.Time() < r.streams[parent.Stream()].AcceptedFrom(parent) {
			return false
		}
		holds, err := r.Joins[touch.Stream()].Bool(scope, &Tuple{Conversion: conv, Touch: touch, Parent: parent})
		return holds && err == nil
	})
}

// anyGap tells whether touches of a stream may have the time of their parent.
func (r *Rule) anyGap(touch int) bool {
	for _, c := range r.Classes {
		if i := slices.Index(c.Touch, touch); i >= 0 {
			return c.Vias[i].AnyGap
		}
	}
	return false
}

// fits tells whether a tuple is a candidate of the class, and from when its lag is measured.
func fits(s *Scope, r *Rule, c *Class, t *Tuple) (anchor int64, ok bool) {
	i := slices.Index(c.Touch, t.Touch.Stream())
	if i < 0 {
		return 0, false
	}
	at, touched := t.Conversion.Time(), t.Touch.Time()
	before := func(t int64) bool { return t < at || t == at && r.Instant }
	anchor = touched
	if !before(touched) && !c.After {
		return 0, false
	}
	if t.Parent != nil {
		shown := t.Parent.Time()
		gap := touched - shown
		if !before(shown) || gap < 0 || gap == 0 && !c.Vias[i].AnyGap || gap > r.MaxGap {
			return 0, false
		}
		if c.Anchor == t.Parent.Stream() {
			anchor = shown
		}
		if c.Parent > 0 && at-shown > c.Parent {
			return 0, false
		}
	}
	orphan := t.Parent == nil && r.Parents[t.Touch.Stream()] >= 0
	if orphan && c.Anchor == r.Parents[t.Touch.Stream()] {
		return 0, false
	}
	lag := at - anchor
	if !before(anchor) || lag < c.Min || lag > c.Within {
		return 0, false
	}
	if c.Own != nil {
		if v, err := c.Own.Value(s, t); err != nil {
			return 0, false
		} else if !v.IsNull() && v.Str != "" {
			own, err := parseDuration(v.Str)
			if err != nil || lag > own || lag == own && c.Before {
				return 0, false
			}
		}
	}
	for _, row := range []codecs.Row{t.Touch, t.Parent} {
		if row != nil && t.Conversion.Time() < r.streams[row.Stream()].AcceptedFrom(row) {
			return 0, false
		}
	}
	conditions := []*Expr{r.Joins[t.Touch.Stream()], c.Where}
	if orphan {
		conditions = append(slices.Clone(r.alone[t.Touch.Stream()]), c.Where)
	}
	if t.Parent != nil {
		conditions = append(conditions, r.Joins[t.Parent.Stream()])
	}
	for _, x := range conditions {
		if x == nil {
			continue
		}
		if holds, err := x.Bool(s, t); err != nil || !holds {
			return 0, false
		}
	}
	if c.Expires != nil {
		v, err := c.Expires.Value(s, t)
		if err != nil || !v.IsNull() && (at > v.Num || at == v.Num && c.Before) {
			return 0, false
		}
	}
	return anchor, true
}

// wins tells which of two candidates of a class has the larger priority or, where none has, beats the other.
func wins(c, d *Candidate) bool {
	worth := func(v codecs.Value) *big.Rat {
		x, _ := new(big.Rat).SetString(string(codecs.AppendText(nil, v)))
		return x
	}
	switch {
	case c.Priority.IsNull() != d.Priority.IsNull():
		return d.Priority.IsNull()
	case !c.Priority.IsNull() && worth(c.Priority).Cmp(worth(d.Priority)) != 0:
		return worth(c.Priority).Cmp(worth(d.Priority)) > 0
	}
	return beats(c, d)
}

// beats orders candidates.
func beats(c, d *Candidate) bool {
	switch {
	case c.Anchor != d.Anchor:
		return c.Anchor > d.Anchor
	case c.Touch.Compare(d.Touch) != 0:
		return c.Touch.Compare(d.Touch) > 0
	case c.Parent != nil && d.Parent != nil:
		return c.Parent.Compare(d.Parent) > 0
	}
	return false
}
