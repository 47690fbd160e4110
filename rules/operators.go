package rules

import (
	"errors"
	"fmt"
	"math/bits"
	"reflect"

	"github.com/expr-lang/expr/builtin"
)

// Expressions call these where the language has no operator of its own: for decimals, and for arithmetic of ints, which
// would otherwise wrap around in silence. Their names hold a character that no expression can spell.
const (
	opPrefix    = "·"
	opDecimal   = opPrefix + "decimal"
	opIntPrefix = opPrefix + "int"
	opNegate    = opPrefix + "negate"
	opFloat     = opPrefix + "float"
	opInt       = opPrefix + "int"
	opString    = opPrefix + "string"
)

var errIntOverflow = errors.New("int overflow: the exact result does not fit")

// isDecimalOperator tells whether a binary operator is defined for decimals, and whether it compares.
func isDecimalOperator(op string) (defined, compares bool) {
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
		return true, true
	case "+", "-", "*":
		return true, false
	}
	return false, false
}

// operatorTable builds the functions that rewritten expressions call, by name.
func operatorTable() map[string]*builtin.Function {
	table := map[string]*builtin.Function{}
	define := func(name string, fn func(args ...any) (any, error), types ...any) {
		f := &builtin.Function{Name: name, Func: fn}
		for _, t := range types {
			f.Types = append(f.Types, reflect.TypeOf(t))
		}
		table[name] = f
	}
	for _, op := range []string{"==", "!=", "<", "<=", ">", ">="} {
		define(opDecimal+op, func(args ...any) (any, error) {
			a, b, err := twoDecimals(args)
			if err != nil {
				return nil, err
			}
			return compares(op, a.Cmp(b)), nil
		}, func(Decimal, Decimal) bool { return false }, func(Decimal, int) bool { return false }, func(int, Decimal) bool { return false })
	}
	for op, apply := range map[string]func(a, b Decimal) (Decimal, error){"+": Decimal.Add, "-": Decimal.Sub, "*": Decimal.Mul} {
		define(opDecimal+op, func(args ...any) (any, error) {
			a, b, err := twoDecimals(args)
			if err != nil {
				return nil, err
			}
			return apply(a, b)
		}, func(Decimal, Decimal) (d Decimal) { return }, func(Decimal, int) (d Decimal) { return }, func(int, Decimal) (d Decimal) { return })
	}
	for op, apply := range map[string]func(a, b int64) (int64, bool){"+": addInts, "-": subInts, "*": mulInts} {
		define(opIntPrefix+op, func(args ...any) (any, error) {
			n, ok := apply(int64(args[0].(int)), int64(args[1].(int)))
			if !ok {
				return nil, errIntOverflow
			}
			return int(n), nil
		}, func(int, int) int { return 0 })
	}
	define(opNegate, func(args ...any) (any, error) { return Decimal{}.Sub(args[0].(Decimal)) }, func(d Decimal) Decimal { return d })
	define(opFloat, func(args ...any) (any, error) { return args[0].(Decimal).Float(), nil }, func(Decimal) (f float64) { return })
	define(opInt, func(args ...any) (any, error) { return int(args[0].(Decimal).Int()), nil }, func(Decimal) (n int) { return })
	define(opString, func(args ...any) (any, error) { return args[0].(Decimal).String(), nil }, func(Decimal) (s string) { return })
	return table
}

func compares(op string, c int) bool {
	switch op {
	case "==":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func twoDecimals(args []any) (a, b Decimal, err error) {
	if a, err = toDecimal(args[0]); err == nil {
		b, err = toDecimal(args[1])
	}
	return a, b, err
}

func toDecimal(v any) (Decimal, error) {
	switch v := v.(type) {
	case Decimal:
		return v, nil
	case int:
		return intDecimal(v), nil
	}
	return Decimal{}, fmt.Errorf("%T is not a decimal", v)
}

func addInts(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subInts(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func mulInts(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	// The unsigned product counts a negative factor as 2^64 more than it is.
	if a < 0 {
		hi -= uint64(b)
	}
	if b < 0 {
		hi -= uint64(a)
	}
	n := int64(lo)
	return n, int64(hi) == n>>63
}
