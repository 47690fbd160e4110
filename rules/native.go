package rules

import (
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// native is a condition of the everyday kind (comparisons of fields with each other and with literals, joined by and, or,
// not), which is evaluated without the VM: it runs for every record, and the VM costs ten times as much.
type native struct {
	op    nativeOp
	left  *native
	right *native
	a, b  operand // of a comparison
}

type nativeOp uint8

const (
	nativeAnd nativeOp = iota
	nativeOr
	nativeNot
	nativeField // a bool field by itself
	nativeEqual
	nativeNotEqual
	nativeLess
	nativeLessEqual
	nativeGreater
	nativeGreaterEqual
)

var nativeComparisons = map[string]nativeOp{"==": nativeEqual, "!=": nativeNotEqual, "<": nativeLess, "<=": nativeLessEqual,
	">": nativeGreater, ">=": nativeGreaterEqual}

// operand is a literal, or what the expression reads at an index.
type operand struct {
	read    int // -1: literal
	literal codecs.Value
}

// nativeOf returns the native form of a rewritten expression of type bool, or nil where it has none.
func nativeOf(n ast.Node, reads []read) *native {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if o, kind := operandOf(n, reads); kind == codecs.Bool {
			return &native{op: nativeField, a: o}
		}
	case *ast.UnaryNode:
		if inner := nativeOf(n.Node, reads); inner != nil && (n.Operator == "!" || n.Operator == "not") {
			return &native{op: nativeNot, left: inner}
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "&&", "and", "||", "or":
			left, right := nativeOf(n.Left, reads), nativeOf(n.Right, reads)
			if left == nil || right == nil {
				return nil
			}
			op := nativeAnd
			if n.Operator == "||" || n.Operator == "or" {
				op = nativeOr
			}
			return &native{op: op, left: left, right: right}
		}
		return comparisonOf(n, reads)
	}
	return nil
}

// comparisonOf takes strings, bools and ints only: what orders otherwise than Value's members do is left to the VM.
func comparisonOf(n *ast.BinaryNode, reads []read) *native {
	op, ok := nativeComparisons[n.Operator]
	a, kindA := operandOf(n.Left, reads)
	b, kindB := operandOf(n.Right, reads)
	if !ok || kindA != kindB || kindA != codecs.String && kindA != codecs.Int && kindA != codecs.Bool {
		return nil
	}
	return &native{op: op, a: a, b: b}
}

func operandOf(n ast.Node, reads []read) (operand, codecs.Kind) {
	literal := func(v codecs.Value) (operand, codecs.Kind) { return operand{-1, v}, v.Kind }
	switch n := n.(type) {
	case *ast.IdentifierNode:
		for i := range reads {
			if n.Value == placeholder(i) {
				return operand{read: i}, reads[i].kind
			}
		}
	case *ast.StringNode:
		return literal(codecs.StringValue(n.Value))
	case *ast.IntegerNode:
		return literal(codecs.IntValue(int64(n.Value)))
	case *ast.BoolNode:
		return literal(codecs.BoolValue(n.Value))
	}
	return operand{}, codecs.Null
}

// eval evaluates the condition over the values of the expression's reads.
func (n *native) eval(values []codecs.Value) bool {
	switch n.op {
	case nativeAnd:
		return n.left.eval(values) && n.right.eval(values)
	case nativeOr:
		return n.left.eval(values) || n.right.eval(values)
	case nativeNot:
		return !n.left.eval(values)
	case nativeField:
		return values[n.a.read].Num != 0
	}
	a, b := n.a.of(values), n.b.of(values)
	// Not the whole structs: Null reads as zero, whose Kind is another.
	switch n.op {
	case nativeEqual:
		return a.Num == b.Num && a.Str == b.Str
	case nativeNotEqual:
		return a.Num != b.Num || a.Str != b.Str
	}
	c := strings.Compare(a.Str, b.Str)
	if a.Num != b.Num {
		c = 1
		if a.Num < b.Num {
			c = -1
		}
	}
	switch n.op {
	case nativeLess:
		return c < 0
	case nativeLessEqual:
		return c <= 0
	case nativeGreater:
		return c > 0
	}
	return c >= 0
}

func (o *operand) of(values []codecs.Value) *codecs.Value {
	if o.read < 0 {
		return &o.literal
	}
	return &values[o.read]
}
