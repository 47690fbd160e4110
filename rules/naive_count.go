package rules

import (
	"math/big"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// naiveRetire takes the touches that lose to the winner of a conversion out of those that later conversions may have: all others that fit
// a class, but the winner's parent, with which it is one.
func naiveRetire(scope *Scope, r *Rule, o *Outcome, touches []codecs.Row, streams [][]codecs.Row) (left []codecs.Row) {
	fitsSome := func(touch codecs.Row) bool {
		for _, class := range r.Classes {
			for _, parent := range parents(scope, r, o.Conversion, touch, streams) {
				if _, ok := fits(scope, r, class, &Tuple{Conversion: o.Conversion, Touch: touch, Parent: parent}); ok {
					return true
				}
			}
		}
		return false
	}
	for _, touch := range touches {
		w := &o.Winner
		if w.Touch.Compare(touch) == 0 || w.Parent != nil && w.Parent.Compare(touch) == 0 || !fitsSome(touch) {
			left = append(left, touch)
		}
	}
	return left
}

// naiveCount settles which of a key's conversions count, of those that have a winner. They come in the total order.
func naiveCount(scope *Scope, r *Rule, list []Outcome) {
	c := r.Counting
	value := func(x *Expr, o *Outcome) codecs.Value {
		v, err := x.Value(scope, &o.Winner.Tuple)
		if err != nil {
			return codecs.Value{}
		}
		return v
	}
	number := func(v codecs.Value) *big.Rat {
		x, _ := new(big.Rat).SetString(string(codecs.AppendText(nil, v)))
		return x
	}
	// What each touch allows.
	type touch struct {
		counted []*Outcome
		used    map[codecs.Value]bool
	}
	touches := map[string]*touch{}
	for i := range list {
		o := &list[i]
		if o.Winner.Class == nil {
			continue
		}
		t := touches[string(o.Winner.Touch)]
		if t == nil {
			t = &touch{used: map[codecs.Value]bool{}}
			touches[string(o.Winner.Touch)] = t
		}
		var key codecs.Value
		if c.Dedup != nil {
			key = value(c.Dedup, o)
		}
		if !key.IsNull() && t.used[key] {
			o.Silent = Deduplicated
			continue
		}
		if c.Once && len(t.counted) > 0 {
			o.Silent = NotFirst
			continue
		}
		if most, bounded := naiveBudget(c.Budget, o, value); bounded && int64(len(t.counted)) >= most {
			lowest := -1
			for k, other := range t.counted {
				if c.Budget.Replace == nil || naiveWindow(c.Budget, other) != naiveWindow(c.Budget, o) {
					continue
				}
				if lowest < 0 || naiveLess(value(c.Budget.Replace, other), value(c.Budget.Replace, t.counted[lowest]), number) ||
					!naiveLess(value(c.Budget.Replace, t.counted[lowest]), value(c.Budget.Replace, other), number) {
					lowest = k // of equals the newest
				}
			}
			if lowest < 0 || !naiveLess(value(c.Budget.Replace, t.counted[lowest]), value(c.Budget.Replace, o), number) {
				o.Silent = OverBudget
				continue
			}
			t.counted[lowest].Silent = Replaced
			t.counted = append(append([]*Outcome{}, t.counted[:lowest]...), t.counted[lowest+1:]...)
		}
		t.counted = append(t.counted, o)
		if !key.IsNull() {
			t.used[key] = true
		}
	}
	// What the key allows.
	var counted []*Outcome
	for i := range list {
		if o := &list[i]; o.Winner.Class != nil && o.Silent == "" {
			counted = append(counted, o)
		}
	}
	if c.PerKey > 0 {
		for i := len(counted) - 1; i > 0; i-- {
			if counted[i].Conversion.Time()-counted[i-1].Conversion.Time() <= c.PerKey {
				counted[i].Silent = NotFirst
			}
		}
	}
	// The cap.
	if c.Cap == nil {
		return
	}
	spent := map[int64]*big.Rat{}
	for _, o := range counted {
		if o.Silent != "" {
			continue
		}
		v := value(r.Measure[c.Cap.Measure].Expr, o)
		if v.IsNull() || v.Num <= 0 || v.Scale > 18 {
			continue
		}
		period := c.Cap.period(o.Conversion.Time())
		if spent[period] == nil {
			spent[period] = new(big.Rat)
		}
		left := new(big.Rat).Sub(number(codecs.DecimalValue(c.Cap.At.Coef, c.Cap.At.Scale)), spent[period])
		spent[period].Add(spent[period], number(v))
		switch {
		case left.Sign() <= 0:
			o.Terms.Capped = codecs.IntValue(0)
		case left.Cmp(number(v)) < 0:
			o.Terms.Capped, _ = codecs.ParseDecimal(left.FloatString(18))
			if o.Terms.Capped.IsNull() {
				o.Terms.Capped = codecs.IntValue(0)
			}
		}
	}
}

// naiveBudget returns how many conversions may count on the winner's touch.
func naiveBudget(b *Budget, o *Outcome, value func(*Expr, *Outcome) codecs.Value) (most int64, bounded bool) {
	switch {
	case b == nil:
		return 0, false
	case b.Expr != nil:
		v := value(b.Expr, o)
		return v.Num, !v.IsNull()
	}
	most = b.Max[o.Winner.Touch.Stream()]
	return most, most > 0
}

func naiveWindow(b *Budget, o *Outcome) (n int) {
	for _, end := range b.Windows[o.Winner.Touch.Stream()] {
		if o.Conversion.Time()-o.Winner.Touch.Time() > end {
			n++
		}
	}
	return n
}

// naiveLess orders priorities of conversions; who has none comes first.
func naiveLess(a, b codecs.Value, number func(codecs.Value) *big.Rat) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && !b.IsNull()
	}
	return number(a).Cmp(number(b)) < 0
}
