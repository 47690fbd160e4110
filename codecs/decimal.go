package codecs

import (
	"errors"
	"fmt"
	"strconv"
)

// Limits of a Decimal: at most 18 significant digits, at most 18 of them behind the point.
const (
	maxCoef  = 1e18 - 1
	maxScale = 18
)

var errInexact = errors.New("not representable in 18 digits")

// ParseDecimal reads a decimal in JSON's number syntax. Trailing zeros do not matter: 1.50 and 1.5 are the same value.
func ParseDecimal(text string) (Value, error) {
	v, p := decimalOf([]byte(text))
	switch p {
	case notOfType:
		return Value{}, fmt.Errorf("%q is not a decimal number", abbreviate(text))
	case outOfRange:
		return Value{}, fmt.Errorf("%s has more than 18 digits", abbreviate(text))
	}
	return v, nil
}

func decimalOf(b []byte) (Value, problem) {
	if n, _ := numberLen(b); n == 0 || n != len(b) {
		return Value{}, notOfType
	}
	n := parseNumber(b)
	scale := 0
	if n.exp < 0 {
		scale, n.exp = -n.exp, 0
	}
	coef, ok := scaled(n.coef, n.exp, maxCoef)
	if !ok || n.cut || scale > maxScale {
		return Value{}, outOfRange
	}
	num := int64(coef)
	if n.neg {
		num = -num
	}
	return Value{Kind: Decimal, Num: num, Scale: uint8(scale)}, noProblem
}

// appendDecimal appends a Decimal in plain notation, which is also its JSON form.
func appendDecimal(dst []byte, v Value) []byte {
	if v.Scale == 0 {
		return strconv.AppendInt(dst, v.Num, 10)
	}
	var buf [20]byte
	coef := uint64(v.Num)
	if v.Num < 0 {
		dst = append(dst, '-')
		coef = -coef
	}
	digits := strconv.AppendUint(buf[:0], coef, 10)
	point := len(digits) - int(v.Scale)
	if point > 0 {
		dst = append(dst, digits[:point]...)
		dst = append(dst, '.')
		return append(dst, digits[point:]...)
	}
	dst = append(dst, '0', '.')
	for ; point < 0; point++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// Negate returns -v of an Int or a Decimal. A Null stays one.
func Negate(v Value) (Value, error) {
	switch v.Kind {
	case Null:
		return v, nil
	case Int, Decimal:
		if v.Num == -v.Num && v.Num != 0 {
			return Value{}, fmt.Errorf("negate %d: %w", v.Num, errInexact)
		}
		v.Num = -v.Num
		return v, nil
	}
	return Value{}, fmt.Errorf("negate a %s: only int and decimal are exact", v.Kind)
}
