package rules

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// replaceByCall puts a call of a function of the expression's own in a node's place. Its arguments have been checked.
func (r *rewriter) replaceByCall(node *ast.Node, out reflect.Type, fn func(args ...any) (any, error), args ...ast.Node) {
	in := slices.Repeat([]reflect.Type{reflect.TypeFor[any]()}, len(args))
	name := opPrefix + "call" + strconv.Itoa(len(r.calls))
	r.calls = append(r.calls, &builtin.Function{Name: name, Func: fn, Types: []reflect.Type{reflect.FuncOf(in, []reflect.Type{out}, false)}})
	replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args})
}

// missing returns what stands for something of a type that is not there: its zero, or errAbsent where an absent field
// would decide the whole expression. Within a predicate it is the zero, so that one element does not decide for others.
func (r *rewriter) missing(s *shaper) func() (any, error) {
	if len(r.elems) == 0 && (r.names.purpose == forJoin || r.names.purpose == forValue) {
		return func() (any, error) { return nil, errAbsent }
	}
	zero := s.zero().Interface()
	return func() (any, error) { return zero, nil }
}

// pointer handles # and #index within a predicate.
func (r *rewriter) pointer(n *ast.PointerNode) codecs.Field {
	switch {
	case n.Name == "index":
		return of(codecs.Int)
	case n.Name != "" || len(r.elems) == 0:
		return unknown
	}
	return r.elems[len(r.elems)-1]
}

func (r *rewriter) conditional(n *ast.ConditionalNode) codecs.Field {
	r.rewrite(&n.Cond)
	a, b := r.rewrite(&n.Exp1), r.rewrite(&n.Exp2)
	switch {
	case a.SameType(b):
		return a
	case a.Of != nil || b.Of != nil:
		r.fail(n.Location().From, "what stands on both sides of : must be of one type, not %s and %s", typeName(a), typeName(b))
	}
	return unknown
}

// typeName is a type for messages.
func typeName(t codecs.Field) string {
	if t.Type == codecs.Null {
		return "something of another type"
	}
	return t.TypeName()
}

// array handles a literal list. Where it holds decimals all numbers in it become decimals.
func (r *rewriter) array(n *ast.ArrayNode) codecs.Field {
	types := make([]codecs.Field, len(n.Nodes))
	same, nested, exact := true, false, false
	for i := range n.Nodes {
		types[i] = r.rewrite(&n.Nodes[i])
		same = same && types[i].SameType(types[0])
		nested = nested || types[i].Of != nil
		exact = exact || types[i].Type == codecs.Decimal
	}
	switch {
	case len(types) == 0:
		return unknown
	case exact:
		for i := range n.Nodes {
			if !r.exact(&n.Nodes[i], types[i]) {
				return unknown
			}
		}
		return codecs.ListOf(of(codecs.Decimal))
	case !same && nested:
		r.fail(n.Location().From, "the elements of a list must be of one type")
	case nested:
		return codecs.ListOf(types[0])
	}
	// The language's own checks do for others; what they are compared with may need to know.
	if r.arrays == nil {
		r.arrays = map[ast.Node][]codecs.Field{}
	}
	r.arrays[n] = types
	return unknown
}

// exact makes a decimal of a number in an expression.
func (r *rewriter) exact(node *ast.Node, typ codecs.Field) bool {
	switch typ.Type {
	case codecs.Decimal:
		return true
	case codecs.Int:
		r.replaceByCall(node, reflect.TypeFor[Decimal](), func(args ...any) (any, error) { return toDecimal(args[0]) }, *node)
		return true
	case codecs.Float:
		err := literalDecimal(node)
		if err == nil {
			return true
		}
		r.fail((*node).Location().From, "a float among decimals: %s", err)
	default:
		r.fail((*node).Location().From, "%s among decimals", typeName(typ))
	}
	return false
}

// literal is the type of what stands there, also where it is a list that is written out.
func (r *rewriter) literal(node ast.Node, typ codecs.Field) codecs.Field {
	types := r.arrays[node]
	if len(types) == 0 || types[0].Type == codecs.Null || slices.ContainsFunc(types, func(t codecs.Field) bool { return !t.SameType(types[0]) }) {
		return typ
	}
	return codecs.ListOf(types[0])
}

// inside handles what is read of a list, a map or a record: x.name, x["name"], x[0]. count is how many reads there were
// before the base.
func (r *rewriter) inside(node *ast.Node, n *ast.MemberNode, base codecs.Field, count int, text string) codecs.Field {
	offset := n.Property.Location().From
	property, isName := n.Property.(*ast.StringNode)
	var elem codecs.Field
	switch base.Type {
	case codecs.Struct:
		if !isName {
			r.fail(offset, "a field of a record is read by its name, as in x.name")
			return unknown
		}
		var ok bool
		if elem, _, ok = base.Of.Field(property.Value); !ok {
			r.fail(offset, "the record has no field %q%s", property.Value, suggestion(property.Value, fieldNames(base.Of.Fields)))
			return unknown
		}
		elem.Name = ""
	case codecs.Map:
		elem = base.Of.Elem
	case codecs.List:
		if isName {
			r.fail(offset, "%s has no field %q; it has elements, as in x[0], any(x, #.name == ...) or find(x, ...)", base.TypeName(), property.Value)
			return unknown
		}
	}
	if read, ok := r.readOf(n.Node); ok && isName {
		found := r.reads[read]
		if read >= count {
			r.reads, r.texts = r.reads[:count], r.texts[:count] // the whole is not read
		}
		found.path = append(slices.Clone(found.path), property.Value)
		found.kind, found.of = elem.Type, elem.Of
		return r.use(node, found, nil, text, offset)
	}
	key := r.rewrite(&n.Property)
	if base.Type == codecs.Struct {
		return r.fieldOf(node, n, base, property.Value, elem)
	}
	return r.get(node, base, n.Node, n.Property, key)
}

// readOf tells which of the reads a rewritten node is.
func (r *rewriter) readOf(n ast.Node) (int, bool) {
	id, ok := n.(*ast.IdentifierNode)
	if !ok || !strings.HasPrefix(id.Value, opPrefix) {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimPrefix(id.Value, opPrefix))
	return i, err == nil
}

// fieldOf reads a field of a record that the expression came to. The record's zero has the zeros of its fields.
func (r *rewriter) fieldOf(node *ast.Node, n *ast.MemberNode, base codecs.Field, name string, elem codecs.Field) codecs.Field {
	if len(r.elems) > 0 || r.names.purpose == forEvent || r.names.purpose == forClass {
		return elem
	}
	_, index, _ := base.Of.Field(name)
	s := newShaper(elem)
	r.replaceByCall(node, s.goType, func(args ...any) (any, error) {
		record := reflect.ValueOf(args[0])
		if record.Field(0).Uint()&(1<<index) == 0 {
			return nil, errAbsent
		}
		return record.Field(index + 1).Interface(), nil
	}, n.Node)
	return elem
}

// get reads an element of a list by its place, or of a map by its key.
func (r *rewriter) get(node *ast.Node, base codecs.Field, from, key ast.Node, typ codecs.Field) codecs.Field {
	elem := newShaper(base.Of.Elem)
	missing := r.missing(elem)
	want := codecs.String
	fn := func(args ...any) (any, error) {
		if v := reflect.ValueOf(args[0]).MapIndex(reflect.ValueOf(args[1])); v.IsValid() {
			return v.Interface(), nil
		}
		return missing()
	}
	if base.Type == codecs.List {
		want = codecs.Int
		fn = func(args ...any) (any, error) {
			list, i := reflect.ValueOf(args[0]), args[1].(int)
			if i < 0 {
				i += list.Len()
			}
			if i < 0 || i >= list.Len() {
				return missing()
			}
			return list.Index(i).Interface(), nil
		}
	}
	if typ.Type != want {
		r.fail(key.Location().From, "%s is read by %s, and this is %s", base.TypeName(), want, typeName(typ))
		return unknown
	}
	r.replaceByCall(node, elem.goType, fn, from, key)
	return base.Of.Elem
}

// compareNested rewrites an operator of which at least one side is a list, a map or a record.
func (r *rewriter) compareNested(node *ast.Node, n *ast.BinaryNode, left, right codecs.Field) codecs.Field {
	left, right = r.literal(n.Left, left), r.literal(n.Right, right)
	offset := n.Location().From
	isEqual, isUnequal := n.Operator == "==", n.Operator == "!="
	switch {
	case r.failed && (left.Type == codecs.Null || right.Type == codecs.Null):
		return unknown // for a reason that has been told
	case !isEqual && !isUnequal:
		nested := left
		if nested.Of == nil {
			nested = right
		}
		r.fail(offset, "%s is not defined for %s", n.Operator, nested.TypeName())
		return unknown
	case !left.SameType(right):
		hint := ""
		if left.Type == codecs.List && right.SameType(left.Of.Elem) || right.Type == codecs.List && left.SameType(right.Of.Elem) {
			hint = "; in tells whether a list has an element"
		}
		r.fail(offset, "%s between %s and %s%s", n.Operator, typeName(left), typeName(right), hint)
		return unknown
	}
	equal := newShaper(left).equalTo()
	r.replaceByCall(node, reflect.TypeFor[bool](), func(args ...any) (any, error) { return equal(args[0], args[1]) == isEqual, nil }, n.Left, n.Right)
	return of(codecs.Bool)
}

// in rewrites x in list and x in map.
func (r *rewriter) in(node *ast.Node, n *ast.BinaryNode, left, right codecs.Field) codecs.Field {
	offset := n.Location().From
	boolean := reflect.TypeFor[bool]()
	written, isWritten := r.arrays[n.Right]
	switch {
	case r.failed && (left.Type == codecs.Null || right.Type == codecs.Null):
		return unknown // for a reason that has been told
	case right.Type == codecs.Map:
		if left.Type != codecs.String {
			r.fail(offset, "the keys of a map are strings, and this is %s", typeName(left))
			return unknown
		}
		r.replaceByCall(node, boolean, func(args ...any) (any, error) {
			return reflect.ValueOf(args[1]).MapIndex(reflect.ValueOf(args[0])).IsValid(), nil
		}, n.Left, n.Right)
	case right.Of != nil && right.Type == codecs.Struct:
		r.fail(offset, "in is not defined for %s; it is for lists, and for keys of maps", right.TypeName())
		return unknown
	case left.Type == codecs.Decimal && isWritten:
		list := n.Right.(*ast.ArrayNode)
		for i := range list.Nodes {
			if !r.exact(&list.Nodes[i], written[i]) {
				return unknown
			}
		}
		r.replaceByContains(node, n, of(codecs.Decimal))
	case right.Of == nil && left.Of == nil && left.Type != codecs.Decimal:
		return of(codecs.Bool) // as the language has it
	case right.Of == nil:
		r.fail(offset, "%s in %s is not supported; in is for lists, and for keys of maps", typeName(left), typeName(right))
		return unknown
	default:
		elem := right.Of.Elem
		if elem.Type == codecs.Decimal && left.Type != codecs.Null {
			if !r.exact(&n.Left, left) {
				return unknown
			}
			left = elem
		}
		switch {
		case left.SameType(elem):
			r.replaceByContains(node, n, elem)
		case left.Of != nil || elem.Of != nil || elem.Type == codecs.Decimal:
			r.fail(offset, "%s in %s", typeName(left), right.TypeName())
			return unknown
		}
	}
	return of(codecs.Bool)
}

// replaceByContains looks an element up in a list.
func (r *rewriter) replaceByContains(node *ast.Node, n *ast.BinaryNode, elem codecs.Field) {
	equal := newShaper(elem).equalTo()
	r.replaceByCall(node, reflect.TypeFor[bool](), func(args ...any) (any, error) {
		if list, ok := args[1].([]string); ok {
			x, isText := args[0].(string)
			return isText && slices.Contains(list, x), nil
		}
		list := reflect.ValueOf(args[1])
		for i := range list.Len() {
			if equal(args[0], list.Index(i).Interface()) {
				return true, nil
			}
		}
		return false, nil
	}, n.Left, n.Right)
}
