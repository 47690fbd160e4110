package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// normal is a text that two rules files share exactly when they mean the same. It leaves out settings, and orders
// what has no order in the file.
type normal struct{ strings.Builder }

func (n *normal) line(name string, values ...any) {
	n.WriteString(name)
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = fmt.Sprintf("%q", s)
		}
		fmt.Fprintf(n, " %v", v)
	}
	n.WriteByte('\n')
}

func (n *normal) expr(name string, e *Expr) {
	if e != nil {
		n.line(name, e.norm)
	}
}

func (n *normal) columns(name string, list []Column) {
	for _, c := range slices.SortedFunc(slices.Values(list), func(a, b Column) int { return strings.Compare(a.Name, b.Name) }) {
		n.line(name, c.Name, c.Expr.norm)
	}
}

func (n *normal) sum() string {
	sum := sha256.Sum256([]byte(n.String()))
	return hex.EncodeToString(sum[:8])
}

// hash fills in the hashes of the plan and of its rules.
func (c *compiler) hash() {
	var n normal
	n.line("lookback rules", 1)
	n.line("app", c.plan.App)
	for _, s := range c.plan.Streams {
		n.stream(s, c.streams[s.Name])
	}
	for _, name := range sortedKeys(c.tables) {
		n.table(c.plan.Tables[c.tables[name].index])
	}
	for _, r := range c.plan.Rules {
		var one normal
		one.rule(c.plan, r)
		r.Hash = one.sum()
		n.WriteString(one.String())
	}
	c.plan.Hash = n.sum()
}

func (n *normal) stream(s *Stream, info *streamInfo) {
	n.line("stream", s.Name, s.Topic, s.MaxAge, s.MaxSkew, s.Lateness, s.Disorder, info.keepAll, s.PartitionedBy)
	if info.version >= 0 {
		n.line("version", s.Declared[info.version].Name)
	}
	if s.Late != LateReject {
		n.line("late", s.Late.String())
	}
	n.line("time", s.Declared[s.Time].Name)
	n.line("id", s.Declared[s.ID].Name)
	for _, name := range sortedKeys(info.fields) {
		f := s.Declared[info.fields[name]]
		if f.Of != nil {
			n.line("field", f.Name, f.WrittenType())
			continue
		}
		n.line("field", f.Name, f.Type.String(), f.Unit)
	}
	n.expr("where", s.Where)
}

func (n *normal) table(t *Table) {
	n.line("table", t.Name, t.File, t.Topic, t.Columns[t.Key].Name)
	var columns []string
	for _, f := range t.Columns {
		columns = append(columns, fmt.Sprintf("%s %s %d", f.Name, f.Type, f.Unit))
	}
	slices.Sort(columns)
	n.line("columns", columns)
}

func (n *normal) rule(p *Plan, r *Rule) {
	stream := func(rank int) string {
		if rank < 0 {
			return ""
		}
		return p.Streams[rank].Name
	}
	model := Last.String() // alone, as rules had it that knew no other: their hashes stay
	alone := !r.Across && len(r.Models) == 1 && *r.Models[0] == (Model{Name: model})
	if !alone {
		model = "several"
	}
	n.line("rule", r.Name, stream(r.Conversion), r.Key.Fields, model, r.MaxGap, r.MediaMath)
	if !alone {
		n.line("across", r.Across)
		for _, m := range r.Models {
			n.line("model", m.Name, m.Kind.String(), m.HalfLife, m.Parts)
			n.expr("by", m.Expr)
		}
	}
	for rank, e := range r.Joins {
		n.expr("join "+stream(rank), e)
	}
	for _, c := range r.Classes {
		n.line("class", c.Name, c.Min, c.Within, stream(c.Anchor), c.After)
		// A list of touches is a set.
		var touches []string
		for _, rank := range c.Touch {
			touches = append(touches, stream(rank))
		}
		slices.Sort(touches)
		n.line("touch", touches)
		n.expr("where", c.Where)
		n.expr("expires", c.Expires)
		if n.expr("own within", c.Own); c.Expires != nil || c.Own != nil {
			n.line("before", c.Before)
		}
		if c.Parent > 0 && !r.MediaMath {
			n.line("parent_within", c.Parent)
		}
	}
	if r.Orphans {
		n.line("orphans")
	}
	if r.PerParent != AllOfParent {
		n.line("per_parent", r.PerParent.String())
	}
	if r.Instant {
		n.line("instant")
	}
	n.expr("priority", r.Priority)
	n.expr("require", r.Require)
	n.counting(p, r)
	n.takings(p, r)
	n.columns("select", r.Select)
	n.columns("measure", r.Measure)
	n.line("output", r.Upserts, r.Deltas, r.Unattributed, r.Into)
}

func (n *normal) counting(p *Plan, r *Rule) {
	c := r.Counting
	if c == nil {
		return
	}
	n.line("count", c.Once, c.PerKey, c.Retire)
	n.expr("dedup", c.Dedup)
	if b := c.Budget; b != nil {
		for rank, most := range b.Max {
			if most > 0 {
				n.line("budget", p.Streams[rank].Name, most)
			}
		}
		for rank, ends := range b.Windows {
			if len(ends) > 0 {
				n.line("budget windows", p.Streams[rank].Name, ends)
			}
		}
		n.expr("budget", b.Expr)
		n.expr("replace", b.Replace)
	}
	if c.Cap != nil {
		n.line("cap", r.Measure[c.Cap.Measure].Name, c.Cap.At.String(), c.Cap.Per)
	}
}
