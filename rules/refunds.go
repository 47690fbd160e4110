package rules

import (
	"math/big"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Out tells whether an event has been taken out, or is a refund among conversions.
func (e *Evaluator) Out(r *Rule, row codecs.Row, h History) bool {
	if len(r.Takings) == 0 {
		return false
	}
	if row.Stream() == r.Conversion && r.IsRefund(row) {
		return true
	}
	found := anyRow{}
	for _, t := range r.Takings {
		if t.Refund || t.Target != row.Stream() {
			continue
		}
		if e.takings(r, t, row, h, &found); found.is {
			return true
		}
	}
	return false
}

// takings visits the events by which a row is taken back.
func (e *Evaluator) takings(r *Rule, t *Taking, row codecs.Row, h History, v codecs.Visitor) {
	h.Descend(t.Stream, t.Path, row.ID(), floor(row.Time(), r.AdjustWithin), row.Time()+r.AdjustWithin, v)
}

// anyRow stops at the first row.
type anyRow struct{ is bool }

// Visit takes a row.
func (a *anyRow) Visit(codecs.Row) bool {
	a.is = true
	return false
}

// Refund is one refund of a conversion.
type Refund struct {
	Row    codecs.Row // of the history
	Excess bool       // it takes back more than there was left, or all of nothing

	taking *Taking
}

// Refunds returns the refunds of a conversion in the total order, and what they leave of it. They are valid until the next call.
func (e *Evaluator) Refunds(r *Rule, conv codecs.Row, h History) ([]Refund, Terms) {
	e.refunds = e.refunds[:0]
	for _, t := range r.Takings {
		if t.Refund {
			e.takings(r, t, conv, h, refundsOf{e, t})
		}
	}
	if len(e.refunds) == 0 {
		return nil, Terms{}
	}
	slices.SortFunc(e.refunds, func(a, b Refund) int { return a.Row.Compare(b.Row) })
	left := big.NewRat(1, 1)
	for i := range e.refunds {
		refund := &e.refunds[i]
		part := refund.part(conv)
		if part == nil {
			refund.Excess = left.Sign() == 0
			left.SetInt64(0)
			continue
		}
		if left.Sub(left, part); left.Sign() < 0 {
			refund.Excess = true
			left.SetInt64(0)
		}
	}
	return e.refunds, fraction(left)
}

// part returns which part of a conversion is taken back; nil is all that is left.
func (f *Refund) part(conv codecs.Row) *big.Rat {
	if !f.taking.Valued {
		return nil
	}
	exactly := func(v codecs.Value) *big.Rat { return new(big.Rat).SetFrac(big.NewInt(v.Num), pow10(int(v.Scale))) }
	worth, back := conv.Value(f.taking.Of), f.Row.Value(f.taking.Value)
	if back.IsNull() || worth.Num <= 0 {
		return nil
	}
	return new(big.Rat).Quo(exactly(back), exactly(worth))
}

// refundsOf collects the refunds of one way.
type refundsOf struct {
	e *Evaluator
	t *Taking
}

// Visit takes a refund.
func (c refundsOf) Visit(row codecs.Row) bool {
	c.e.refunds = append(c.e.refunds, Refund{Row: row, taking: c.t})
	return true
}
