package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// rewriter turns a parsed expression into one over a flat environment: whatever is read of an event becomes one
// identifier, so that the VM fetches it in one step, and operators on decimals and ints become exact calls. On the way it
// finds what the expression reads and refuses what it may not.
type rewriter struct {
	c      *compiler
	names  *names
	at     scalar
	reads  []read
	texts  []string                    // of reads, as written
	vars   []variable                  // `let` variables in scope, the innermost last
	elems  []codecs.Field              // what # is in the predicates around, the innermost last
	calls  []*builtin.Function         // what the expression calls beside operators
	arrays map[ast.Node][]codecs.Field // the elements of literal lists
	failed bool                        // a fault was reported, here or where something that is read was declared
}

// fail reports a fault at a character of the expression.
func (r *rewriter) fail(offset int, format string, args ...any) {
	r.failed = true
	r.at.refuseAt(offset, fmt.Sprintf(format, args...))
}

type variable struct {
	name string
	typ  codecs.Field
}

// of is a type of single values.
func of(k codecs.Kind) codecs.Field { return codecs.Field{Type: k} }

var unknown = codecs.Field{}

// placeholder is the identifier of reads[i]. No expression can spell it.
func placeholder(i int) string { return opPrefix + strconv.Itoa(i) }

// rewrite rewrites *node and returns its type where that is certain, else none.
func (r *rewriter) rewrite(node *ast.Node) codecs.Field {
	switch n := (*node).(type) {
	case *ast.NilNode:
		r.fail(n.Location().From, "nil: nothing is nil in an expression; what is absent reads as its zero value in where, makes a join false and a select null")
	case *ast.IntegerNode:
		return of(codecs.Int)
	case *ast.FloatNode:
		return of(codecs.Float)
	case *ast.StringNode:
		return of(codecs.String)
	case *ast.BoolNode:
		return of(codecs.Bool)
	case *ast.PointerNode:
		return r.pointer(n)
	case *ast.IdentifierNode:
		return r.identifier(node, n)
	case *ast.MemberNode:
		return r.member(node, n)
	case *ast.ChainNode:
		r.fail(n.Location().From, "?. is not supported: nothing is nil in an expression; write . for it")
	case *ast.UnaryNode:
		return r.unary(node, n)
	case *ast.BinaryNode:
		return r.binary(node, n)
	case *ast.SliceNode:
		typ := r.rewrite(&n.Node)
		for _, bound := range []*ast.Node{&n.From, &n.To} {
			if *bound != nil {
				r.rewrite(bound)
			}
		}
		if typ.Type == codecs.String || typ.Type == codecs.List {
			return typ
		}
	case *ast.CallNode:
		r.call(n)
	case *ast.BuiltinNode:
		return r.builtin(node, n)
	case *ast.PredicateNode:
		return r.rewrite(&n.Node)
	case *ast.ConditionalNode:
		return r.conditional(n)
	case *ast.VariableDeclaratorNode:
		r.vars = append(r.vars, variable{n.Name, r.rewrite(&n.Value)})
		typ := r.rewrite(&n.Expr)
		r.vars = r.vars[:len(r.vars)-1]
		return typ
	case *ast.SequenceNode:
		return r.rewriteAll(n.Nodes)
	case *ast.ArrayNode:
		return r.array(n)
	case *ast.MapNode:
		r.rewriteAll(n.Pairs)
	case *ast.PairNode:
		r.rewrite(&n.Key)
		if typ := r.rewrite(&n.Value); typ.Of != nil {
			r.fail(n.Value.Location().From, "%s cannot be a value in {}", typ.TypeName())
		}
	}
	return unknown
}

func (r *rewriter) rewriteAll(nodes []ast.Node) (last codecs.Field) {
	for i := range nodes {
		last = r.rewrite(&nodes[i])
	}
	return last
}

func (r *rewriter) identifier(node *ast.Node, n *ast.IdentifierNode) codecs.Field {
	for i := len(r.vars) - 1; i >= 0; i-- {
		if r.vars[i].name == n.Value {
			return r.vars[i].typ
		}
	}
	offset := n.Location().From
	if bare := r.names.bare; bare != nil {
		if _, ok := bare.fields[n.Value]; ok || bare.broken {
			return r.field(node, bare, n.Value, n.Value, offset)
		}
	}
	switch _, isTable := r.c.tables[n.Value]; {
	case n.Value == "$env":
		r.fail(offset, "$env is not supported; name the field")
	case isTable:
		r.fail(offset, "%s is a table; read a column of a row as %s[stream.field].column", n.Value, n.Value)
	case r.c.streams[n.Value] != nil && r.names.bare == nil || n.Value == touchName && len(r.names.touches) > 0:
		r.fail(offset, "%s is a record; read a field of it as %s.field", n.Value, n.Value)
	case r.names.bare != nil:
		r.fail(offset, "unknown field %q%s", n.Value, suggestion(n.Value, r.names.readable()))
	default:
		r.fail(offset, "unknown name %q%s", n.Value, suggestion(n.Value, append(r.names.readable(), sortedKeys(r.c.tables)...)))
	}
	return unknown
}

// member handles stream.field, touch.field, table[key].column, and members of values.
func (r *rewriter) member(node *ast.Node, n *ast.MemberNode) codecs.Field {
	text := n.String()
	property, isName := n.Property.(*ast.StringNode)
	offset := n.Property.Location().From
	if n.Optional {
		r.fail(offset, "?. is not supported: nothing is nil in an expression; write . for it")
		return unknown
	}
	if base, ok := n.Node.(*ast.IdentifierNode); ok && !r.isVariable(base.Value) {
		s, isStream := r.c.streams[base.Value]
		isTouch := base.Value == touchName && len(r.names.touches) > 0
		if (isStream || isTouch) && !isName {
			r.fail(offset, "a field is read by its name, as %s.field", base.Value)
			return unknown
		}
		switch {
		case isTouch:
			found, err := r.names.touchField(property.Value)
			return r.use(node, found, err, text, offset)
		case isStream && r.names.streams[base.Value] != nil:
			return r.field(node, s, property.Value, text, offset)
		case isStream && !r.isBareField(base.Value):
			r.fail(base.Location().From, "%s", r.names.cannotRead(base.Value))
			return unknown
		}
	}
	if row, ok := n.Node.(*ast.MemberNode); ok {
		if base, ok := row.Node.(*ast.IdentifierNode); ok && !r.isVariable(base.Value) {
			if t, ok := r.c.tables[base.Value]; ok {
				if !isName {
					r.fail(offset, "a column is read by its name, as %s[...].column", base.Value)
					return unknown
				}
				return r.lookup(node, t, row, property, text)
			}
		}
	}
	count := len(r.reads)
	switch base := r.rewrite(&n.Node); {
	case base.Type == codecs.Decimal:
		r.fail(offset, "a decimal has no fields")
		return unknown
	case base.Of != nil:
		return r.inside(node, n, base, count, text)
	}
	if !isName {
		r.rewrite(&n.Property)
	} else if property.Value == "Local" {
		r.fail(offset, "Local() depends on the machine's time zone; times are UTC")
	}
	return unknown
}

// lookup handles table[key].column: the column becomes a stamp on the events of the key's stream.
func (r *rewriter) lookup(node *ast.Node, t *tableInfo, row *ast.MemberNode, column *ast.StringNode, text string) codecs.Field {
	if t.broken {
		r.rewrite(&row.Property)
		r.failed = true
		return unknown
	}
	table := r.c.plan.Tables[t.index]
	col := slices.IndexFunc(table.Columns, func(f codecs.Field) bool { return f.Name == column.Value })
	if col < 0 {
		r.fail(column.Location().From, "unknown column %q of table %q%s", column.Value, table.Name, suggestion(column.Value, fieldNames(table.Columns)))
	}
	var key ast.Node = row.Property
	count := len(r.reads)
	typ := r.rewrite(&key)
	id, ok := key.(*ast.IdentifierNode)
	if !ok || !strings.HasPrefix(id.Value, opPrefix) {
		if !r.failed {
			r.fail(row.Property.Location().From, "the key of a table row must be a plain field, as in %s[stream.field].column", table.Name)
		}
		return unknown
	}
	i, _ := strconv.Atoi(strings.TrimPrefix(id.Value, opPrefix))
	found := r.reads[i]
	if found.from[0].ref.table >= 0 {
		r.fail(row.Property.Location().From, "the key of a table row must be a field of the record, not a column of another table")
		return unknown
	}
	if len(found.path) > 0 {
		r.fail(row.Property.Location().From, "the key of a table row must be a field of the record, not a part of one")
		return unknown
	}
	if want := table.Columns[table.Key].Type; typ.Type != want {
		r.fail(row.Property.Location().From, "the key of table %q is %s, %s is %s", table.Name, want, r.texts[i], typ.TypeName())
		return unknown
	}
	if col < 0 {
		return unknown
	}
	r.reads, r.texts = r.reads[:count], r.texts[:count] // the key itself is not read, unless it was before
	found.kind, found.from = table.Columns[col].Type, slices.Clone(found.from)
	for j := range found.from {
		found.from[j].ref.table, found.from[j].ref.column = t.index, col
	}
	return r.use(node, found, nil, text, row.Location().From)
}

func (r *rewriter) field(node *ast.Node, s *streamInfo, name, text string, offset int) codecs.Field {
	i, kind, err := s.field(name)
	found := read{kind: kind, from: []source{{s, fieldRef(i)}}}
	if i >= 0 {
		found.of = s.stream.Declared[i].Of
	}
	return r.use(node, found, err, text, offset)
}

// use replaces *node by the identifier of what it reads.
func (r *rewriter) use(node *ast.Node, found read, err error, text string, offset int) codecs.Field {
	if err != nil {
		r.fail(offset, "%s", err)
		return unknown
	}
	if found.kind == codecs.Null {
		r.failed = true
		return unknown
	}
	i := slices.IndexFunc(r.reads, func(o read) bool {
		return o.touch == found.touch && slices.Equal(o.from, found.from) && slices.Equal(o.path, found.path)
	})
	if i < 0 {
		i = len(r.reads)
		r.reads = append(r.reads, found)
		r.texts = append(r.texts, text)
	}
	replace(node, &ast.IdentifierNode{Value: placeholder(i)})
	return found.typ()
}

func (r *rewriter) isVariable(name string) bool {
	return slices.ContainsFunc(r.vars, func(v variable) bool { return v.name == name })
}

func (r *rewriter) isBareField(name string) bool {
	if r.names.bare == nil {
		return false
	}
	_, ok := r.names.bare.fields[name]
	return ok
}

func (r *rewriter) call(n *ast.CallNode) {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		r.fail(callee.Location().From, "unknown function %q%s", callee.Value, suggestion(callee.Value, slices.Collect(maps.Keys(builtin.Index))))
	default:
		r.rewrite(&n.Callee)
	}
	for i := range n.Arguments {
		if typ := r.rewrite(&n.Arguments[i]); typ.Of != nil {
			r.fail(n.Arguments[i].Location().From, "%s cannot be an argument here", typ.TypeName())
		}
	}
}

// unordered are the builtins whose results depend on the order in which a Go map happens to be walked.
var unordered = []string{"keys", "values", "toPairs"}

func (r *rewriter) builtin(node *ast.Node, n *ast.BuiltinNode) codecs.Field {
	offset := n.Location().From
	switch {
	case n.Name == "now":
		r.fail(offset, "now() sees the clock; a rule's time comes from the data, so that a replay gives the same rows")
		return unknown
	case slices.Contains(unordered, n.Name):
		r.fail(offset, "%s() has no order that two runs agree on", n.Name)
		return unknown
	case n.Name == "timezone", n.Name == "date" && len(n.Arguments) == 3:
		zone, ok := n.Arguments[len(n.Arguments)-1].(*ast.StringNode)
		if !ok || zone.Value == "" || strings.EqualFold(zone.Value, "local") {
			r.fail(offset, "%s() needs the name of a time zone, like \"Europe/Paris\", as a text in quotes", n.Name)
			return unknown
		}
	}
	return r.ofLists(node, n)
}

// single handles a function of single values, whose arguments have been rewritten.
func (r *rewriter) single(node *ast.Node, n *ast.BuiltinNode, types []codecs.Field) codecs.Field {
	if len(types) == 1 && types[0].Type == codecs.Decimal {
		if kind, ok := map[string]codecs.Kind{"float": codecs.Float, "int": codecs.Int, "string": codecs.String}[n.Name]; ok {
			replace(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: opPrefix + n.Name}, Arguments: n.Arguments})
			return of(kind)
		}
	}
	switch n.Name {
	case "len", "int", "indexOf", "lastIndexOf":
		return of(codecs.Int)
	case "float":
		return of(codecs.Float)
	case "string", "upper", "lower", "trim", "replace":
		return of(codecs.String)
	}
	return unknown
}

// replace puts a node in another's place in the source.
func replace(node *ast.Node, by ast.Node) {
	by.SetLocation((*node).Location())
	*node = by
}

func fieldNames(fields []codecs.Field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}
