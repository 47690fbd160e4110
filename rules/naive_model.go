package rules

import (
	"math/big"
	"math/bits"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// naiveParts divides a conversion among its candidates by the models' definitions, in rational numbers; decay alone, which has none,
// is shared with Evaluator.
func naiveParts(scope *Scope, m *Model, found []Candidate) []Part {
	n := len(found)
	if n == 0 {
		return nil
	}
	weights := make([]*big.Rat, n)
	for i := range found {
		weights[i] = new(big.Rat)
	}
	add := func(i int, part *big.Rat) { weights[i].Add(weights[i], part) }
	switch m.Kind {
	case Last:
		for i := range found {
			if &found[i] == naiveWinner(found) {
				add(i, big.NewRat(1, 1))
			}
		}
	case First:
		add(0, big.NewRat(1, 1))
	case Linear:
		for i := range found {
			add(i, big.NewRat(1, int64(n)))
		}
	case TimeDecay:
		for i := range found {
			add(i, new(big.Rat).SetInt(new(big.Int).SetUint64(decay(found[n-1].Anchor-found[i].Anchor, m.HalfLife))))
		}
	case Position:
		part := func(i int) int64 { return int64(m.Parts[i]) }
		switch {
		case n == 1:
			add(0, big.NewRat(1, 1))
		case n == 2 && part(0)+part(2) == 0:
			add(0, big.NewRat(1, 2))
			add(1, big.NewRat(1, 2))
		default:
			add(0, big.NewRat(part(0), 1))
			add(n-1, big.NewRat(part(2), 1))
			for i := 1; i < n-1; i++ {
				add(i, big.NewRat(part(1), int64(n-2)))
			}
		}
	case WShaped:
		role := big.NewRat(3, 10)
		add(0, role)
		add(n-1, role)
		for i := range found {
			if holds, err := m.Expr.Bool(scope, &found[i].Tuple); holds && err == nil {
				add(i, role)
				break
			}
		}
		var others []int
		for i, w := range weights {
			if w.Sign() == 0 {
				others = append(others, i)
			}
		}
		for _, i := range others {
			add(i, big.NewRat(1, int64(10*len(others))))
		}
	case Weights:
		any, scale := false, int64(0)
		for i := range found {
			v, err := m.Expr.Value(scope, &found[i].Tuple)
			if err == nil && v.Num > 0 {
				weights[i].SetString(string(codecs.AppendText(nil, v)))
				any, scale = true, max(scale, int64(v.Scale))
			}
		}
		if any {
			return integers(found, weights, new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil))
		}
		for i := range found {
			add(i, big.NewRat(1, 1))
		}
	}
	common := big.NewInt(1) // of all denominators
	for _, w := range weights {
		common.Mul(common, new(big.Int).Quo(w.Denom(), new(big.Int).GCD(nil, nil, common, w.Denom())))
	}
	return integers(found, weights, common)
}

// integers returns the parts of those that have a weight, which times unit is an integer. Where the largest is too large for a sum all are
// cut by the same power of 2.
func integers(found []Candidate, weights []*big.Rat, unit *big.Int) (parts []Part) {
	whole := make([]*big.Int, len(weights))
	most := 0
	for i, w := range weights {
		whole[i] = new(big.Int).Quo(new(big.Int).Mul(w.Num(), unit), w.Denom())
		most = max(most, whole[i].BitLen())
	}
	for i, w := range whole {
		w.Rsh(w, uint(max(most+bits.Len(uint(len(weights)))-63, 0)))
		if w.Sign() > 0 {
			parts = append(parts, Part{found[i].Class, found[i].Tuple, w.Uint64()})
		}
	}
	return parts
}
