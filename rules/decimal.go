package rules

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// Decimal is Coef * 10^-Scale, as expressions see a decimal field. Its arithmetic is exact: what does not fit is an
// error, never rounded.
type Decimal struct {
	Coef  int64
	Scale uint8
}

var errDecimalOverflow = errors.New("decimal overflow: the exact result does not fit")

func intDecimal(n int) Decimal { return Decimal{Coef: int64(n)} }

// parseDecimal reads a number literal, an exponent included, without rounding.
func parseDecimal(text string) (Decimal, error) {
	text = strings.ReplaceAll(text, "_", "")
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(text[i+1:])
		if err != nil || n > 400 || n < -400 {
			return Decimal{}, errDecimalOverflow
		}
		mantissa, exponent = text[:i], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	coef, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		return Decimal{}, errors.New("not a number")
	}
	scale := len(fraction) - exponent
	if scale < 0 {
		coef.Mul(coef, pow10(-scale))
		scale = 0
	}
	return shorten(coef, scale)
}

// shorten returns coef * 10^-scale without trailing zeros.
func shorten(coef *big.Int, scale int) (Decimal, error) {
	ten, rest := big.NewInt(10), new(big.Int)
	for scale > 0 && coef.Sign() != 0 {
		quotient := new(big.Int)
		if quotient.QuoRem(coef, ten, rest); rest.Sign() != 0 {
			break
		}
		coef = quotient
		scale--
	}
	if coef.Sign() == 0 {
		scale = 0
	}
	if !coef.IsInt64() || scale > 255 {
		return Decimal{}, errDecimalOverflow
	}
	return Decimal{coef.Int64(), uint8(scale)}, nil
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// aligned returns both coefficients at the larger scale.
func aligned(a, b Decimal) (x, y *big.Int, scale int) {
	x, y = big.NewInt(a.Coef), big.NewInt(b.Coef)
	scale = int(max(a.Scale, b.Scale))
	if n := scale - int(a.Scale); n > 0 {
		x.Mul(x, pow10(n))
	}
	if n := scale - int(b.Scale); n > 0 {
		y.Mul(y, pow10(n))
	}
	return x, y, scale
}

// Cmp returns -1, 0 or 1.
func (d Decimal) Cmp(o Decimal) int {
	if d.Scale == o.Scale {
		switch {
		case d.Coef < o.Coef:
			return -1
		case d.Coef > o.Coef:
			return 1
		}
		return 0
	}
	x, y, _ := aligned(d, o)
	return x.Cmp(y)
}

// Add returns d + o, or an error where that does not fit.
func (d Decimal) Add(o Decimal) (Decimal, error) {
	x, y, scale := aligned(d, o)
	return shorten(x.Add(x, y), scale)
}

// Sub returns d - o, or an error where that does not fit.
func (d Decimal) Sub(o Decimal) (Decimal, error) {
	x, y, scale := aligned(d, o)
	return shorten(x.Sub(x, y), scale)
}

// Mul returns d * o, or an error where that does not fit.
func (d Decimal) Mul(o Decimal) (Decimal, error) {
	x := big.NewInt(d.Coef)
	return shorten(x.Mul(x, big.NewInt(o.Coef)), int(d.Scale)+int(o.Scale))
}

// String writes the number without an exponent.
func (d Decimal) String() string {
	digits := strconv.FormatInt(d.Coef, 10)
	if d.Scale == 0 {
		return digits
	}
	sign := ""
	if d.Coef < 0 {
		sign, digits = "-", digits[1:]
	}
	if n := int(d.Scale) + 1 - len(digits); n > 0 {
		digits = strings.Repeat("0", n) + digits
	}
	point := len(digits) - int(d.Scale)
	return sign + digits[:point] + "." + digits[point:]
}

// Float returns the nearest float.
func (d Decimal) Float() float64 {
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}

// Int returns the number without its fraction.
func (d Decimal) Int() int64 {
	if d.Scale > 18 {
		return 0
	}
	n := d.Coef
	for range d.Scale {
		n /= 10
	}
	return n
}
