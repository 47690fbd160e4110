package rules

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Counted is a conversion of a rule with Counting, and whether it counts. Its rows alias the history.
type Counted struct {
	Conversion codecs.Row
	Winner     Candidate // the zero Candidate where there is none
	Silent     Verdict   // why it does not count though it has a winner; "": it does
	Terms      Terms
	Lost       []codecs.Row // under Retire: touches that are out after it; one may be there twice

	priority codecs.Value // by Budget.Replace
}

// Retirements are what is known of touches that have lost, from when the fold last came by.
type Retirements interface {
	// By returns the conversion that a touch lost; nil where it has lost none. Of the row only time and id matter.
	By(r *Rule, touch codecs.Row) codecs.Row
}

// Affected returns the earliest time of a conversion that may count otherwise where what the first conversion that is affected has
// changes, and from when on conversions decide about it.
func (r *Rule) Affected(first int64) (changed, decided int64) {
	changed = floor(first, r.ahead())
	return changed, floor(changed, r.back())
}

// Count settles which conversions of a key count: those from a time on, of which the ones before Rule.Affected are right only as far as later
// ones depend on them. Of conversions before since the retirements hold; from it on they are counted anew, as all are where since is nil. The
// result is in the total order, and valid until the next call or the next change of the history.
func (e *Evaluator) Count(r *Rule, h History, from int64, since codecs.Row, known Retirements) ([]Counted, error) {
	f := &fold{e: e, r: r, since: since, known: known, lost: map[string]bool{}}
	e.counted = e.counted[:0]
	h.Descend(r.Conversion, r.EveryConversion, nil, from, maxEventTime, f)
	if len(r.Takings) > 0 {
		e.counted = slices.DeleteFunc(e.counted, func(c Counted) bool { return e.Out(r, c.Conversion, h) })
	}
	slices.Reverse(e.counted)
	for i := range e.counted {
		f.decide(&e.counted[i], h)
	}
	f.touches()
	f.key()
	f.cap()
	for i := range e.counted {
		c := &e.counted[i]
		capped := c.Terms.Capped
		_, c.Terms = e.Refunds(r, c.Conversion, h)
		c.Terms.Capped = capped
	}
	return e.counted, f.err
}

// maxEventTime is beyond every event's.
const maxEventTime = math.MaxInt64

// fold is one count.
type fold struct {
	e     *Evaluator
	r     *Rule
	since codecs.Row
	known Retirements
	lost  map[string]bool  // from since on
	held  func(*Candidate) // is told whose leaving would change something; nil: nobody asks
	err   error
}

// CountHolders calls held with the touches, and their parents, without which a key's conversions could have other rows or count otherwise.
func (e *Evaluator) CountHolders(r *Rule, h History, known Retirements, held func(*Candidate)) {
	f := &fold{e: e, r: r, known: known, held: held}
	e.counted = e.counted[:0]
	h.Descend(r.Conversion, r.EveryConversion, nil, math.MinInt64, maxEventTime, f)
	for i := range e.counted {
		f.decide(&e.counted[i], h)
	}
}

// Visit takes a conversion, the latest first.
func (f *fold) Visit(row codecs.Row) bool {
	f.e.counted = append(f.e.counted, Counted{Conversion: row})
	return true
}

// decide finds a conversion's winner, and who loses to it.
func (f *fold) decide(c *Counted, h History) {
	again := f.since != nil && c.Conversion.Compare(f.since) >= 0
	if f.r.Retires() {
		f.e.retired = func(touch codecs.Row) bool {
			by := f.known.By(f.r, touch)
			if again {
				return by != nil && by.Compare(f.since) < 0 || f.lost[touch.Identity()]
			}
			return by != nil && by.Compare(c.Conversion) < 0
		}
		defer func() { f.e.retired = nil }()
	}
	found, err := f.e.Candidates(f.r, c.Conversion, h)
	f.fail(err)
	if f.held != nil {
		for _, holder := range f.e.Holders(f.r, found) {
			f.held(&holder)
		}
		return
	}
	if len(found) == 0 {
		return
	}
	c.Winner = found[winner(found)]
	for _, touch := range f.e.offered {
		if touch.Compare(c.Winner.Touch) == 0 || c.Winner.Parent != nil && touch.Compare(c.Winner.Parent) == 0 {
			continue
		}
		c.Lost = append(c.Lost, touch)
		if again {
			f.lost[touch.Identity()] = true
		}
	}
}

func (f *fold) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// value evaluates an expression over a conversion and its winner. An error makes it null.
func (f *fold) value(what string, x *Expr, c *Counted) codecs.Value {
	v, err := x.Value(f.e.scope, &c.Winner.Tuple)
	if err != nil {
		f.fail(fmt.Errorf("%s: %w", what, err))
		return codecs.Value{}
	}
	return v
}

// allowance is what a touch has left, and has used.
type allowance struct {
	counted []*Counted
	keys    map[codecs.Value]bool
}

// touches settles what each touch allows.
func (f *fold) touches() {
	c := f.r.Counting
	if !c.PerTouch() {
		return
	}
	of := map[string]*allowance{}
	for i := range f.e.counted {
		conv := &f.e.counted[i]
		if conv.Winner.Class == nil {
			continue
		}
		id := conv.Winner.Touch.Identity()
		a := of[id]
		if a == nil {
			a = &allowance{}
			of[id] = a
		}
		var key codecs.Value
		if c.Dedup != nil {
			if key = f.value("dedup", c.Dedup, conv); a.keys[key] {
				conv.Silent = Deduplicated
				continue
			}
		}
		switch {
		case c.Once && len(a.counted) > 0:
			conv.Silent = NotFirst
		case c.Budget != nil:
			f.spend(c.Budget, a, conv)
		}
		if conv.Silent != "" {
			continue
		}
		a.counted = append(a.counted, conv)
		if !key.IsNull() {
			if a.keys == nil {
				a.keys = map[codecs.Value]bool{}
			}
			a.keys[key] = true
		}
	}
}

// spend makes room for a conversion in the budget of its touch, or silences it.
func (f *fold) spend(b *Budget, a *allowance, conv *Counted) {
	if b.Replace != nil {
		conv.priority = f.value("replace", b.Replace, conv)
	}
	most := b.Max[conv.Winner.Touch.Stream()]
	if b.Expr != nil {
		v := f.value("budget", b.Expr, conv)
		if v.IsNull() {
			return
		}
		if most = max(v.Num, 0); most == 0 {
			conv.Silent = OverBudget
			return
		}
	}
	if most == 0 || int64(len(a.counted)) < most {
		return
	}
	conv.Silent = OverBudget
	if b.Replace == nil {
		return
	}
	ends := b.Windows[conv.Winner.Touch.Stream()]
	window := func(c *Counted) int {
		n, _ := slices.BinarySearch(ends, c.Conversion.Time()-c.Winner.Touch.Time())
		return n
	}
	least := -1
	for i, other := range a.counted {
		if window(other) == window(conv) && (least < 0 || comparePriorities(other.priority, a.counted[least].priority) <= 0) {
			least = i
		}
	}
	if least >= 0 && comparePriorities(a.counted[least].priority, conv.priority) < 0 {
		a.counted[least].Silent = Replaced
		a.counted = slices.Delete(a.counted, least, least+1)
		conv.Silent = ""
	}
}

// key settles what the key allows.
func (f *fold) key() {
	within := f.r.Counting.PerKey
	if within == 0 {
		return
	}
	var last *Counted // that its touch lets count
	for i := range f.e.counted {
		conv := &f.e.counted[i]
		if conv.Winner.Class == nil || conv.Silent != "" {
			continue
		}
		if last != nil && conv.Conversion.Time()-last.Conversion.Time() <= within {
			conv.Silent = NotFirst
		}
		last = conv
	}
}

// capScale is that of exact sums: no decimal has more digits behind the point.
const capScale = 18

// cap settles what is left of a measure.
func (f *fold) cap() {
	limit := f.r.Counting.Cap
	if limit == nil {
		return
	}
	units := func(num int64, scale uint8) *big.Int {
		return new(big.Int).Mul(big.NewInt(num), pow10(capScale-int(scale)))
	}
	column := &f.r.Measure[limit.Measure]
	period, left := int64(0), (*big.Int)(nil)
	for i := range f.e.counted {
		conv := &f.e.counted[i]
		if conv.Winner.Class == nil || conv.Silent != "" {
			continue
		}
		v := f.value(column.Name, column.Expr, conv)
		if v.IsNull() || v.Num <= 0 || v.Scale > capScale {
			continue
		}
		if p := limit.period(conv.Conversion.Time()); left == nil || p != period {
			period, left = p, units(limit.At.Coef, limit.At.Scale)
		}
		amount := units(v.Num, v.Scale)
		switch {
		case left.Sign() == 0:
			conv.Terms.Capped = codecs.IntValue(0)
		case left.Cmp(amount) < 0:
			conv.Terms.Capped = f.exact(left)
			left = new(big.Int)
		default:
			left.Sub(left, amount)
		}
	}
}

// exact returns what is left as a value; 0, and an error, where it has too many digits for one.
func (f *fold) exact(units *big.Int) codecs.Value {
	d, err := shorten(units, capScale)
	if err == nil && d.Coef < 1e18 {
		return codecs.DecimalValue(d.Coef, d.Scale)
	}
	f.fail(fmt.Errorf("cap: %w", errDecimalOverflow))
	return codecs.IntValue(0)
}
