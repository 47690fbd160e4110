package rules

import (
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func (s source) field() codecs.Field { return s.stream.stream.Declared[s.ref.field] }

// resolve derives from the rule as written how its pairs are found.
func (r *ruleInfo) resolve(slots []map[ref]int) {
	rule := r.rule
	rule.Conversion = r.conversion.stream.Rank
	rule.streams = r.c.plan.Streams
	rule.Joins = make([]*Expr, len(slots))
	rule.Parents = make([]int, len(slots))
	for i := range rule.Parents {
		rule.Parents[i] = -1
	}
	for s, j := range r.join {
		rule.Joins[s.stream.Rank] = j.expr
		if j.parent != nil {
			rule.Parents[s.stream.Rank] = j.parent.stream.Rank
		}
	}
	for _, info := range r.classes {
		for _, touch := range info.touches {
			via := r.via(info.class, touch, slots)
			info.class.Vias = append(info.class.Vias, via)
		}
	}
	if rule.Orphans {
		r.orphanVias(slots)
	}
	r.resolveTakings(slots)
	for _, info := range r.classes {
		for _, via := range info.class.Vias {
			r.retention(via, info.class.Within)
		}
	}
	if rule.Counting != nil {
		rule.EveryConversion = rule.Key.path(rule.Conversion, Path{})
	}
	rule.settle()
}

// orphanVias adds the ways of touches that have no parent.
func (r *ruleInfo) orphanVias(slots []map[ref]int) {
	r.rule.alone = make([][]*Expr, len(slots))
	for _, info := range r.classes {
		for i, touch := range info.touches {
			by := info.class.Vias[i]
			if by.Parent < 0 || by.AnchorParent {
				continue
			}
			v := &Via{Touch: by.Touch, Parent: -1, Ahead: by.Ahead, MaxGap: by.MaxGap, ConvTouch: by.ConvTouch, Orphan: by, late: true}
			readsParent := func(x *Expr) bool {
				return slices.ContainsFunc(x.reads, func(read read) bool { return !read.touch && read.stream == by.Parent })
			}
			for _, x := range r.join[touch].residuals {
				if readsParent(x) {
					by.tie = append(by.tie, x)
				} else {
					v.Residual = append(v.Residual, x)
				}
			}
			r.rule.alone[by.Touch] = slices.DeleteFunc(slices.Clone(r.join[touch].parts), readsParent)
			r.paths(v)
			info.class.Vias = append(info.class.Vias, v)
		}
	}
}

func (r *ruleInfo) via(c *Class, touch *streamInfo, slots []map[ref]int) *Via {
	v := &Via{Touch: touch.stream.Rank, Parent: -1, MaxGap: r.rule.MaxGap, Ahead: 1}
	if r.rule.Instant {
		v.Ahead = 0
	}
	joins := []*joinInfo{r.join[touch]}
	parent := r.parent(touch)
	if parent != nil {
		v.Parent = parent.stream.Rank
		v.AnchorParent = r.anchoredOnParent(c, touch)
		v.AllowAfter = c.After
		joins = append(joins, r.join[parent])
		v.MaxParentLag = c.Parent
	}
	for _, j := range joins {
		if j == nil {
			continue
		}
		v.Residual = append(v.Residual, j.residuals...)
		for _, eq := range j.equal {
			pairs, a, b := r.side(v, eq, touch)
			pair := Pair{slots[a.stream.stream.Rank][a.ref], slots[b.stream.stream.Rank][b.ref]}
			if !slices.Contains(*pairs, pair) {
				*pairs = append(*pairs, pair)
			}
		}
	}
	v.AnyGap = len(v.TouchParent) > 0
	v.late = touch.stream.Late == LateKept || parent != nil && parent.stream.Late == LateKept
	r.paths(v)
	return v
}

// side tells which of a Via's pairs an equality belongs to, and which of its sides comes first there.
func (r *ruleInfo) side(v *Via, eq equality, touch *streamInfo) (pairs *[]Pair, a, b source) {
	order := func(s *streamInfo) int {
		switch s {
		case r.conversion:
			return 0
		case touch:
			return 1
		}
		return 2
	}
	a, b = eq.left, eq.right
	if order(a.stream) > order(b.stream) {
		a, b = b, a
	}
	switch {
	case a.stream != r.conversion:
		return &v.TouchParent, a, b
	case b.stream == touch:
		return &v.ConvTouch, a, b
	}
	return &v.ConvParent, a, b
}

// paths names the access paths that finding the Via's tuples takes, whichever of their events comes last.
func (r *ruleInfo) paths(v *Via) {
	k := r.rule.Key
	left := func(pairs []Pair) (p Path) {
		for _, pair := range pairs {
			p = append(p, pair.A)
		}
		return p
	}
	right := func(pairs []Pair) (p Path) {
		for _, pair := range pairs {
			p = append(p, pair.B)
		}
		return p
	}
	join := func(a, b Path) Path { return append(slices.Clone(a), b...) }

	v.ConvPath = k.path(r.rule.Conversion, join(left(v.ConvTouch), left(v.ConvParent)))
	v.TouchPath = k.path(v.Touch, right(v.ConvTouch))
	v.ParentPath, v.TouchOfParent, v.ParentOfTouch, v.TouchOfBoth, v.ParentOfBoth = -1, -1, -1, -1, -1
	if v.Parent < 0 {
		return
	}
	if v.AnchorParent {
		v.ParentPath = k.path(v.Parent, right(v.ConvParent))
	}
	v.TouchOfParent = k.path(v.Touch, left(v.TouchParent))
	v.ParentOfTouch = k.path(v.Parent, right(v.TouchParent))
	v.TouchOfBoth = k.path(v.Touch, join(right(v.ConvTouch), left(v.TouchParent)))
	v.ParentOfBoth = k.path(v.Parent, join(right(v.ConvParent), right(v.TouchParent)))
}

// retention keeps each event for as long as another that comes in time can make a pair with it, or change the row of a
// conversion that it is a candidate of: what such a row was is evaluated again, so a conversion that is kept for touches
// after it keeps the candidates of all classes with it.
func (r *ruleInfo) retention(v *Via, within int64) {
	k, gap := r.rule.Key, r.rule.MaxGap
	// How long after it a conversion's row can change, or others can depend on it.
	open := r.rule.lead() + r.rule.ahead() + r.rule.back() + r.rule.adjusted()
	k.retain(r.rule.Conversion, open)
	for _, t := range r.rule.Takings {
		// It may come before its target, and is needed for as long as that is.
		of := open
		if t.Target != r.rule.Conversion {
			of += gap + within
		}
		k.retain(t.Stream, r.rule.AdjustWithin+of)
	}
	k.retain(v.Touch, within+open)
	switch {
	case v.Parent < 0:
	case v.AnchorParent:
		k.retain(v.Parent, within+open)
	default:
		k.retain(v.Parent, gap+within+open)
	}
}
