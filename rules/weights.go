package rules

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Part is what a candidate has of a conversion's credit under one model: its weight among the weights of all.
type Part struct {
	Class  *Class
	Tuple  Tuple
	Weight uint64 // above 0
}

// Parts divides a conversion among its candidates, which come first to last. Who has no weight has no part. The parts are valid until
// the next call. An error is that of an expression; what it was asked for then counts as false, or as no weight.
func (e *Evaluator) Parts(m *Model, found []Candidate) ([]Part, error) {
	e.err = nil
	e.parts = e.parts[:0]
	n := len(found)
	if n == 0 {
		return nil, nil
	}
	switch m.Kind {
	case Last:
		e.give(&found[winner(found)], 1)
	case First:
		e.give(&found[0], 1)
	case Linear:
		for i := range found {
			e.give(&found[i], 1)
		}
	case TimeDecay:
		less := max(bits.Len(uint(n))-(63-decayBits), 0) // so that the sum fits
		for i := range found {
			e.give(&found[i], decay(found[n-1].Anchor-found[i].Anchor, m.HalfLife)>>less)
		}
	case Position:
		e.byPosition(m, found)
	case WShaped:
		e.byRole(m, found)
	case Weights:
		e.byExpression(m, found)
	}
	return e.parts, e.err
}

// Holders returns those of a conversion's candidates without which its rows could be others: who has a part under some model, who is
// the winner, also one that is refused and, where a candidate without a part decides about those of others, all. found is what
// Candidates has just returned.
func (e *Evaluator) Holders(r *Rule, found []Candidate) []Candidate {
	if n := len(e.refused); n > 0 && r.shows {
		return e.refused
	} else if n > 0 {
		w := winner(e.refused)
		return e.refused[w : w+1]
	}
	if len(found) == 0 || r.single || r.shows || slices.ContainsFunc(r.Models, func(m *Model) bool { return m.Kind == Position }) {
		return found
	}
	var held []codecs.Row
	if r.Require != nil {
		held = append(held, found[winner(found)].Touch)
	}
	for _, m := range r.Models {
		parts, _ := e.Parts(m, found) // what an expression fails on is reported with the row
		for i := range parts {
			held = append(held, parts[i].Tuple.Touch)
		}
	}
	slices.SortFunc(held, codecs.Row.Compare)
	return slices.DeleteFunc(found, func(c Candidate) bool {
		_, holds := slices.BinarySearchFunc(held, c.Touch, codecs.Row.Compare)
		return !holds
	})
}

func (e *Evaluator) give(c *Candidate, weight uint64) {
	if weight > 0 {
		e.parts = append(e.parts, Part{c.Class, c.Tuple, weight})
	}
}

// byPosition gives the middle's part to all between the first and the last. Where there is nobody between, the others share; where they
// have no parts of their own, alike.
func (e *Evaluator) byPosition(m *Model, found []Candidate) {
	n := len(found)
	between := uint64(max(n-2, 1))
	first, last := m.Parts[0]*between, m.Parts[2]*between
	if n <= 2 && first+last == 0 {
		first, last = 1, 1
	}
	for i := range found {
		switch {
		case n == 1:
			e.give(&found[i], 1)
		case i == 0:
			e.give(&found[i], first)
		case i == n-1:
			e.give(&found[i], last)
		default:
			e.give(&found[i], m.Parts[1])
		}
	}
}

// byRole gives three parts to the first, three to the first that meets the condition, three to the last and one to all others together. A
// touch that has two roles has the parts of both, and parts that nobody has are left out.
func (e *Evaluator) byRole(m *Model, found []Candidate) {
	n, lead := len(found), -1
	for i := range found {
		if e.test(m.Expr, &found[i].Tuple) {
			lead = i
			break
		}
	}
	others := n - min(n, 2)
	if lead > 0 && lead < n-1 {
		others--
	}
	for i := range found {
		roles := 0
		for _, at := range [...]int{0, lead, n - 1} {
			if at == i {
				roles++
			}
		}
		if roles > 0 {
			e.give(&found[i], uint64(3*roles*max(others, 1)))
		} else {
			e.give(&found[i], 1)
		}
	}
}

var errNoWeight = errors.New("no touch has a weight above 0; each gets the same")

// byExpression takes each touch's weight from the model's expression. A negative one counts as 0, as an absent one does.
func (e *Evaluator) byExpression(m *Model, found []Candidate) {
	values := make([]codecs.Value, len(found))
	scale := uint8(0)
	for i := range found {
		v, err := m.Expr.Value(e.scope, &found[i].Tuple)
		if err == nil && v.Num < 0 {
			err = fmt.Errorf("a weight of %s is below 0", codecs.AppendText(nil, v))
		}
		if err != nil {
			if e.err == nil {
				e.err = fmt.Errorf("model %s: %w", m.Name, err)
			}
			continue
		}
		values[i] = v // a Null has no number
		scale = max(scale, v.Scale)
	}
	for i, weight := range alike(values, scale) {
		e.give(&found[i], weight)
	}
	if len(e.parts) > 0 {
		return
	}
	if e.err == nil {
		e.err = fmt.Errorf("model %s: %w", m.Name, errNoWeight)
	}
	for i := range found {
		e.give(&found[i], 1)
	}
}

// alike brings numbers to one scale, and cuts all where the largest would be too large for a sum.
func alike(values []codecs.Value, scale uint8) []uint64 {
	weights := make([]uint64, len(values))
	exact := make([]big.Int, len(values))
	most := 0
	for i, v := range values {
		factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale-v.Scale)), nil)
		exact[i].Mul(big.NewInt(v.Num), factor)
		most = max(most, exact[i].BitLen())
	}
	less := max(most+bits.Len(uint(len(values)))-63, 0)
	for i := range exact {
		weights[i] = exact[i].Rsh(&exact[i], uint(less)).Uint64()
	}
	return weights
}

// decayBits is the weight of a touch without age, as a power of 2.
const decayBits = 48

// halves has 2^(-1/2), 2^(-1/4), ... in units of 2^-64.
var halves = func() (h [decayBits]uint64) {
	x := new(big.Int).Lsh(big.NewInt(1), 63) // a half
	for i := range h {
		x.Lsh(x, 64).Sqrt(x)
		h[i] = x.Uint64()
	}
	return h
}()

// decay returns 2^(-age/halfLife) in units of 2^-decayBits, in integers, so that every machine says the same.
func decay(age, halfLife int64) uint64 {
	whole := age / halfLife
	if whole > decayBits {
		return 0
	}
	fraction, _ := bits.Div64(uint64(age%halfLife), 0, uint64(halfLife))
	w := uint64(1) << 63
	for i, h := range halves {
		if fraction>>(63-i)&1 == 1 {
			w, _ = bits.Mul64(w, h)
		}
	}
	return w >> (63 - decayBits) >> uint(whole)
}

// OwnValue tells whether a column reads the touch or its parent, so that each touch of a conversion has a value of its own.
func (r *Rule) OwnValue(c *Column) bool {
	for _, read := range c.Expr.reads {
		if read.touch || read.stream != r.Conversion {
			return true
		}
	}
	return false
}
