package rules

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// classInfo is a class while it is compiled.
type classInfo struct {
	class   *Class
	at      value
	got     map[string]value
	touches []*streamInfo
	own     value // within, where it is an expression
	ok      bool  // touches and windows are without fault
}

// noClass is the class of rows without a touch.
const noClass = "none"

// declareClasses reads what classes say of streams and windows; finishClasses the rest, once joins are known.
func (r *ruleInfo) declareClasses(v value) {
	entries := v.entries()
	if len(entries) == 0 {
		r.sure = false
		if v.node.Kind == yaml.MappingNode {
			v.errorf("no classes")
		}
	}
	for _, e := range entries {
		if !isName(e.name) || e.name == noClass {
			e.errorAt(positionOf(e.key), "%q cannot name a class", e.name)
		}
		info := &classInfo{class: &Class{Name: e.name, Within: max(r.lookback, 0), Anchor: -1}, at: e.value, ok: true}
		info.got = e.section([]string{"touch", "within", "min", "anchor", "parent_within", "expires", "where"}, "let")
		if touch, ok := info.got["touch"]; ok {
			r.declareTouches(info, touch)
		} else if info.ok = false; e.node.Kind == yaml.MappingNode {
			e.errorf("touch is missing")
		}
		r.classWindow(info)
		r.sure = r.sure && info.ok
		r.classes = append(r.classes, info)
		r.rule.Classes = append(r.rule.Classes, info.class)
	}
	slices.SortFunc(r.touches, byRank)
	r.touches = slices.Compact(r.touches)
}

func (r *ruleInfo) declareTouches(info *classInfo, v value) {
	var named []*streamInfo
	for _, item := range v.list() {
		s := r.c.stream(item)
		switch {
		case s == nil:
			info.ok = false
			continue
		case s == r.conversion:
			item.errorf("%s is the stream that is attributed; it cannot be a touch of itself", s.stream.Name)
			info.ok = false
			continue
		case slices.Contains(named, s):
			item.errorf("%s is given twice", s.stream.Name)
			continue
		}
		named = append(named, s)
		info.class.Touch = append(info.class.Touch, s.stream.Rank)
	}
	info.touches = named
	info.ok = info.ok && len(named) > 0
	r.touches = append(r.touches, named...)
}

func (r *ruleInfo) classWindow(info *classInfo) {
	read := func(name string, to *int64) {
		if v, ok := info.got[name]; ok {
			us, ok := v.duration()
			if info.ok = info.ok && ok; ok {
				*to = us
			}
		}
	}
	if v, ok := info.got["within"]; ok && ownWindow(v) {
		info.own = v
		delete(info.got, "within")
	}
	read("within", &info.class.Within)
	read("min", &info.class.Min)
	read("parent_within", &info.class.Parent)
	within, hasWithin := info.got["within"]
	switch {
	case !info.ok || r.lookback < 0:
	case hasWithin && info.class.Within > r.lookback:
		within.errorf("%s is longer than the rule's lookback of %s, which is all the history it has", FormatDuration(info.class.Within), FormatDuration(r.lookback))
	case info.class.Min > info.class.Within:
		info.got["min"].errorf("%s is more than within, %s: no pair fits", FormatDuration(info.class.Min), FormatDuration(info.class.Within))
	case r.exclusive && info.class.Min == info.class.Within:
		info.at.errorf("min and within are %s, and window_end: exclude leaves out that end: no pair fits", FormatDuration(info.class.Within))
	case r.exclusive:
		// Times are whole microseconds.
		info.class.Within--
		info.class.Parent = max(info.class.Parent-1, 0)
	}
	if v, ok := info.got["parent_within"]; ok && info.ok && info.class.Parent == 0 {
		v.errorf("leaves no time between a parent and the conversion: no pair fits")
	}
}

// finishClasses reads anchors and conditions, and reports classes that no pair can reach.
func (r *ruleInfo) finishClasses() {
	for i, info := range r.classes {
		if v, ok := info.got["anchor"]; ok && !r.rule.MediaMath {
			r.anchor(info, v)
		}
		if v, ok := info.got["parent_within"]; ok && r.sure {
			r.parentWithin(info, v)
		}
		if v, ok := info.got["where"]; ok {
			if text, ok := v.text(); ok {
				info.class.Where = r.c.condition(text, r.pairNames(forClass, info.touches))
				r.c.note(info.class.Where, useKept)
			}
		}
		if v, ok := info.got["expires"]; ok {
			r.expires(info, v)
		}
		if info.own.node != nil {
			info.class.Own = r.ownWithin(info)
		}
		for _, earlier := range r.classes[:i] {
			if r.sure && r.covers(earlier, info) {
				info.at.errorf("no pair reaches it: class %s takes all that fit here", earlier.class.Name)
				break
			}
		}
	}
}

// ownWindow tells whether a class's within is an expression: a duration begins with a digit.
func ownWindow(v value) bool {
	return v.node.Kind == yaml.ScalarNode && v.node.Value != "" && !strings.ContainsRune("0123456789.-+$", rune(v.node.Value[0]))
}

// ownWithin reads how long a pair's own window is.
func (r *ruleInfo) ownWithin(info *classInfo) *Expr {
	if r.rule.MediaMath {
		info.own.errorf("mediamath compares the windows of its classes, which must be durations")
		return nil
	}
	x, text := r.pairExpression(info.own, info.touches)
	if x != nil && x.kind != codecs.String {
		text.errorf("within is a duration, or an expression whose text is one, such as 14d in a table's column; this is %s", x.kind)
	}
	info.class.Before = r.exclusive
	return x
}

// expires reads until when a touch counts by its own terms.
func (r *ruleInfo) expires(info *classInfo, v value) {
	x, text := r.pairExpression(v, info.touches)
	if x != nil && x.kind != codecs.Time {
		text.errorf("a touch expires at a time, and this is %s: add a duration to one, as in click.ts + duration(\"168h\")", x.kind)
	}
	info.class.Expires, info.class.Before = x, r.exclusive
}

func (r *ruleInfo) anchor(info *classInfo, v value) {
	s := r.c.stream(v)
	if s == nil || !r.sure {
		return
	}
	for _, t := range info.touches {
		if s != t && s != r.parent(t) {
			v.errorf("%s is neither the touch %s nor what its join refers to", s.stream.Name, t.stream.Name)
			return
		}
	}
	info.class.Anchor = s.stream.Rank
}

// orphans lets touches count that have no parent.
func (r *ruleInfo) orphans(v value) {
	r.rule.Orphans = true
	any := false
	for _, info := range r.classes {
		any = any || slices.ContainsFunc(info.touches, func(t *streamInfo) bool { return r.parent(t) != nil && !r.anchoredOnParent(info.class, t) })
	}
	switch {
	case !r.sure || r.conversion == nil:
	case r.rule.MediaMath:
		v.errorf("mediamath counts no click without its impression")
	case !any:
		v.errorf("allow needs a class with a touch whose join refers to another touch stream, and whose lag is its own (anchor)")
	}
}

// clicksAfter lets touches come after the conversion where their lag is that of their parent, which may not.
func (r *ruleInfo) clicksAfter(v value) {
	if v.oneOf([]string{"allow", "ignore"}) != 0 || !r.sure {
		return
	}
	any := false
	for _, info := range r.classes {
		if slices.ContainsFunc(info.touches, func(t *streamInfo) bool { return r.anchoredOnParent(info.class, t) }) {
			info.class.After, any = true, true
		}
	}
	if !any {
		v.errorf("allow needs a class whose lag is measured from the touch's parent: anchor")
	}
}

// parentWithin checks that the bound means something.
func (r *ruleInfo) parentWithin(info *classInfo, v value) {
	switch {
	case r.rule.MediaMath:
		v.errorf("mediamath sets it: the window of the class on the parent")
	case !slices.ContainsFunc(info.touches, func(t *streamInfo) bool { return r.parent(t) != nil }):
		v.errorf("no touch of this class has a join that refers to another touch stream")
	}
}

// covers tells whether every pair that fits class b fits class a.
func (r *ruleInfo) covers(a, b *classInfo) bool {
	_, conditional := a.got["where"]
	_, expires := a.got["expires"]
	if conditional || expires || a.own.node != nil || a.class.Min > b.class.Min || a.class.Within < b.class.Within ||
		a.class.Parent > 0 && (b.class.Parent == 0 || a.class.Parent < b.class.Parent) {
		return false
	}
	for _, t := range b.touches {
		if !slices.Contains(a.touches, t) || r.anchoredOnParent(a.class, t) != r.anchoredOnParent(b.class, t) {
			return false
		}
	}
	return true
}

func (r *ruleInfo) anchoredOnParent(c *Class, touch *streamInfo) bool {
	p := r.parent(touch)
	return p != nil && c.Anchor == p.stream.Rank
}

// mediaMath applies the preset of that name.
func (r *ruleInfo) mediaMath(v value, got map[string]value) {
	r.rule.MediaMath = true
	after := false
	if a, ok := got["click_after_conversion"]; ok {
		after = a.oneOf([]string{"allow", "ignore"}) == 0
	}
	if !r.sure || r.conversion == nil {
		return
	}
	const needs = "mediamath needs two classes, first one on a touch whose join refers to another touch stream (a click of an " +
		"impression), then one on that other stream"
	if len(r.classes) != 2 || len(r.classes[0].touches) != 1 || len(r.classes[1].touches) != 1 {
		v.errorf("%s", needs)
		return
	}
	click, view := r.classes[0], r.classes[1]
	parent := r.parent(click.touches[0])
	if parent == nil || parent != view.touches[0] {
		v.errorf("%s", needs)
		return
	}
	for _, info := range []*classInfo{click, view} {
		if a, ok := info.got["anchor"]; ok {
			if s := r.c.stream(a); s != nil && s != parent {
				a.errorf("mediamath measures every lag from %s", parent.stream.Name)
			}
		}
	}
	click.class.Anchor, click.class.After = parent.stream.Rank, after
	if _, given := click.got["parent_within"]; !given {
		click.class.Parent = view.class.Within
	}
}
