package rules

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Counting says which of the conversions that find a touch count. A conversion that does not is unattributed: no other touch takes the
// place of its winner. It goes in stages, over the conversions of a key in the total order: what each touch allows, then what the key
// allows, then the cap.
type Counting struct {
	Once   bool    // one conversion per touch, the first
	Budget *Budget // so many per touch; nil: any number
	Dedup  *Expr   // a conversion whose value another has used on that touch does not count; an absent one is never used
	Retire bool    // candidates that lose are no candidates of later conversions
	PerKey int64   // a conversion that comes at most so long after another whose touch lets it count does not; 0: no such bound
	Cap    *Cap    // nil: none
}

// Budget is how many conversions may count per touch.
type Budget struct {
	Max     []int64 // by stream rank; 0: no bound
	Expr    *Expr   // instead of Max: an int over the touch and its parent. An absent one is no bound, below 1 nothing counts
	Replace *Expr   // int or decimal: where the budget is used up, a conversion takes the place of the one with the smallest; nil: of none
	// Windows are, by stream rank, the ascending ends of reporting windows, after the touch; what is after the last is one more. Only
	// conversions of one window replace each other.
	Windows [][]int64
}

// Cap bounds the sum of a measure over the conversions of a key that count, in each period.
type Cap struct {
	Measure int // index into Rule.Measure
	At      Decimal
	Per     int64 // length of a period; one begins in 1970
}

// period returns when the period of a time begins.
func (c *Cap) period(at int64) int64 {
	n := at / c.Per
	if at < n*c.Per {
		n--
	}
	return n * c.Per
}

// PerTouch tells whether what counts on a touch depends on its other conversions.
func (c *Counting) PerTouch() bool { return c.Once || c.Budget != nil || c.Dedup != nil }

// Retires tells whether touches that lose are out.
func (r *Rule) Retires() bool { return r.Counting != nil && r.Counting.Retire }

// span is how long before or after a touch its conversions are, together.
func (r *Rule) span() (span int64) {
	for _, c := range r.Classes {
		span = max(span, c.Within)
	}
	return span + r.lead()
}

// lead is how long after its conversion a touch may come.
func (r *Rule) lead() int64 {
	if slices.ContainsFunc(r.Classes, func(c *Class) bool { return c.After }) {
		return r.MaxGap
	}
	return 0
}

// back is how long before a conversion others can decide what it has, once ahead has been taken into account.
func (r *Rule) back() (us int64) {
	c := r.Counting
	if c == nil {
		return 0
	}
	if us = c.PerKey; c.Cap != nil {
		us += c.Cap.Per
	}
	// What a conversion replaces is of its own touch, and so is all that decides about the two.
	if r.ahead() > 0 && us == 0 {
		return 0
	}
	if c.PerTouch() || c.Retire {
		us += r.span()
	}
	return us
}

// ahead is how long before a conversion others stand that it can keep from counting.
func (r *Rule) ahead() int64 {
	if r.Counting == nil || r.Counting.Budget == nil || r.Counting.Budget.Replace == nil {
		return 0
	}
	return r.span()
}

// counting reads which conversions count.
func (r *ruleInfo) counting(got map[string]value) {
	c := &Counting{}
	any := false
	for _, key := range []string{"count", "budget", "dedup", "retire", "cap"} {
		v, ok := got[key]
		if !ok {
			continue
		}
		perTouch := true
		switch key {
		case "count":
			perTouch = r.count(c, v)
			any = any || c.Once || c.PerKey > 0
		case "budget":
			c.Budget, any = r.budget(v), true
		case "dedup":
			c.Dedup, any = r.pairValue(v, "a dedup key", codecs.String, codecs.Int, codecs.Bool, codecs.Decimal, codecs.Time), true
		case "retire":
			c.Retire = v.oneOf([]string{"none", "losers"}) == 1
			any, perTouch = any || c.Retire, c.Retire
		case "cap":
			c.Cap, any, perTouch = r.measureCap(v), true, false
		}
		if perTouch && slices.ContainsFunc(r.rule.Models, func(m *Model) bool { return m.Kind != Last }) {
			v.errorf("needs model: last, the only one under which a conversion is of one touch")
		}
	}
	if c.Once && c.Budget != nil {
		got["count"].errorf("one_per_touch is a budget of 1; say one of them")
	}
	if any {
		r.rule.Counting = c
	}
}

// count reads `count`. It tells whether that is about touches.
func (r *ruleInfo) count(c *Counting, v value) bool {
	if v.node.Kind != yaml.MappingNode {
		text, ok := v.text()
		switch {
		case !ok || text.text == "every":
		case text.text == "one_per_touch":
			c.Once = true
		default:
			text.errorf("must be every, one_per_touch or {one_per_key: 30d}, not %q%s", text.shown, suggestion(text.shown, []string{"every", "one_per_touch"}))
		}
		return c.Once
	}
	got := v.section([]string{"one_per_key"})
	if within, ok := got["one_per_key"]; ok {
		us, ok := within.duration()
		if ok && us == 0 {
			within.errorf("must be longer than 0: it is how long after a conversion that counts no other does")
		}
		c.PerKey = us
	} else if len(v.node.Content) == 0 {
		v.errorf("must be every, one_per_touch or {one_per_key: 30d}")
	}
	return false
}

// pairValue reads an expression over a conversion and its touch.
func (r *ruleInfo) pairValue(v value, what string, kinds ...codecs.Kind) *Expr {
	x, text := r.pairExpression(v, r.touches)
	if x != nil && !slices.Contains(kinds, x.kind) {
		names := kinds[0].String()
		for _, k := range kinds[1:] {
			names += " or " + k.String()
		}
		text.errorf("%s is %s; this is %s", what, names, x.kind)
	}
	return x
}

// pairExpression reads an expression that has a value for a conversion, one of the touches and its parent; nil where that failed.
func (r *ruleInfo) pairExpression(v value, touches []*streamInfo) (*Expr, scalar) {
	text, ok := v.text()
	if !ok {
		return nil, text
	}
	x := r.c.expression(text, r.pairNames(forValue, touches), nil)
	r.c.note(x, useKept)
	return x, text
}

// maxBudget bounds budgets that stand in the file.
const maxBudget = 1_000_000

// budget reads `budget`: a number, an expression, or a mapping.
func (r *ruleInfo) budget(v value) *Budget {
	b := &Budget{Max: make([]int64, len(r.c.plan.Streams)), Windows: make([][]int64, len(r.c.plan.Streams))}
	if v.node.Kind != yaml.MappingNode {
		r.budgetMax(b, v)
		return b
	}
	got := v.section([]string{"max", "replace", "windows"})
	if m, ok := got["max"]; ok {
		r.budgetMax(b, m)
	} else {
		v.errorf("max is missing: a number, one per touch stream, or an expression")
	}
	if x, ok := got["replace"]; ok {
		b.Replace = r.pairValue(x, "the priority of a conversion", codecs.Int, codecs.Decimal)
	}
	windows, ok := got["windows"]
	if !ok {
		return b
	}
	if _, replaces := got["replace"]; !replaces {
		windows.errorf("are those in which conversions replace each other, and there is no replace")
	}
	if windows.node.Kind == yaml.MappingNode {
		r.perTouch(windows, func(s *streamInfo, v value) { b.Windows[s.stream.Rank] = v.windowEnds() })
		return b
	}
	ends := windows.windowEnds()
	for _, s := range r.touches {
		b.Windows[s.stream.Rank] = ends
	}
	return b
}

func (r *ruleInfo) budgetMax(b *Budget, v value) {
	if v.node.Kind == yaml.MappingNode {
		r.perTouch(v, func(s *streamInfo, v value) { b.Max[s.stream.Rank] = v.budgetNumber() })
		return
	}
	text, ok := v.text()
	if !ok {
		return
	}
	if _, err := parseNumber(text.text); err == nil {
		n := v.budgetNumber()
		for _, s := range r.touches {
			b.Max[s.stream.Rank] = n
		}
		return
	}
	b.Expr = r.pairValue(v, "a budget", codecs.Int)
	if b.Expr == nil || r.conversion == nil {
		return
	}
	for _, read := range b.Expr.reads {
		if slices.ContainsFunc(read.from, func(s source) bool { return s.stream == r.conversion }) {
			text.errorf("a budget is the touch's; it cannot read %s", r.conversion.stream.Name)
			return
		}
	}
}

// perTouch reads a mapping of touch streams.
func (r *ruleInfo) perTouch(v value, read func(s *streamInfo, v value)) {
	for _, e := range v.entries() {
		s, at := r.c.keyStream(e)
		switch {
		case s == nil:
		case r.sure && !slices.Contains(r.touches, s):
			at.errorf("%s is no touch of this rule", e.name)
		default:
			read(s, e.value)
		}
	}
}

// windowEnds reads the ends of reporting windows.
func (v value) windowEnds() (ends []int64) {
	for _, item := range v.list() {
		us, ok := item.duration()
		if n := len(ends); ok && us <= 0 || n > 0 && us <= ends[n-1] {
			item.errorf("windows end one after the other, the first after 0")
		}
		ends = append(ends, us)
	}
	return ends
}

func (v value) budgetNumber() int64 {
	if s, ok := v.text(); ok && s.text == "0" {
		v.errorf("a budget of 0 lets nothing count; leave the stream out of the classes instead")
		return 1
	}
	n, _ := v.whole(1, maxBudget)
	return n
}

// measureCap reads `cap`.
func (r *ruleInfo) measureCap(v value) *Cap {
	c := &Cap{Measure: -1, Per: 1}
	got := v.section([]string{"measure", "at", "per"})
	if v.node.Kind != yaml.MappingNode {
		return c
	}
	for _, required := range []string{"measure", "at", "per"} {
		if _, ok := got[required]; !ok {
			v.errorf("%s is missing", required)
		}
	}
	if m, ok := got["measure"]; ok {
		if name, ok := m.text(); ok {
			c.Measure = slices.IndexFunc(r.rule.Measure, func(column Column) bool { return column.Name == name.text })
			switch {
			case c.Measure >= 0:
				r.capped(c, name)
			case len(r.rule.Measure) > 0 || r.sure:
				var names []string
				for _, column := range r.rule.Measure {
					names = append(names, column.Name)
				}
				name.errorf("the rule has no measure %q%s", name.shown, suggestion(name.shown, names))
			}
		}
	}
	if at, ok := got["at"]; ok {
		if text, ok := at.text(); ok {
			d, err := parseNumber(text.text)
			if err != nil || d.Coef <= 0 {
				text.errorf("must be a number above 0, not %q", text.shown)
			}
			c.At = d
		}
	}
	if per, ok := got["per"]; ok {
		if us, ok := per.duration(); ok && us == 0 {
			per.errorf("must be longer than 0")
		} else if ok {
			c.Per = us
		}
	}
	return c
}

// capped checks that the measure is the conversion's alone.
func (r *ruleInfo) capped(c *Cap, at scalar) {
	for _, read := range r.rule.Measure[c.Measure].Expr.reads {
		if read.touch || r.conversion == nil || slices.ContainsFunc(read.from, func(s source) bool { return s.stream != r.conversion }) {
			at.errorf("%s reads a touch; a cap is for what the conversion alone decides", at.shown)
			return
		}
	}
}

// parseNumber reads a plain number, such as 12.50, exactly.
func parseNumber(text string) (Decimal, error) {
	v, err := codecs.ParseDecimal(text)
	if err != nil {
		return Decimal{}, fmt.Errorf("not a number: %w", err)
	}
	return Decimal{v.Num, v.Scale}, nil
}
