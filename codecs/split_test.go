package codecs

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// splitExact is the largest remainder method over rationals, without any of Split's arithmetic.
func splitExact(whole *big.Int, weights []uint64) []*big.Int {
	total := new(big.Int)
	for _, w := range weights {
		total.Add(total, new(big.Int).SetUint64(w))
	}
	rest := new(big.Int).Set(whole)
	shares, lost := make([]*big.Int, len(weights)), make([]*big.Rat, len(weights))
	for i, w := range weights {
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(whole, new(big.Int).SetUint64(w)), total)
		shares[i] = new(big.Int).Quo(exact.Num(), exact.Denom())
		lost[i] = new(big.Rat).Sub(exact, new(big.Rat).SetInt(shares[i]))
		rest.Sub(rest, shares[i])
	}
	for ; rest.Sign() > 0; rest.Sub(rest, big.NewInt(1)) {
		at := 0
		for i := range lost {
			if lost[i].Cmp(lost[at]) > 0 {
				at = i
			}
		}
		lost[at] = big.NewRat(-1, 1)
		shares[at].Add(shares[at], big.NewInt(1))
	}
	return shares
}

func TestSplitIsTheLargestRemainderMethod(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 20_000 {
		weights := make([]uint64, 1+r.IntN(12))
		for i := range weights {
			weights[i] = []uint64{1, uint64(r.IntN(4)), r.Uint64() >> 4 >> r.IntN(60)}[r.IntN(3)]
		}
		weights[r.IntN(len(weights))]++
		whole := []uint64{WholeCredit, 100, r.Uint64(), uint64(r.IntN(20))}[r.IntN(4)]
		got := Split(whole, weights)
		for i, want := range splitExact(new(big.Int).SetUint64(whole), weights) {
			if want.Cmp(new(big.Int).SetUint64(got[i])) != 0 {
				t.Fatalf("%d by %v is %v, want %s in place %d", whole, weights, got, want, i)
			}
		}
	}
}

func TestSplitsWithKnownAnswers(t *testing.T) {
	for n, want := range map[int][]uint64{
		3:  {333_334, 333_333, 333_333},
		7:  {142_858, 142_857, 142_857, 142_857, 142_857, 142_857, 142_857},
		11: {90_910, 90_909, 90_909, 90_909, 90_909, 90_909, 90_909, 90_909, 90_909, 90_909, 90_909},
	} {
		if got := Split(WholeCredit, slices.Repeat([]uint64{1}, n)); !slices.Equal(got, want) {
			t.Errorf("%d touches: %v", n, got)
		}
	}
	dec := DecimalValue
	for _, c := range []struct {
		v       Value
		weights []uint64
		want    []Value
	}{
		{IntValue(100), []uint64{1, 1, 1}, []Value{dec(33333334, 6), dec(33333333, 6), dec(33333333, 6)}},
		{dec(-100, 0), []uint64{1, 1, 1}, []Value{dec(-33333334, 6), dec(-33333333, 6), dec(-33333333, 6)}},
		{IntValue(6), []uint64{1, 1, 1}, []Value{IntValue(2), IntValue(2), IntValue(2)}},
		{dec(125, 1), []uint64{2, 1, 1}, []Value{dec(625, 2), dec(3125, 3), dec(3125, 3)}},
		{dec(5, 9), []uint64{1, 1}, []Value{dec(3, 9), dec(2, 9)}},
		{IntValue(7), []uint64{0, 3, 0}, []Value{IntValue(0), IntValue(7), IntValue(0)}},
		{IntValue(math.MinInt64), []uint64{1, 1}, []Value{IntValue(math.MinInt64 / 2), IntValue(math.MinInt64 / 2)}},
		{dec(999_999_999_999_999_999, 2), []uint64{1, 1}, []Value{dec(500_000_000_000_000_000, 2), dec(499_999_999_999_999_999, 2)}},
		{IntValue(0), []uint64{1, 2}, []Value{IntValue(0), IntValue(0)}},
	} {
		got, err := SplitValue(c.v, c.weights)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s by %v: %+v, %v; want %+v", AppendText(nil, c.v), c.weights, got, err, c.want)
		}
	}
	for _, v := range []Value{FloatValue(1), StringValue("1"), {}} {
		if got, err := SplitValue(v, []uint64{1, 2}); err == nil {
			t.Errorf("%+v was split: %+v", v, got)
		}
	}
}

func TestSharesOfAValueSumToIt(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 20_000 {
		v := DecimalValue(r.Int64N(2e18-1)-1e18+1, uint8(r.IntN(19)))
		if r.IntN(2) == 0 {
			v = IntValue(r.Int64() >> r.IntN(64))
		}
		weights := make([]uint64, 1+r.IntN(9))
		for i := range weights {
			weights[i] = uint64(r.IntN(50)) + 1
		}
		shares, err := SplitValue(v, weights)
		if err != nil {
			t.Fatal(err)
		}
		sum := new(big.Rat)
		for _, s := range shares {
			sum.Add(sum, rat(s))
			if s.Kind == Decimal && s != DecimalValue(s.Num, s.Scale) {
				t.Fatalf("%+v is not canonical", s)
			}
		}
		if sum.Cmp(rat(v)) != 0 {
			t.Fatalf("%s by %v: %+v", AppendText(nil, v), weights, shares)
		}
	}
	if got, err := PartOfValue(IntValue(100), 1, 3); err != nil || got != DecimalValue(33333333, 6) {
		t.Errorf("a third of 100: %+v, %v", got, err)
	}
}

func BenchmarkSplit(b *testing.B) {
	weights := make([]uint64, 100)
	for i := range weights {
		weights[i] = uint64(i*i + 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		Split(WholeCredit, weights)
	}
}
