package rules

import (
	"math"
	"math/big"
	"testing"
)

func rational(d Decimal) *big.Rat {
	return new(big.Rat).SetFrac(big.NewInt(d.Coef), pow10(int(d.Scale)))
}

// TestDecimalsAreExact compares with rational arithmetic, and states that what fits is never refused.
func TestDecimalsAreExact(t *testing.T) {
	var list []Decimal
	for _, coef := range []int64{0, 1, -1, 3, 10, -25, 999_999_999, 1 << 40, math.MaxInt64, math.MinInt64, math.MinInt64 + 1} {
		for _, scale := range []uint8{0, 1, 9, 19, 255} {
			list = append(list, Decimal{coef, scale})
		}
	}
	fits := func(r *big.Rat) bool {
		n := new(big.Rat).Mul(r, new(big.Rat).SetInt(pow10(255)))
		if !n.IsInt() {
			return false
		}
		coef, rest := new(big.Int).Set(n.Num()), new(big.Int)
		for scale := 255; scale > 0 && !coef.IsInt64(); scale-- {
			if coef.QuoRem(coef, big.NewInt(10), rest); rest.Sign() != 0 {
				return false
			}
		}
		return coef.IsInt64()
	}
	for _, a := range list {
		for _, b := range list {
			if got, want := a.Cmp(b), rational(a).Cmp(rational(b)); got != want {
				t.Fatalf("cmp(%s, %s): got %d, want %d", a, b, got, want)
			}
			for name, op := range map[string]struct {
				got  func(a, b Decimal) (Decimal, error)
				want func(z, x, y *big.Rat) *big.Rat
			}{"+": {Decimal.Add, (*big.Rat).Add}, "-": {Decimal.Sub, (*big.Rat).Sub}, "*": {Decimal.Mul, (*big.Rat).Mul}} {
				got, err := op.got(a, b)
				want := op.want(new(big.Rat), rational(a), rational(b))
				if err != nil {
					if fits(want) {
						t.Fatalf("%s %s %s: %v", a, name, b, err)
					}
				} else if rational(got).Cmp(want) != 0 {
					t.Fatalf("%s %s %s: got %s, want %s", a, name, b, got, want)
				}
			}
		}
		if back, err := parseDecimal(a.String()); err != nil || back.Cmp(a) != 0 {
			t.Fatalf("%s reads as %s, %v", a, back, err)
		}
	}
}

func TestIntsNeverWrap(t *testing.T) {
	list := []int64{0, 1, -1, 2, -2, 1 << 31, -(1 << 31), 1<<32 + 1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1}
	for _, a := range list {
		for _, b := range list {
			for name, op := range map[string]struct {
				got  func(a, b int64) (int64, bool)
				want func(z, x, y *big.Int) *big.Int
			}{"+": {addInts, (*big.Int).Add}, "-": {subInts, (*big.Int).Sub}, "*": {mulInts, (*big.Int).Mul}} {
				got, ok := op.got(a, b)
				want := op.want(new(big.Int), big.NewInt(a), big.NewInt(b))
				if ok != want.IsInt64() || ok && got != want.Int64() {
					t.Errorf("%d %s %d: got %d, %v, want %s", a, name, b, got, ok, want)
				}
			}
		}
	}
}
