package rules

import "github.com/seed-2058fbc3/lookback/codecs"

// Reach visits the conversions in h whose winner under r may change when the touch row comes or goes: all that it
// could be a candidate of, itself or as the parent of a touch that h holds, and perhaps some more. A conversion may be
// visited more than once. In the usual case, when events come in order, there is none and the cost is one look-up.
func (e *Evaluator) Reach(r *Rule, row codecs.Row, h History, v codecs.Visitor) {
	latest := h.Latest(r.Conversion)
	for _, c := range r.Classes {
		for _, via := range c.Vias {
			if row.Stream() == via.Touch && latest >= floor(row.Time(), via.lead())+via.Ahead {
				e.reachByTouch(r, c, via, row, h, v)
			}
			if by := via.Orphan; by != nil && row.Stream() == by.Parent && latest >= row.Time()+via.Ahead {
				e.match = e.match[:0]
				for _, p := range by.TouchParent {
					e.match = row.AppendField(e.match, p.B)
				}
				h.Descend(via.Touch, by.TouchOfParent, e.match, row.Time(), row.Time()+by.MaxGap, &orphanRows{e, r, c, via, h, v})
			}
			if row.Stream() == via.Parent && latest >= row.Time()+via.Ahead {
				e.reachByParent(r, c, via, row, h, v)
			}
		}
	}
}

// lead is how much later than the conversion a touch may be.
func (v *Via) lead() int64 {
	if v.AllowAfter {
		return v.MaxGap
	}
	return 0
}

func (e *Evaluator) reachByTouch(r *Rule, c *Class, via *Via, touch codecs.Row, h History, v codecs.Visitor) {
	if via.Parent < 0 {
		e.conversions(r, c, via, touch, nil, h, v)
		return
	}
	e.match = e.match[:0]
	for _, p := range via.TouchParent {
		e.match = touch.AppendField(e.match, p.A)
	}
	e.linked = linkedRows{e: e, rule: r, class: c, via: via, touch: touch, h: h, v: v}
	h.Descend(via.Parent, via.ParentOfTouch, e.match, floor(touch.Time(), via.MaxGap), touch.Time(), &e.linked)
}

func (e *Evaluator) reachByParent(r *Rule, c *Class, via *Via, parent codecs.Row, h History, v codecs.Visitor) {
	e.match = e.match[:0]
	for _, p := range via.TouchParent {
		e.match = parent.AppendField(e.match, p.B)
	}
	e.linked = linkedRows{e: e, rule: r, class: c, via: via, parent: parent, h: h, v: v}
	h.Descend(via.Touch, via.TouchOfParent, e.match, parent.Time(), parent.Time()+via.MaxGap, &e.linked)
}

// orphanRows takes the touches that are not without a parent where a row is there.
type orphanRows struct {
	e     *Evaluator
	rule  *Rule
	class *Class
	via   *Via
	h     History
	v     codecs.Visitor
}

// Visit takes a touch.
func (o *orphanRows) Visit(touch codecs.Row) bool {
	o.e.conversions(o.rule, o.class, o.via, touch, nil, o.h, o.v)
	return true
}

// linkedRows completes a touch with its parents, or a parent with its touches.
type linkedRows struct {
	e             *Evaluator
	rule          *Rule
	class         *Class
	via           *Via
	touch, parent codecs.Row // one of them is given
	h             History
	v             codecs.Visitor
}

func (l *linkedRows) Visit(row codecs.Row) bool {
	if l.touch != nil {
		l.e.conversions(l.rule, l.class, l.via, l.touch, row, l.h, l.v)
	} else {
		l.e.conversions(l.rule, l.class, l.via, row, l.parent, l.h, l.v)
	}
	return true
}

// conversions visits the conversions of which touch and parent may be a candidate.
func (e *Evaluator) conversions(r *Rule, c *Class, via *Via, touch, parent codecs.Row, h History, v codecs.Visitor) {
	anchor := touch.Time()
	if via.AnchorParent {
		anchor = parent.Time()
	}
	from, to := anchor+max(c.Min, via.Ahead), anchor+c.Within
	if !via.AllowAfter {
		from = max(from, touch.Time()+via.Ahead)
	}
	e.match2 = e.match2[:0]
	for _, p := range via.ConvTouch {
		e.match2 = touch.AppendField(e.match2, p.B)
	}
	for _, p := range via.ConvParent {
		e.match2 = parent.AppendField(e.match2, p.B)
	}
	h.Descend(r.Conversion, via.ConvPath, e.match2, from, to, v)
}
