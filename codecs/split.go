package codecs

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// WholeCredit is the credit of one whole conversion, in micro-credits.
const WholeCredit = 1_000_000

// shareDigits is how many digits behind the point the shares of a measure have at least.
const shareDigits = 6

// Split divides a whole into one share per weight: the whole times the weight's part of all weights, rounded such that the shares sum
// to exactly the whole. What rounding down leaves over goes, one each, to the largest fractions, and among equals to the first
// (the largest remainder method). The sum of the weights must be above 0 and fit.
func Split(whole uint64, weights []uint64) []uint64 {
	shares := make([]uint64, len(weights))
	var total uint64
	even := true
	for _, w := range weights {
		total += w
		even = even && w == weights[0]
	}
	if len(weights) == 1 {
		shares[0] = whole
		return shares
	}
	rest := whole
	fractions := make([]uint64, len(weights)) // numerators over the total
	for i, w := range weights {
		high, low := bits.Mul64(whole, w)
		shares[i], fractions[i] = bits.Div64(high, low, total) // no overflow: w is at most the total
		rest -= shares[i]
	}
	if even {
		for i := range rest {
			shares[i]++
		}
		return shares
	}
	if rest > 0 {
		order := make([]int, len(weights))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(fractions[b], fractions[a]) })
		for _, i := range order[:rest] {
			shares[i]++
		}
	}
	return shares
}

// SplitValue divides an Int or a Decimal as Split does, at six digits behind the point, or its own where it has more, or as many as 18
// digits leave room for. The sign stays aside. Shares of an Int that are integers are Ints.
func SplitValue(v Value, weights []uint64) ([]Value, error) {
	if v.Kind != Int && v.Kind != Decimal {
		return nil, fmt.Errorf("split a %s: only int and decimal are exact", v.Kind)
	}
	values := make([]Value, len(weights))
	coef, scale := uint64(v.Num), v.Scale
	if v.Num < 0 {
		coef = -coef
	}
	for scale < shareDigits && coef <= uint64(maxCoef)/10 {
		coef *= 10
		scale++
	}
	for i, share := range Split(coef, weights) {
		if v.Num < 0 {
			share = -share
		}
		if scale == 0 {
			values[i] = Value{Kind: v.Kind, Num: int64(share)}
			continue
		}
		values[i] = DecimalValue(int64(share), scale)
		if v.Kind == Int && values[i].Scale == 0 {
			values[i].Kind = Int
		}
	}
	return values, nil
}

// PartOfValue returns what a weight of the total has of an Int or a Decimal by itself, as the first of two shares. It is for a measure
// of which each touch has its own: there is no whole that the shares of all could sum to.
func PartOfValue(v Value, weight, total uint64) (Value, error) {
	parts, err := SplitValue(v, []uint64{weight, total - weight})
	if err != nil {
		return Value{}, err
	}
	return parts[0], nil
}
