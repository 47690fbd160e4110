package rules

import (
	"fmt"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// History is the rows of one key, as evaluation reads them. Rows are valid until the history changes.
type History interface {
	// Latest returns the time of the stream's last row, math.MinInt64 where there is none.
	Latest(stream int) int64
	// Descend visits the stream's rows with from <= time <= to whose values on Key.Paths[stream][path] are those of
	// match (encoded, one after the other; a null never equals), latest first in the total order.
	Descend(stream, path int, match []byte, from, to int64, v codecs.Visitor)
}

// Evaluator finds candidates by look-ups in a History: the incremental form of what Naive defines. It holds scratch memory, so each
// goroutine needs its own.
type Evaluator struct {
	plan    *Plan
	scope   *Scope
	outer   outerRows
	inner   innerRows
	match   []byte
	match2  []byte
	match3  []byte
	linked  linkedRows
	gather  gatherRows
	found   []Candidate
	parts   []Part
	refused []Candidate // whose winner did not meet Rule.Require
	rule    *Rule
	history History
	counted []Counted
	refunds []Refund
	retired func(touch codecs.Row) bool // touches that are out; nil: none
	offered []codecs.Row                // under Retire: touches that were candidates in any class
	err     error
}

// NewEvaluator returns an evaluator for the rules of p.
func NewEvaluator(p *Plan) *Evaluator {
	e := &Evaluator{plan: p, scope: p.NewScope()}
	e.outer.s = e
	e.inner.s = e
	e.gather.e = e
	return e
}

// last returns the candidate of conv that is first in class and last in order, where h has one.
func (e *Evaluator) last(r *Rule, conv codecs.Row, h History) (Candidate, bool) {
	for _, c := range r.Classes {
		var best Candidate
		for _, v := range c.Vias {
			if w := e.search(c, v, conv, h); w.Class != nil && (best.Class == nil || w.compare(&best) > 0) {
				best = w
			}
		}
		if best.Class != nil {
			return best, true
		}
	}
	return Candidate{}, false
}

// search returns the best candidate that a via offers.
func (e *Evaluator) search(c *Class, v *Via, conv codecs.Row, h History) Candidate {
	o := &e.outer
	*o = outerRows{s: e, via: v, h: h}
	o.at.Class, o.at.Conversion = c, conv
	e.descend(c, v, conv, h, o)
	return o.best
}

// descend visits the rows that the lag of a via's candidates is measured from, latest first.
func (e *Evaluator) descend(c *Class, v *Via, conv codecs.Row, h History, to codecs.Visitor) {
	at := conv.Time()
	from, until := floor(at, c.Within), at-max(c.Min, v.Ahead)
	stream, path, pairs := v.Touch, v.TouchPath, v.ConvTouch
	if v.AnchorParent {
		stream, path, pairs = v.Parent, v.ParentPath, v.ConvParent
		if v.MaxParentLag > 0 {
			from = max(from, floor(at, v.MaxParentLag))
		}
	}
	e.match = e.match[:0]
	for _, p := range pairs {
		e.match = conv.AppendField(e.match, p.A)
	}
	h.Descend(stream, path, e.match, from, until, to)
}

// complete puts a row that descend has visited into a candidate, and visits the rows that complete it, latest first: touches where the row
// is a parent, else parents. Where the via has no parent it visits none and returns false.
func (e *Evaluator) complete(t *Candidate, v *Via, row codecs.Row, h History, to codecs.Visitor) bool {
	t.Anchor = row.Time()
	e.match2 = e.match2[:0]
	switch {
	case v.Parent < 0:
		t.Touch = row
		return false
	case v.AnchorParent:
		t.Parent = row
		from, until := row.Time(), row.Time()+v.MaxGap
		if !v.AnyGap {
			from++
		}
		if !v.AllowAfter {
			until = min(until, t.Conversion.Time()-v.Ahead)
		}
		for _, p := range v.ConvTouch {
			e.match2 = t.Conversion.AppendField(e.match2, p.A)
		}
		for _, p := range v.TouchParent {
			e.match2 = row.AppendField(e.match2, p.B)
		}
		h.Descend(v.Touch, v.TouchOfBoth, e.match2, from, until, to)
	default:
		t.Touch = row
		from, until := floor(row.Time(), v.MaxGap), row.Time()
		if !v.AnyGap {
			until--
		}
		if v.MaxParentLag > 0 {
			from = max(from, floor(t.Conversion.Time(), v.MaxParentLag))
		}
		for _, p := range v.ConvParent {
			e.match2 = t.Conversion.AppendField(e.match2, p.A)
		}
		for _, p := range v.TouchParent {
			e.match2 = row.AppendField(e.match2, p.A)
		}
		h.Descend(v.Parent, v.ParentOfBoth, e.match2, from, until, to)
	}
	return true
}

// floor is at - lag without overflow.
func floor(at, lag int64) int64 {
	if at < math.MinInt64+lag {
		return math.MinInt64
	}
	return at - lag
}

// outerRows looks for the best candidate among the rows that lag is measured from.
type outerRows struct {
	s    *Evaluator
	via  *Via
	h    History
	at   Candidate // in hand
	best Candidate
}

// Visit takes the row for an anchor; it goes on while a better candidate is possible.
func (o *outerRows) Visit(row codecs.Row) bool {
	if o.best.Class != nil && row.Time() < o.best.Anchor {
		return false
	}
	i := &o.s.inner
	i.found = false
	switch {
	case !o.s.complete(&o.at, o.via, row, o.h, i):
		if !o.s.holds(o.via, &o.at) {
			return true
		}
		i.best = o.at
	case !i.found:
		return true
	}
	if o.best.Class == nil || i.best.compare(&o.best) > 0 {
		o.best = i.best
	}
	// Rows of one stream come in the total order, so only an anchor that is not the touch leaves ties to settle.
	return o.via.AnchorParent
}

// innerRows goes through the rows that complete the outer row.
type innerRows struct {
	s     *Evaluator
	found bool
	best  Candidate
}

// Visit takes the first row that fits: the latest.
func (i *innerRows) Visit(row codecs.Row) bool {
	o := &i.s.outer
	if o.at.add(o.via, row); i.s.holds(o.via, &o.at) {
		i.found, i.best = true, o.at
	}
	return !i.found
}

// holds tells whether what look-ups do not decide holds for a candidate.
func (e *Evaluator) holds(v *Via, c *Candidate) bool {
	for _, x := range v.Residual {
		if !e.test(x, &c.Tuple) {
			return false
		}
	}
	if v.Orphan != nil && e.isTied(v.Orphan, c) {
		return false
	}
	if v.late && !(e.accepts(c.Touch, c.Conversion.Time()) && e.accepts(c.Parent, c.Conversion.Time())) {
		return false
	}
	return (c.Class.Where == nil || e.test(c.Class.Where, &c.Tuple)) && (c.Class.Expires == nil || e.lasts(c)) && (c.Class.Own == nil || e.reaches(c)) &&
		(len(e.rule.Takings) == 0 || !e.Out(e.rule, c.Touch, e.history) && (c.Parent == nil || !e.Out(e.rule, c.Parent, e.history)))
}

// isTied tells whether a touch has a parent by what its join says of the two.
func (e *Evaluator) isTied(by *Via, c *Candidate) bool {
	t := tiedRows{e: e, by: by, at: *c}
	e.parentsOf(by, c.Touch, e.history, &t)
	return t.found
}

// Tied calls yield with the rows that keep a touch from counting without a parent, and perhaps some more.
func (e *Evaluator) Tied(r *Rule, touch codecs.Row, h History, yield func(parent codecs.Row)) {
	for _, c := range r.Classes {
		for _, v := range c.Vias {
			if v.Orphan != nil && v.Touch == touch.Stream() {
				e.parentsOf(v.Orphan, touch, h, eachRow(yield))
			}
		}
	}
}

// eachRow takes every row.
type eachRow func(row codecs.Row)

// Visit takes a row.
func (f eachRow) Visit(row codecs.Row) bool {
	f(row)
	return true
}

// parentsOf visits the rows that may be the parent of a touch, by time and by what must be equal.
func (e *Evaluator) parentsOf(by *Via, touch codecs.Row, h History, v codecs.Visitor) {
	e.match3 = e.match3[:0]
	for _, p := range by.TouchParent {
		e.match3 = touch.AppendField(e.match3, p.A)
	}
	until := touch.Time()
	if !by.AnyGap {
		until--
	}
	h.Descend(by.Parent, by.ParentOfTouch, e.match3, floor(touch.Time(), by.MaxGap), until, v)
}

// tiedRows looks for a parent.
type tiedRows struct {
	e     *Evaluator
	by    *Via
	at    Candidate
	found bool
}

// Visit takes a row that what must be equal does not keep from being it.
func (t *tiedRows) Visit(row codecs.Row) bool {
	if t.e.Out(t.e.rule, row, t.e.history) || !t.e.accepts(row, t.at.Conversion.Time()) {
		return true
	}
	t.at.Parent = row
	for _, x := range t.by.tie {
		if !t.e.test(x, &t.at.Tuple) {
			return true
		}
	}
	t.found = true
	return false
}

// lasts tells whether a touch has not expired by the time of the conversion.
func (e *Evaluator) lasts(c *Candidate) bool {
	v, err := c.Class.Expires.Value(e.scope, &c.Tuple)
	if err != nil {
		if e.err == nil {
			e.err = fmt.Errorf("expires: %w", err)
		}
		return false
	}
	last := v.Num
	if c.Class.Before {
		last--
	}
	return v.IsNull() || c.Conversion.Time() <= last
}

// reaches tells whether the lag of a pair is within its own window.
func (e *Evaluator) reaches(c *Candidate) bool {
	v, err := c.Class.Own.Value(e.scope, &c.Tuple)
	if err == nil && v.Str == "" {
		return true
	}
	var within int64
	if err == nil {
		within, err = parseDuration(v.Str)
	}
	if err != nil {
		if e.err == nil {
			e.err = fmt.Errorf("within: %w", err)
		}
		return false
	}
	if c.Class.Before {
		within--
	}
	return c.Conversion.Time()-c.Anchor <= within
}

func (e *Evaluator) test(x *Expr, t *Tuple) bool {
	ok, err := x.Bool(e.scope, t)
	if err != nil && e.err == nil {
		e.err = err
	}
	return ok && err == nil
}

// priority returns a candidate's priority. An error makes it null.
func (e *Evaluator) priority(r *Rule, t *Tuple) codecs.Value {
	v, err := r.Priority.Value(e.scope, t)
	if err != nil {
		if e.err == nil {
			e.err = fmt.Errorf("priority: %w", err)
		}
		return codecs.Value{}
	}
	return v
}

// Value returns the value of an output column for a conversion and its winner. An error makes it null.
func (e *Evaluator) Value(c *Column, t *Tuple) (codecs.Value, error) {
	v, err := c.Expr.Value(e.scope, t)
	if err != nil {
		return codecs.Value{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	return v, nil
}
