package rules

import (
	"reflect"
	"slices"

	"github.com/expr-lang/expr/ast"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// withPredicate are the functions whose second argument is evaluated for each element of the first.
var withPredicate = []string{"all", "any", "none", "one", "filter", "map", "count", "find", "findLast", "findIndex", "findLastIndex",
	"sum", "groupBy", "sortBy", "reduce"}

// ofLists handles functions of which an argument is a list, a map or a record, and those with a predicate.
func (r *rewriter) ofLists(node *ast.Node, n *ast.BuiltinNode) codecs.Field {
	if slices.Contains(withPredicate, n.Name) && len(n.Arguments) > 1 {
		return r.predicate(node, n)
	}
	types := r.arguments(n)
	if !slices.ContainsFunc(types, func(t codecs.Field) bool { return t.Of != nil }) {
		return r.single(node, n, types)
	}
	list, elem := types[0], codecs.Field{}
	if list.Type == codecs.List {
		elem = list.Of.Elem
	}
	isNumber := elem.Type == codecs.Int || elem.Type == codecs.Float || elem.Type == codecs.Decimal
	switch n.Name {
	case "len":
		if list.Type == codecs.List || list.Type == codecs.Map {
			return of(codecs.Int)
		}
	case "get":
		if len(types) == 2 && list.Of != nil && list.Type != codecs.Struct {
			return r.get(node, list, n.Arguments[0], n.Arguments[1], types[1])
		}
	case "first", "last":
		if list.Type == codecs.List && len(types) == 1 {
			index := 0
			if n.Name == "last" {
				index = -1
			}
			return r.get(node, list, n.Arguments[0], &ast.IntegerNode{Value: index}, of(codecs.Int))
		}
	case "sum", "min", "max":
		if isNumber && len(types) == 1 {
			return r.aggregate(node, n.Name, n, elem)
		}
	case "mean", "median":
		if isNumber && elem.Type != codecs.Decimal && len(types) == 1 {
			r.replaceByCall(node, reflect.TypeFor[float64](), func(args ...any) (any, error) {
				if n, ok := args[0].(int); ok {
					return float64(n), nil
				}
				return args[0], nil
			}, *node)
			return of(codecs.Float)
		}
	case "count":
		if elem.Type == codecs.Bool && len(types) == 1 {
			return of(codecs.Int)
		}
	case "join":
		if elem.Type == codecs.String {
			return of(codecs.String)
		}
	case "take":
		if list.Type == codecs.List && len(types) == 2 && types[1].Type == codecs.Int {
			return r.take(node, n, list)
		}
	case "reverse", "uniq":
		if list.Type == codecs.List && len(types) == 1 {
			return list
		}
	case "concat":
		if list.Type == codecs.List && !slices.ContainsFunc(types, func(t codecs.Field) bool { return !t.SameType(list) }) {
			return list
		}
	case "sort":
		if elem.Type == codecs.String || elem.Type == codecs.Int || elem.Type == codecs.Float {
			return list
		}
	}
	for _, t := range types {
		if t.Of != nil {
			r.fail(n.Location().From, "%s() is not supported for %s", n.Name, t.TypeName())
			break
		}
	}
	return unknown
}

// arguments rewrites the arguments and returns their types.
func (r *rewriter) arguments(n *ast.BuiltinNode) []codecs.Field {
	types := make([]codecs.Field, len(n.Arguments))
	for i := range n.Arguments {
		types[i] = r.rewrite(&n.Arguments[i])
	}
	return types
}

// take cuts a list; of the language's own a negative number is a fault.
func (r *rewriter) take(node *ast.Node, n *ast.BuiltinNode, list codecs.Field) codecs.Field {
	r.replaceByCall(node, newShaper(list).goType, func(args ...any) (any, error) {
		v := reflect.ValueOf(args[0])
		return v.Slice(0, min(max(args[1].(int), 0), v.Len())).Interface(), nil
	}, n.Arguments...)
	return list
}

// predicate handles a function with a predicate.
func (r *rewriter) predicate(node *ast.Node, n *ast.BuiltinNode) codecs.Field {
	list := r.rewrite(&n.Arguments[0])
	offset := n.Location().From
	var elem codecs.Field
	switch {
	case list.Type == codecs.List:
		elem = list.Of.Elem
	case list.Of != nil:
		r.fail(offset, "%s() is for lists, and this is %s", n.Name, list.TypeName())
		return unknown
	}
	r.elems = append(r.elems, elem)
	result := r.rewrite(&n.Arguments[1])
	r.elems = r.elems[:len(r.elems)-1]
	for i := 2; i < len(n.Arguments); i++ {
		if typ := r.rewrite(&n.Arguments[i]); typ.Of != nil {
			r.fail(n.Arguments[i].Location().From, "%s cannot be an argument here", typ.TypeName())
		}
	}
	switch n.Name {
	case "all", "any", "none", "one":
		return of(codecs.Bool)
	case "count":
		return of(codecs.Int)
	case "filter":
		return list
	case "find", "findLast":
		if list.Of == nil {
			return unknown
		}
		return r.orMissing(node, elem)
	case "findIndex", "findLastIndex":
		r.replaceByCall(node, reflect.TypeFor[int](), func(args ...any) (any, error) {
			if args[0] == nil {
				return -1, nil
			}
			return args[0], nil
		}, *node)
		return of(codecs.Int)
	case "map":
		switch {
		case result.Type == codecs.Null && list.Of == nil:
			return unknown
		case result.Type == codecs.Null:
			r.fail(offset, "the type of what map() makes is not known; convert it with string(), int() or float()")
			return unknown
		case list.Of == nil && result.Of == nil && result.Type != codecs.Decimal:
			return unknown // as the language has it
		}
		return codecs.ListOf(result)
	case "sum":
		switch result.Type {
		case codecs.Int, codecs.Decimal:
			replace(node, &ast.BuiltinNode{Name: "map", Arguments: n.Arguments})
			return r.aggregate(node, n.Name, &ast.BuiltinNode{Name: "sum", Arguments: []ast.Node{*node}}, result)
		case codecs.Float:
			return result
		}
	}
	if list.Of != nil || result.Of != nil {
		r.fail(offset, "%s() is not supported for %s", n.Name, typeName(list))
	}
	return unknown
}

// orMissing replaces what find did not find.
func (r *rewriter) orMissing(node *ast.Node, elem codecs.Field) codecs.Field {
	s := newShaper(elem)
	missing := r.missing(s)
	r.replaceByCall(node, s.goType, func(args ...any) (any, error) {
		if args[0] == nil {
			return missing()
		}
		return args[0], nil
	}, *node)
	return elem
}

// aggregate replaces sum, min and max of numbers by exact ones. The sum of nothing is 0; of nothing nothing is the least.
func (r *rewriter) aggregate(node *ast.Node, name string, n *ast.BuiltinNode, elem codecs.Field) codecs.Field {
	s := newShaper(elem)
	missing := r.missing(s)
	zero := s.zero().Interface()
	r.replaceByCall(node, s.goType, func(args ...any) (any, error) {
		list := reflect.ValueOf(args[0])
		if list.Len() == 0 && name != "sum" {
			return missing()
		}
		result := zero
		for i := range list.Len() {
			x := list.Index(i).Interface()
			var err error
			switch {
			case name == "sum":
				result, err = plus(result, x)
			case i == 0:
				result = x
			case (order(x, result) < 0) == (name == "min"):
				result = x
			}
			if err != nil {
				return nil, err
			}
		}
		return result, nil
	}, n.Arguments[0])
	return elem
}

// plus adds two numbers of one type.
func plus(a, b any) (any, error) {
	switch x := a.(type) {
	case int:
		sum, ok := addInts(int64(x), int64(b.(int)))
		if !ok {
			return nil, errIntOverflow
		}
		return int(sum), nil
	case float64:
		return x + b.(float64), nil
	}
	return a.(Decimal).Add(b.(Decimal))
}

// order compares two numbers of one type.
func order(a, b any) int {
	switch x := a.(type) {
	case int:
		return intDecimal(x).Cmp(intDecimal(b.(int)))
	case float64:
		switch y := b.(float64); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return a.(Decimal).Cmp(b.(Decimal))
}
