package rules

import (
	"cmp"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Candidate is a touch that may get credit for a conversion: the pair, with the parent that the touch came by, and the class that it
// is of. The zero Candidate is nobody.
type Candidate struct {
	Class  *Class
	Anchor int64 // time that the lag is measured from
	Tuple        // its rows alias the history that was searched
}

// compare orders candidates: by anchor, then by the touch in the total order, then by its parent.
func (c *Candidate) compare(d *Candidate) int {
	if c.Anchor != d.Anchor {
		return cmp.Compare(c.Anchor, d.Anchor)
	}
	if order := c.Touch.Compare(d.Touch); order != 0 || c.Parent == nil || d.Parent == nil {
		return order
	}
	return c.Parent.Compare(d.Parent)
}

// add takes the row that completes the candidate.
func (c *Candidate) add(v *Via, row codecs.Row) {
	if v.AnchorParent {
		c.Touch = row
	} else {
		c.Parent = row
	}
}

// Candidates returns the candidates of conv among h's rows that the rule's models may give credit, first to last. They are valid until
// the next call, or the next change of the history. An error is that of an expression, which then counts as false; the candidates are right
// all the same.
func (e *Evaluator) Candidates(r *Rule, conv codecs.Row, h History) ([]Candidate, error) {
	e.err = nil
	e.found = e.found[:0]
	if r.single {
		if w, ok := e.winner(r, conv, h); ok {
			e.found = append(e.found, w)
		}
		return e.found, e.err
	}
	g := &e.gather
	g.h = h
	for _, c := range r.Classes {
		for _, v := range c.Vias {
			g.via = v
			g.at = Candidate{Class: c, Tuple: Tuple{Conversion: conv}}
			e.descend(c, v, conv, h, g)
		}
		if len(e.found) > 0 && !r.Across {
			break
		}
	}
	// A touch comes first with its first class and its best parent.
	slices.SortStableFunc(e.found, func(a, b Candidate) int { return a.Touch.Compare(b.Touch) })
	e.found = slices.CompactFunc(e.found, func(a, b Candidate) bool { return a.Touch.Compare(b.Touch) == 0 })
	e.withoutShown(r)
	slices.SortFunc(e.found, func(a, b Candidate) int { return a.compare(&b) })
	return e.found, e.err
}

// withoutShown takes out touches that others of the candidates, in the total order, refer to: an impression whose own click is a candidate
// is not a second one.
func (e *Evaluator) withoutShown(r *Rule) {
	var shown []codecs.Row
	for i := range e.found {
		if p := e.found[i].Parent; p != nil {
			shown = append(shown, p)
		}
	}
	if len(shown) == 0 {
		return
	}
	slices.SortFunc(shown, codecs.Row.Compare)
	e.found = slices.DeleteFunc(e.found, func(c Candidate) bool {
		_, is := slices.BinarySearchFunc(shown, c.Touch, codecs.Row.Compare)
		return is
	})
}

// gatherRows collects the candidates of one via.
type gatherRows struct {
	e   *Evaluator
	via *Via
	h   History
	at  Candidate
}

// Visit takes a row that lag is measured from.
func (g *gatherRows) Visit(row codecs.Row) bool {
	if !g.e.complete(&g.at, g.via, row, g.h, completions{g}) && g.e.holds(g.via, &g.at) {
		g.e.found = append(g.e.found, g.at)
	}
	return true
}

// completions are the rows that complete the row in hand.
type completions struct{ g *gatherRows }

// Visit takes the touches of a parent, of which each is a candidate, or the latest parent of a touch.
func (c completions) Visit(row codecs.Row) bool {
	g := c.g
	g.at.add(g.via, row)
	if !g.e.holds(g.via, &g.at) {
		return true
	}
	g.e.found = append(g.e.found, g.at)
	return g.via.AnchorParent
}
