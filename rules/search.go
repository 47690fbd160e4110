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

// Winner is who gets the credit of a conversion. The zero Winner is nobody: the conversion is unattributed.
type Winner struct {
	Class *Class
	Tuple Tuple // its rows alias the history that was searched
}

// Evaluator finds winners by look-ups in a History: the incremental form of what Naive defines. It holds scratch
// memory, so each goroutine needs its own.
type Evaluator struct {
	scope  *Scope
	outer  outerRows
	inner  innerRows
	match  []byte
	match2 []byte
	linked linkedRows
	err    error
}

// NewEvaluator returns an evaluator for the rules of p.
func NewEvaluator(p *Plan) *Evaluator {
	e := &Evaluator{scope: p.NewScope()}
	e.outer.s = e
	e.inner.s = e
	return e
}

// Winner returns the winner of conv under r among h's rows. An error is that of an expression, which then counts as
// false; the winner is right all the same.
func (e *Evaluator) Winner(r *Rule, conv codecs.Row, h History) (Winner, error) {
	e.err = nil
	for _, c := range r.Classes {
		var best Winner
		var bestAnchor int64
		for _, v := range c.Vias {
			w, anchor := e.search(c, v, conv, h)
			if w.Class != nil && (best.Class == nil || later(anchor, w.Tuple, bestAnchor, best.Tuple)) {
				best, bestAnchor = w, anchor
			}
		}
		if best.Class != nil {
			return best, e.err
		}
	}
	return Winner{}, e.err
}

// later orders candidates of one class: by anchor, then by the touch in the total order, then by its parent.
func later(anchor int64, t Tuple, anchor2 int64, t2 Tuple) bool {
	if anchor != anchor2 {
		return anchor > anchor2
	}
	if c := t.Touch.Compare(t2.Touch); c != 0 || t.Parent == nil || t2.Parent == nil {
		return c > 0
	}
	return t.Parent.Compare(t2.Parent) > 0
}

// search returns the best candidate that a via offers, and its anchor's time.
func (e *Evaluator) search(c *Class, v *Via, conv codecs.Row, h History) (Winner, int64) {
	o, at := &e.outer, conv.Time()
	*o = outerRows{s: e, class: c, via: v, h: h}
	o.tuple.Conversion = conv
	from, to := floor(at, c.Within), at-max(c.Min, 1)
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
	h.Descend(stream, path, e.match, from, to, o)
	if !o.found {
		return Winner{}, 0
	}
	return Winner{Class: c, Tuple: o.best}, o.anchor
}

// floor is at - lag without overflow.
func floor(at, lag int64) int64 {
	if at < math.MinInt64+lag {
		return math.MinInt64
	}
	return at - lag
}

// outerRows goes through the rows that lag is measured from.
type outerRows struct {
	s      *Evaluator
	class  *Class
	via    *Via
	h      History
	tuple  Tuple
	found  bool
	best   Tuple
	anchor int64
}

// Visit takes the row for an anchor; it goes on while a better candidate is possible.
func (o *outerRows) Visit(row codecs.Row) bool {
	if o.found && row.Time() < o.anchor {
		return false
	}
	v, conv := o.via, o.tuple.Conversion
	i := &o.s.inner
	i.found = false
	switch {
	case v.Parent < 0:
		o.tuple.Touch = row
		if !o.s.holds(o.class, v, &o.tuple) {
			return true
		}
		i.best = o.tuple
	case v.AnchorParent:
		o.tuple.Parent = row
		from, to := row.Time(), row.Time()+v.MaxGap
		if !v.AnyGap {
			from++
		}
		if !v.AllowAfter {
			to = min(to, conv.Time()-1)
		}
		o.s.match2 = o.s.match2[:0]
		for _, p := range v.ConvTouch {
			o.s.match2 = conv.AppendField(o.s.match2, p.A)
		}
		for _, p := range v.TouchParent {
			o.s.match2 = row.AppendField(o.s.match2, p.B)
		}
		o.h.Descend(v.Touch, v.TouchOfBoth, o.s.match2, from, to, i)
		if !i.found {
			return true
		}
	default:
		o.tuple.Touch = row
		from, to := floor(row.Time(), v.MaxGap), row.Time()
		if !v.AnyGap {
			to--
		}
		if v.MaxParentLag > 0 {
			from = max(from, floor(conv.Time(), v.MaxParentLag))
		}
		o.s.match2 = o.s.match2[:0]
		for _, p := range v.ConvParent {
			o.s.match2 = conv.AppendField(o.s.match2, p.A)
		}
		for _, p := range v.TouchParent {
			o.s.match2 = row.AppendField(o.s.match2, p.A)
		}
		o.h.Descend(v.Parent, v.ParentOfBoth, o.s.match2, from, to, i)
		if !i.found {
			return true
		}
	}
	if !o.found || later(row.Time(), i.best, o.anchor, o.best) {
		o.found, o.best, o.anchor = true, i.best, row.Time()
	}
	// Rows of one stream come in the total order, so only an anchor that is not the touch leaves ties to settle.
	return v.AnchorParent
}

// innerRows goes through the rows that complete the outer row.
type innerRows struct {
	s     *Evaluator
	found bool
	best  Tuple
}

// Visit takes the first row that fits: the latest.
func (i *innerRows) Visit(row codecs.Row) bool {
	o := &i.s.outer
	if o.via.AnchorParent {
		o.tuple.Touch = row
	} else {
		o.tuple.Parent = row
	}
	if i.s.holds(o.class, o.via, &o.tuple) {
		i.found, i.best = true, o.tuple
	}
	return !i.found
}

// holds tells whether what look-ups do not decide holds for a candidate.
func (e *Evaluator) holds(c *Class, v *Via, t *Tuple) bool {
	for _, x := range v.Residual {
		if !e.test(x, t) {
			return false
		}
	}
	return c.Where == nil || e.test(c.Where, t)
}

func (e *Evaluator) test(x *Expr, t *Tuple) bool {
	ok, err := x.Bool(e.scope, t)
	if err != nil && e.err == nil {
		e.err = err
	}
	return ok && err == nil
}

// Value returns the value of an output column for a conversion and its winner. An error makes it null.
func (e *Evaluator) Value(c *Column, t *Tuple) (codecs.Value, error) {
	v, err := c.Expr.Value(e.scope, t)
	if err != nil {
		return codecs.Value{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	return v, nil
}
