package rules

import (
	"errors"
	"slices"
	"strconv"

	"github.com/expr-lang/expr/ast"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func (r *rewriter) unary(node *ast.Node, n *ast.UnaryNode) codecs.Field {
	typ := r.rewrite(&n.Node)
	switch {
	case typ.Of != nil:
		r.fail(n.Location().From, "%s is not defined for %s", n.Operator, typ.TypeName())
		return unknown
	case n.Operator == "!" || n.Operator == "not":
		return of(codecs.Bool)
	case typ.Type != codecs.Decimal:
		return typ
	case n.Operator == "-":
		replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opNegate}, Arguments: []ast.Node{n.Node}})
	default:
		*node = n.Node
	}
	return typ
}

// conditions are operators with a result of type bool, beside comparisons.
var conditions = []string{"&&", "and", "||", "or", "matches", "contains", "startsWith", "endsWith"}

func (r *rewriter) binary(node *ast.Node, n *ast.BinaryNode) codecs.Field {
	if n.Operator == "??" {
		r.fail(n.Location().From, "?? is not supported: nothing is nil in an expression")
		return unknown
	}
	leftType, rightType := r.rewrite(&n.Left), r.rewrite(&n.Right)
	left, right := leftType.Type, rightType.Type
	switch {
	case n.Operator == "in":
		return r.in(node, n, leftType, rightType)
	case leftType.Of != nil || rightType.Of != nil:
		return r.compareNested(node, n, leftType, rightType)
	}
	if left == codecs.Decimal || right == codecs.Decimal {
		return r.decimals(node, n, left, right)
	}
	number := func(k codecs.Kind) bool { return k == codecs.Int || k == codecs.Float }
	_, compares := isDecimalOperator(n.Operator)
	switch {
	case compares || slices.Contains(conditions, n.Operator):
		return of(codecs.Bool)
	case left == codecs.Int && right == codecs.Int && (n.Operator == "+" || n.Operator == "-" || n.Operator == "*"):
		replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opIntPrefix + n.Operator}, Arguments: []ast.Node{n.Left, n.Right}})
		return of(codecs.Int)
	case left == codecs.Int && right == codecs.Int && n.Operator == "%":
		return of(codecs.Int)
	case number(left) && number(right) && n.Operator != "%" && n.Operator != "..":
		return of(codecs.Float)
	case n.Operator == "+" && left == codecs.String && right == codecs.String:
		return of(codecs.String)
	}
	return unknown
}

// decimals rewrites an operator of which at least one side is a decimal.
func (r *rewriter) decimals(node *ast.Node, n *ast.BinaryNode, left, right codecs.Kind) codecs.Field {
	defined, compares := isDecimalOperator(n.Operator)
	offset := n.Location().From
	if !defined {
		r.fail(offset, "%s is not defined for decimals; write float(x) where a rounded result is good enough", n.Operator)
		return unknown
	}
	for _, side := range []struct {
		node *ast.Node
		kind codecs.Kind
	}{{&n.Left, left}, {&n.Right, right}} {
		switch side.kind {
		case codecs.Decimal, codecs.Int, codecs.Null:
		case codecs.Float:
			if err := literalDecimal(side.node); err != nil {
				r.fail(offset, "%s between a decimal and a float: %s", n.Operator, err)
				return unknown
			}
		default:
			r.fail(offset, "%s between a decimal and a %s", n.Operator, side.kind)
			return unknown
		}
	}
	replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opDecimal + n.Operator}, Arguments: []ast.Node{n.Left, n.Right}})
	if compares {
		return of(codecs.Bool)
	}
	return of(codecs.Decimal)
}

// literalDecimal replaces a float literal by the decimal that it is in writing.
func literalDecimal(node *ast.Node) error {
	negative := false
	literal := *node
	for {
		u, ok := literal.(*ast.UnaryNode)
		if !ok {
			break
		}
		negative = negative != (u.Operator == "-")
		literal = u.Node
	}
	f, ok := literal.(*ast.FloatNode)
	if !ok {
		return errors.New("only a literal is exact; write float(x) for the decimal")
	}
	// The shortest text that reads as this float is what was written, up to 15 digits.
	d, err := parseDecimal(strconv.FormatFloat(f.Value, 'f', -1, 64))
	if err == nil && negative {
		d, err = Decimal{}.Sub(d)
	}
	if err != nil {
		return err
	}
	replace(node, &ast.ConstantNode{Value: d})
	return nil
}
