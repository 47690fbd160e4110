package rules

import (
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Naive is R(E) by definition: for every conversion, every combination of a touch and a parent is tried, and the whole
// conditions are evaluated as they were written. It shares no search with Evaluator, which is tested against it, and
// is what a batch recount uses. It takes the rows of one key, in any order; of the rows with one stream and id the one
// with the smaller (time, content) counts, of those with the same content the first.
func Naive(p *Plan, r *Rule, rows []codecs.Row) []Outcome {
	scope := p.NewScope()
	events := canonical(p, rows)
	streams := make([][]codecs.Row, len(p.Streams))
	for _, row := range events {
		streams[row.Stream()] = append(streams[row.Stream()], row)
	}
	var out []Outcome
	for _, conv := range events {
		if conv.Stream() != r.Conversion {
			continue
		}
		o := Outcome{Conversion: conv}
		for _, c := range r.Classes {
			var best *Tuple
			var bestAnchor int64
			for _, touch := range events {
				for _, parent := range parents(r, touch, streams) {
					t := &Tuple{Conversion: conv, Touch: touch, Parent: parent}
					anchor, ok := fits(scope, r, c, t)
					if ok && (best == nil || beats(anchor, t, bestAnchor, best)) {
						best, bestAnchor = t, anchor
					}
				}
			}
			if best != nil {
				o.Winner = Winner{Class: c, Tuple: *best}
				break
			}
		}
		out = append(out, o)
	}
	return out
}

// Outcome is a conversion and who gets its credit.
type Outcome struct {
	Conversion codecs.Row
	Winner     Winner
}

// canonical returns the set of events: one row per stream and id, in the total order.
func canonical(p *Plan, rows []codecs.Row) []codecs.Row {
	type identity struct {
		stream int
		id     string
	}
	kept := map[identity]codecs.Row{}
	for _, row := range rows {
		id := identity{row.Stream(), string(row.ID())}
		if have, ok := kept[id]; !ok || p.Streams[row.Stream()].Precedes(row, have) {
			kept[id] = row
		}
	}
	var set []codecs.Row
	for _, row := range kept {
		set = append(set, row)
	}
	slices.SortFunc(set, codecs.Row.Compare)
	return set
}

// parents returns the rows that touch may refer to; a nil row where its join refers to none.
func parents(r *Rule, touch codecs.Row, streams [][]codecs.Row) []codecs.Row {
	if stream := r.Parents[touch.Stream()]; stream >= 0 {
		return streams[stream]
	}
	return []codecs.Row{nil}
}

// fits tells whether a tuple is a candidate of the class, and from when its lag is measured.
func fits(s *Scope, r *Rule, c *Class, t *Tuple) (anchor int64, ok bool) {
	i := slices.Index(c.Touch, t.Touch.Stream())
	if i < 0 {
		return 0, false
	}
	at, touched := t.Conversion.Time(), t.Touch.Time()
	anchor = touched
	if touched >= at && !c.After {
		return 0, false
	}
	if t.Parent != nil {
		shown := t.Parent.Time()
		gap := touched - shown
		if shown >= at || gap < 0 || gap == 0 && !c.Vias[i].AnyGap || gap > r.MaxGap {
			return 0, false
		}
		if c.Anchor == t.Parent.Stream() {
			anchor = shown
		}
		if r.MediaMath {
			for _, view := range r.Classes {
				if slices.Contains(view.Touch, t.Parent.Stream()) && at-shown > view.Within {
					return 0, false
				}
			}
		}
	}
	lag := at - anchor
	if lag <= 0 || lag < c.Min || lag > c.Within {
		return 0, false
	}
	conditions := []*Expr{r.Joins[t.Touch.Stream()], c.Where}
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
	return anchor, true
}

// beats orders the candidates of one class.
func beats(anchor int64, t *Tuple, anchor2 int64, t2 *Tuple) bool {
	switch {
	case anchor != anchor2:
		return anchor > anchor2
	case t.Touch.Compare(t2.Touch) != 0:
		return t.Touch.Compare(t2.Touch) > 0
	case t.Parent != nil && t2.Parent != nil:
		return t.Parent.Compare(t2.Parent) > 0
	}
	return false
}
