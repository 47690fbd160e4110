package rules

import (
	"maps"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// joinInfo is one entry of a rule's `join` while it is compiled.
type joinInfo struct {
	at        scalar
	expr      *Expr
	parent    *streamInfo // the touch stream that it refers to; nil: none
	equal     []equality
	residuals []*Expr
	parts     []*Expr // all of what it says, taken apart
}

// equality is `left == right` between plain fields of different streams, of one type.
type equality struct{ left, right source }

// joins compiles `join`. It reports whether what it says of parents can be relied on.
func (r *ruleInfo) joins(v value) bool {
	sure := true
	for _, e := range v.entries() {
		s, at := r.c.keyStream(e)
		switch {
		case s == nil:
			continue
		case s == r.conversion:
			at.errorf("%s is the stream that is attributed; a join belongs to a touch stream", e.name)
			continue
		}
		j := &joinInfo{}
		r.join[s] = j
		var ok bool
		if j.at, ok = e.text(); !ok {
			sure = false
			continue
		}
		j.expr = r.c.condition(j.at, &names{purpose: forJoin, streams: r.c.streams})
		if j.expr == nil || r.conversion == nil {
			sure = false
			continue
		}
		if !r.parentOf(s, j) {
			sure = false
			continue
		}
		r.split(j)
		r.c.note(j.expr, useKept)
	}
	return sure
}

// parentOf finds the one other touch stream that a join refers to.
func (r *ruleInfo) parentOf(s *streamInfo, j *joinInfo) bool {
	readsItself := false
	for _, read := range j.expr.reads {
		switch from := read.from[0].stream; {
		case from == s:
			readsItself = true
		case from == r.conversion, from == j.parent:
		case j.parent != nil:
			j.at.errorf("reads both %s and %s; a join may refer to one other touch stream", j.parent.stream.Name, from.stream.Name)
			return false
		default:
			j.parent = from
		}
	}
	if !readsItself {
		j.at.errorf("does not read %s, which it is to join", s.stream.Name)
	}
	return readsItself
}

// split takes the equalities out of a join: they become hash keys, and what remains is evaluated.
func (r *ruleInfo) split(j *joinInfo) {
	n := &names{purpose: forJoin, streams: r.c.streams}
	tree := r.c.parse(j.at)
	for i, part := range conjuncts(tree.Node) {
		e := r.c.expression(j.at, n, func(root ast.Node) ast.Node { return conjuncts(root)[i] })
		if e == nil {
			continue
		}
		j.parts = append(j.parts, e)
		if eq, ok := r.equality(part); ok {
			j.equal = append(j.equal, eq)
			for _, side := range []source{eq.left, eq.right} {
				side.stream.note(side.ref, useKey)
			}
			continue
		}
		j.residuals = append(j.residuals, e)
	}
}

func (r *ruleInfo) equality(n ast.Node) (equality, bool) {
	b, ok := n.(*ast.BinaryNode)
	if !ok || b.Operator != "==" {
		return equality{}, false
	}
	left, ok1 := r.c.plainField(b.Left)
	right, ok2 := r.c.plainField(b.Right)
	if !ok1 || !ok2 || left.stream == right.stream {
		return equality{}, false
	}
	return equality{left, right}, left.field().SameType(right.field())
}

// checkJoins reports joins that no class reaches, and parents that have parents.
func (r *ruleInfo) checkJoins() {
	reached := map[*streamInfo]bool{}
	for _, s := range r.touches {
		reached[s] = true
		if j := r.join[s]; j != nil && j.parent != nil {
			reached[j.parent] = true
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(r.join), byRank) {
		j := r.join[s]
		if j.expr == nil {
			continue
		}
		if !reached[s] {
			j.at.errorf("no class reaches %s: it is no class's touch, and no touch's join refers to it", s.stream.Name)
			continue
		}
		if j.parent == nil {
			continue
		}
		if p := r.join[j.parent]; p != nil && p.parent != nil {
			j.at.errorf("%s refers to %s, which refers to %s itself: chains of joins are not supported yet", s.stream.Name,
				j.parent.stream.Name, p.parent.stream.Name)
		}
	}
}

// parent returns the stream that a touch stream's join refers to, nil where there is none.
func (r *ruleInfo) parent(s *streamInfo) *streamInfo {
	if j := r.join[s]; j != nil {
		return j.parent
	}
	return nil
}

func byRank(a, b *streamInfo) int { return a.stream.Rank - b.stream.Rank }
