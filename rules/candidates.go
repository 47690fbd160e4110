package rules

import (
	"cmp"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Candidate is a touch that may get credit for a conversion: the pair, with the parent that the touch came by, and the class that it
// is of. The zero Candidate is nobody.
type Candidate struct {
	Class    *Class
	Anchor   int64        // time that the lag is measured from
	Priority codecs.Value // by Rule.Priority; Null where the rule has none, or it is absent
	Tuple                 // its rows alias the history that was searched
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

// comparePriorities orders by priority. Who has none comes first.
func (c *Candidate) comparePriorities(d *Candidate) int {
	return comparePriorities(c.Priority, d.Priority)
}

// comparePriorities orders ints and decimals. A Null comes first.
func comparePriorities(a, b codecs.Value) int {
	switch {
	case a.IsNull() && b.IsNull():
		return 0
	case a.IsNull():
		return -1
	case b.IsNull():
		return 1
	}
	return Decimal{a.Num, a.Scale}.Cmp(Decimal{b.Num, b.Scale})
}

// winner returns the index of the candidate with the largest priority, of several the last.
func winner(found []Candidate) int {
	best := len(found) - 1
	for i := best - 1; i >= 0; i-- {
		if found[i].comparePriorities(&found[best]) > 0 {
			best = i
		}
	}
	return best
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
	e.err, e.rule, e.history = nil, r, h
	e.found = e.found[:0]
	e.refused, e.offered = nil, e.offered[:0]
	if r.single {
		if w, ok := e.last(r, conv, h); ok {
			e.found = append(e.found, w)
		}
	} else {
		e.all(r, conv, h)
	}
	if r.Require != nil && len(e.found) > 0 {
		if w := winner(e.found); !e.test(r.Require, &e.found[w].Tuple) {
			e.refused, e.offered = e.found, e.offered[:0]
			return nil, e.err
		}
	}
	return e.found, e.err
}

// all finds all candidates.
func (e *Evaluator) all(r *Rule, conv codecs.Row, h History) {
	g := &e.gather
	g.h, g.rule = h, r
	for _, c := range r.Classes {
		for _, v := range c.Vias {
			g.via = v
			g.at = Candidate{Class: c, Tuple: Tuple{Conversion: conv}}
			e.descend(c, v, conv, h, g)
		}
		if len(e.found) > 0 && !r.Across && !r.Retires() {
			break
		}
	}
	if r.Retires() {
		e.offer(r)
	}
	// A touch comes first with its first class and its best parent. Of a class and a touch the later parents stand first.
	rank := func(c *Class) int { return slices.Index(r.Classes, c) }
	slices.SortStableFunc(e.found, func(a, b Candidate) int {
		order := a.Touch.Compare(b.Touch)
		if order == 0 && r.Priority != nil {
			order = cmp.Or(rank(a.Class)-rank(b.Class), b.comparePriorities(&a))
		}
		return order
	})
	e.found = slices.CompactFunc(e.found, func(a, b Candidate) bool { return a.Touch.Compare(b.Touch) == 0 })
	e.perParent(r)
	e.withoutShown(r)
	slices.SortFunc(e.found, func(a, b Candidate) int { return a.compare(&b) })
}

// offer notes the touches of all classes, and leaves those of the best among the candidates.
func (e *Evaluator) offer(r *Rule) {
	for i := range e.found {
		e.offered = append(e.offered, e.found[i].Touch)
	}
	if len(e.found) > 0 && !r.Across {
		first := e.found[0].Class
		e.found = slices.DeleteFunc(e.found, func(c Candidate) bool { return c.Class != first })
	}
}

// perParent leaves one of the candidates of each parent, where the rule says so. They are in the total order of their touches.
func (e *Evaluator) perParent(r *Rule) {
	if r.PerParent == AllOfParent {
		return
	}
	later := r.PerParent == LastOfParent
	if later {
		slices.Reverse(e.found)
	}
	seen := map[string]bool{}
	e.found = slices.DeleteFunc(e.found, func(c Candidate) bool {
		if c.Parent == nil {
			return false
		}
		id := c.Parent.Identity()
		if seen[id] {
			return true
		}
		seen[id] = true
		return false
	})
	if later {
		slices.Reverse(e.found)
	}
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
	e    *Evaluator
	rule *Rule
	via  *Via
	h    History
	at   Candidate
}

// fits tells whether the candidate in hand is one.
func (g *gatherRows) fits() bool {
	return (g.e.retired == nil || !g.e.retired(g.at.Touch)) && g.e.holds(g.via, &g.at)
}

// take adds the candidate in hand.
func (g *gatherRows) take() {
	if g.rule.Priority != nil {
		g.at.Priority = g.e.priority(g.rule, &g.at.Tuple)
	}
	g.e.found = append(g.e.found, g.at)
}

// Visit takes a row that lag is measured from.
func (g *gatherRows) Visit(row codecs.Row) bool {
	if !g.e.complete(&g.at, g.via, row, g.h, completions{g}) && g.fits() {
		g.take()
	}
	return true
}

// completions are the rows that complete the row in hand.
type completions struct{ g *gatherRows }

// Visit takes the touches of a parent, of which each is a candidate, or the latest parent of a touch. Where priorities decide any parent may be
// the best.
func (c completions) Visit(row codecs.Row) bool {
	g := c.g
	g.at.add(g.via, row)
	if !g.fits() {
		return true
	}
	g.take()
	return g.via.AnchorParent || g.rule.Priority != nil
}
