package rules

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
)

// let is a name that a rule gives an expression over pairs. Where the name stands the expression does: what is read, and what an absent
// field means, is that of the place.
type let struct {
	name string
	text scalar
	ok   bool // the expression is without fault
	used bool
}

// readLets reads a rule's `let`. An entry may use those above it.
func (r *ruleInfo) readLets(v value) {
	for _, e := range v.entries() {
		at := e.value
		at.node = e.key
		_, isTable := r.c.tables[e.name]
		switch {
		case !e.entityName():
			continue
		case r.c.streams[e.name] != nil || isTable:
			at.errorf("%q is the name of a stream or a table", e.name)
			continue
		case isBuiltin(e.name):
			at.errorf("%q is a function of expressions; choose another name", e.name)
			continue
		}
		text, ok := e.text()
		if !ok {
			continue
		}
		// Compiled for its faults alone, where it stands.
		exprs, env := len(r.c.exprs), len(r.c.plan.env)
		x := r.c.expression(text, r.pairNames(forValue, r.touches), nil)
		r.c.exprs, r.c.plan.env = r.c.exprs[:exprs], r.c.plan.env[:env]
		r.lets = append(r.lets, &let{name: e.name, text: text, ok: x != nil})
	}
}

// isBuiltin tells whether the expression language has a function of that name.
func isBuiltin(name string) bool {
	_, is := builtin.Index[name]
	return is
}

// maxInlined bounds how many nodes an expression has when what its names stand for is in their places.
const maxInlined = 10_000

// inline puts expressions in the places of their names. ok is false where that failed, or where a name's expression is at fault; outside
// says that some of what was put in is not in the file.
func (c *compiler) inline(s scalar, node *ast.Node, lets []*let) (outside, ok bool) {
	v := inliner{c: c, at: s, lets: lets, ok: true}
	if len(lets) > 0 {
		ast.Walk(node, &v)
	}
	return v.outside, v.ok
}

// inliner visits an expression.
type inliner struct {
	c     *compiler
	at    scalar
	lets  []*let
	nodes int

	outside, ok bool
}

// Visit replaces a name. The walk does not descend into what it is replaced by.
func (v *inliner) Visit(node *ast.Node) {
	v.nodes++
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		if v.find(n.Name) >= 0 {
			v.fail(n, "%q is an entry of let; choose another name", n.Name)
		}
	case *ast.IdentifierNode:
		if i := v.find(n.Value); i >= 0 {
			v.replace(node, i)
		}
	}
}

func (v *inliner) find(name string) int {
	return slices.IndexFunc(v.lets, func(l *let) bool { return l.name == name })
}

func (v *inliner) fail(n ast.Node, format string, args ...any) {
	if v.ok {
		v.at.refuseAt(n.Location().From, fmt.Sprintf(format, args...))
	}
	v.ok = false
}

func (v *inliner) replace(node *ast.Node, i int) {
	l := v.lets[i]
	if l.used = true; !l.ok {
		v.ok = false
		return
	}
	tree := v.c.parse(l.text)
	if tree == nil {
		v.ok = false
		return
	}
	inner := inliner{c: v.c, at: v.at, lets: v.lets[:i], ok: true}
	ast.Walk(&tree.Node, &inner)
	ast.Walk(&tree.Node, located{(*node)})
	if v.nodes += inner.nodes; v.nodes > maxInlined {
		v.fail(*node, "with what %q stands for the expression has more than %d parts", l.name, maxInlined)
		return
	}
	v.ok = v.ok && inner.ok
	v.outside = v.outside || l.text.outside || inner.outside
	*node = tree.Node
}

// located puts nodes where another stands, which is what messages point at.
type located struct{ at ast.Node }

// Visit moves a node.
func (l located) Visit(node *ast.Node) { (*node).SetLocation(l.at.Location()) }
