package rules

import (
	"math/big"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// naiveTaken returns the events without those that others take out, and without refunds among the conversions.
func naiveTaken(r *Rule, events []codecs.Row, streams [][]codecs.Row) (left []codecs.Row, leftOf [][]codecs.Row) {
	leftOf = make([][]codecs.Row, len(streams))
	for _, row := range events {
		if row.Stream() == r.Conversion && r.IsRefund(row) || len(naiveTakings(r, row, false, streams)) > 0 {
			continue
		}
		left = append(left, row)
		leftOf[row.Stream()] = append(leftOf[row.Stream()], row)
	}
	return left, leftOf
}

// taken is an event that takes back, and how.
type taken struct {
	by     codecs.Row
	taking *Taking
}

// naiveTakings returns the events that take back a row: refunds, or those that take it out.
func naiveTakings(r *Rule, row codecs.Row, refunds bool, streams [][]codecs.Row) (list []taken) {
	for _, t := range r.Takings {
		if t.Target != row.Stream() || t.Refund != refunds {
			continue
		}
		for _, by := range streams[t.Stream] {
			apart := by.Time() - row.Time()
			if by.Value(t.Link) == row.IDValue() && apart <= r.AdjustWithin && -apart <= r.AdjustWithin {
				list = append(list, taken{by, t})
			}
		}
	}
	return list
}

// naiveTerms says what is left of a conversion. streams have the refunds.
func naiveTerms(r *Rule, conv codecs.Row, streams [][]codecs.Row) Terms {
	list := naiveTakings(r, conv, true, streams)
	if len(list) == 0 {
		return Terms{}
	}
	number := func(v codecs.Value) *big.Rat {
		x, ok := new(big.Rat).SetString(string(codecs.AppendText(nil, v)))
		if !ok {
			return new(big.Rat)
		}
		return x
	}
	// Each stream of refunds may count in another field.
	part := big.NewRat(1, 1)
	for _, t := range list {
		worth, back := new(big.Rat), codecs.Value{}
		if t.taking.Valued {
			worth, back = number(conv.Value(t.taking.Of)), t.by.Value(t.taking.Value)
		}
		if back.IsNull() || worth.Sign() <= 0 {
			return Terms{Refunded: true, Of: 1}
		}
		part.Sub(part, new(big.Rat).Quo(number(back), worth))
	}
	if part.Sign() < 0 {
		part.SetInt64(0)
	}
	return fraction(part)
}
