package codecs

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// rat is the exact number of an Int or Decimal.
func rat(v Value) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale)), nil)
	return new(big.Rat).SetFrac(big.NewInt(v.Num), scale)
}

// fitsDecimal tells whether x is an integer of at most 18 digits after a move of the point by at most 18 places.
func fitsDecimal(x *big.Rat) bool {
	for scale := int64(0); scale <= 18; scale++ {
		n := new(big.Rat).Mul(x, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)))
		if n.IsInt() && new(big.Int).Abs(n.Num()).Cmp(big.NewInt(1e18)) < 0 {
			return true
		}
	}
	return false
}

// randomNumber writes a number in JSON's syntax, with zeros in all the places where they change nothing.
func randomNumber(r *rand.Rand) string {
	var b strings.Builder
	if r.IntN(3) == 0 {
		b.WriteByte('-')
	}
	if r.IntN(3) == 0 {
		b.WriteByte('0')
	} else {
		fmt.Fprintf(&b, "%d%s", 1+r.IntN(999), strings.Repeat("0", r.IntN(18)))
	}
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, ".%s%d%s", strings.Repeat("0", r.IntN(18)), r.IntN(99999), strings.Repeat("0", r.IntN(25)))
	}
	if r.IntN(3) == 0 {
		fmt.Fprintf(&b, "e%+d", r.IntN(41)-20)
	}
	return b.String()
}

func TestParseDecimalIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	accepted := 0
	for range 50000 {
		text := randomNumber(r)
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("the oracle does not read %q", text)
		}
		fits := fitsDecimal(want)
		v, err := ParseDecimal(text)
		if fits != (err == nil) {
			t.Fatalf("%s fits: %v, but ParseDecimal says %v", text, fits, err)
		}
		if !fits {
			continue
		}
		accepted++
		if rat(v).Cmp(want) != 0 || v != DecimalValue(v.Num, v.Scale) {
			t.Fatalf("%s became %+v", text, v)
		}
		if again, err := ParseDecimal(string(AppendText(nil, v))); err != nil || again != v {
			t.Fatalf("%s is written as %s, which reads as %+v, %v", text, AppendText(nil, v), again, err)
		}
	}
	if accepted < 10000 {
		t.Errorf("only %d numbers were in range: the test says little", accepted)
	}
}

func TestParseDecimalRefuses(t *testing.T) {
	for _, text := range []string{
		"", "-", "+1", ".5", "1.", "01", "1e", "0x1", "1_000", " 1", "1 ", "NaN", "Infinity", "1,5", "1e5.5",
		"1000000000000000000", "-1000000000000000000", "0.0000000000000000001", "1e18", "1e-19", "1e999999999999999999999",
		"1e-999999999999999999999", "1.0000000000000000000000001", "12345678901234567890",
	} {
		if v, err := ParseDecimal(text); err == nil {
			t.Errorf("%q was read as %+v", text, v)
		}
	}
	for text, want := range map[string]Value{
		"0e999999999999999999999": DecimalValue(0, 0), "-0.000": DecimalValue(0, 0), "1.50": DecimalValue(15, 1),
		"999999999999999999": DecimalValue(999999999999999999, 0), "1e-18": DecimalValue(1, 18),
		"100000000000000000000e-3": DecimalValue(1e17, 0), "0.00000000000000000000000001e26": DecimalValue(1, 0),
	} {
		if v, err := ParseDecimal(text); err != nil || v != want {
			t.Errorf("%q was read as %+v, %v", text, v, err)
		}
	}
}

func TestNegateRefusesWhatIsNotExact(t *testing.T) {
	for name, v := range map[string]Value{"minus min int": IntValue(math.MinInt64), "minus a float": FloatValue(1)} {
		if v, err := Negate(v); err == nil {
			t.Errorf("%s: %+v instead of an error", name, v)
		}
	}
}
