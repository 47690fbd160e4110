package rules

import (
	"errors"
	"strconv"

	"github.com/expr-lang/expr/ast"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func (r *rewriter) unary(node *ast.Node, n *ast.UnaryNode) codecs.Kind {
	kind := r.rewrite(&n.Node)
	switch {
	case n.Operator == "!" || n.Operator == "not":
		return codecs.Bool
	case kind != codecs.Decimal:
		return kind
	case n.Operator == "-":
		replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opNegate}, Arguments: []ast.Node{n.Node}})
	default:
		*node = n.Node
	}
	return kind
}

func (r *rewriter) binary(node *ast.Node, n *ast.BinaryNode) codecs.Kind {
	if n.Operator == "??" {
		r.fail(n.Location().From, "?? is not supported: fields are never nil in an expression")
		return codecs.Null
	}
	left, right := r.rewrite(&n.Left), r.rewrite(&n.Right)
	if left == codecs.Decimal || right == codecs.Decimal {
		return r.decimals(node, n, left, right)
	}
	_, compares := isDecimalOperator(n.Operator)
	switch {
	case compares:
		return codecs.Bool
	case left == codecs.Int && right == codecs.Int && (n.Operator == "+" || n.Operator == "-" || n.Operator == "*"):
		replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opIntPrefix + n.Operator}, Arguments: []ast.Node{n.Left, n.Right}})
		return codecs.Int
	case left == codecs.Int && right == codecs.Int && n.Operator == "%":
		return codecs.Int
	case n.Operator == "+" && left == codecs.String && right == codecs.String:
		return codecs.String
	}
	return codecs.Null
}

// decimals rewrites an operator of which at least one side is a decimal.
func (r *rewriter) decimals(node *ast.Node, n *ast.BinaryNode, left, right codecs.Kind) codecs.Kind {
	defined, compares := isDecimalOperator(n.Operator)
	offset := n.Location().From
	if !defined {
		r.fail(offset, "%s is not defined for decimals; write float(x) where a rounded result is good enough", n.Operator)
		return codecs.Null
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
				return codecs.Null
			}
		default:
			r.fail(offset, "%s between a decimal and a %s", n.Operator, side.kind)
			return codecs.Null
		}
	}
	replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opDecimal + n.Operator}, Arguments: []ast.Node{n.Left, n.Right}})
	if compares {
		return codecs.Bool
	}
	return codecs.Decimal
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
