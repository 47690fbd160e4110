package processors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/rules"
)

// randomPlan is rules text that compiles, with its plan and the options that it uses.
type randomPlan struct {
	streams, rule []string // lines
	plan          *rules.Plan
	options       []string
}

func (p *randomPlan) source() string {
	return "app: ads\nstreams:\n" + strings.Join(p.streams, "\n") + "\nrules:\n  - name: r\n" + strings.Join(p.rule, "\n") + "\n"
}

func (p *randomPlan) compile() (err error) {
	p.plan, err = rules.Compile("rules.yaml", []byte(p.source()), noEnv)
	return err
}

func noEnv(string) (string, bool) { return "", false }

// newRandomPlan makes rules over all options, a few milliseconds wide, and tells how many it had to throw away because they say what no rule can.
func newRandomPlan(rng *rand.Rand) (p *randomPlan, thrown int) {
	for ; ; thrown++ {
		d := drawing{rng: rng, p: &randomPlan{}}
		d.drawStreams()
		d.drawRule()
		if err := d.p.compile(); err == nil {
			return d.p, thrown
		}
	}
}

// drawing draws one plan.
type drawing struct {
	rng   *rand.Rand
	p     *randomPlan
	taken bool // something may be taken back
}

func (d *drawing) one(percent int) bool { return d.rng.IntN(100) < percent }

func (d *drawing) pick(list ...string) string { return list[d.rng.IntN(len(list))] }

func (d *drawing) ms(low, high int) string { return fmt.Sprintf("%dms", low+d.rng.IntN(high-low+1)) }

func (d *drawing) use(option string) { d.p.options = append(d.p.options, option) }

// say adds a line to the rule.
func (d *drawing) say(option, format string, args ...any) {
	d.use(option)
	d.p.rule = append(d.p.rule, "    "+fmt.Sprintf(format, args...))
}

// maybe adds a line with one of the values.
func (d *drawing) maybe(percent int, key string, values ...string) bool {
	if !d.one(percent) {
		return false
	}
	d.say(key, "%s: %s", key, d.pick(values...))
	return true
}

func (d *drawing) drawStreams() {
	forever := d.one(30)
	stream := func(name, fields string, touch bool, more ...string) {
		versions := len(name) == 1 && name != "r" && d.one(10)
		if versions {
			d.use("version")
			fields += ", ver: int"
		}
		text := fmt.Sprintf("  %s: {topic: %s, fields: {id: string, t: time_us, u: string, %s}, time: t, id: id", name, name, fields)
		if versions {
			text += ", version: ver"
		}
		if forever {
			text += ", lateness: 100d"
		} else {
			text += ", lateness: " + d.ms(0, 9)
		}
		if d.one(15) {
			d.use("disorder")
			text += ", disorder: " + d.ms(1, 5)
		}
		if policy := d.pick("accept_while_kept", "drop", "reject"); touch && !forever && d.one(25) {
			d.use("late: " + policy)
			text += ", late: " + policy
		}
		if d.one(5) {
			text += ", where: 'id != \"3\"'"
			d.use("where of a stream")
		}
		for _, m := range more {
			text += ", " + m
		}
		d.p.streams = append(d.p.streams, text+"}")
	}
	takes := func(percent int, option string) bool {
		if !d.taken || !d.one(percent) {
			return false
		}
		d.use(option)
		return true
	}
	d.taken = d.one(35)
	stream("i", "x: string, p: string, n: int", true)
	stream("v", "p: string, n: int", true)
	stream("c", "x: string, p: string, n: int", true)
	var own []string
	if takes(40, "refund_of its own") {
		own = []string{"refund_of: {id: of, value: w}"}
	}
	stream("e", "p: string, n: int, w: decimal, of: string", false, own...)
	if takes(60, "refund_of") {
		stream("r", "of: string, w: decimal", false, "refund_of: {stream: e, id: of, value: w}")
	}
	for _, target := range []string{"i", "c", "e"} {
		if takes(40, "invalidate "+target) {
			stream("x"+target, "of: string", false, fmt.Sprintf("invalidate: {stream: %s, id: of}", target))
		}
	}
}

func (d *drawing) drawRule() {
	d.p.rule = []string{"    attribute: e", "    key: u", "    into: out", "    lookback: " + d.ms(14, 20)}
	d.maybe(40, "max_gap", d.ms(1, 9), d.ms(10, 20))
	parent := d.drawJoin()
	if parent && d.one(20) {
		d.say("preset", "preset: mediamath")
		d.maybe(60, "click_after_conversion", "allow", "ignore")
		d.say("classes", "classes: {A: {touch: c, within: %s}, B: {touch: i, within: %s}}", d.ms(1, 12), d.ms(1, 12))
	} else {
		d.drawClasses(parent)
		if parent {
			d.maybe(15, "click_after_conversion", "allow", "ignore")
		}
	}
	d.maybe(20, "window_end", "exclude", "include")
	d.maybe(20, "instant", "include", "exclude")
	if parent {
		d.maybe(25, "per_parent", "first", "last", "all")
		d.maybe(25, "parent", "allow", "require")
	}
	d.maybe(15, "let", "{odd: touch.n % 2, both: touch.n + e.n}")
	d.maybe(25, "priority", "touch.n", "touch.n % 2", "e.w - touch.n", "i.n", "odd", "both")
	d.maybe(20, "require", "touch.n < 3", "e.n != 2", "touch.n > 0 || e.n > 1", "c.n != 2", "odd == 1")
	d.maybe(30, "across", "all", "class")
	if last := d.drawModels(); last {
		d.maybe(15, "count", "one_per_touch", "every")
		d.maybe(20, "budget", "1", "2", "touch.n", "{max: {c: 2, i: 1}}", "{max: {c: 1, v: 2}, replace: e.n}", "{max: 1, replace: 'e.w - touch.n', windows: [2ms, 5ms]}",
			"{max: touch.n, replace: e.n, windows: {c: 3ms, i: [2ms, 7ms]}}")
		d.maybe(20, "dedup", "e.n", "e.p", "touch.n + e.n", "both")
		d.maybe(25, "retire", "losers", "none")
	}
	if d.one(12) {
		d.say("count", "count: {one_per_key: %s}", d.ms(1, 9))
	}
	d.say("measure", "measure: %s", d.pick("{w: e.w}", "{w: e.w, n: touch.n}", "{w: e.w * e.n}"))
	if d.one(12) {
		d.say("cap", "cap: {measure: w, at: %d.25, per: %s}", 1+d.rng.IntN(4), d.ms(3, 12))
	}
	if d.taken {
		d.maybe(70, "adjust_within", d.ms(1, 5), d.ms(6, 20))
	}
	d.maybe(30, "select", "{n: touch.n}", "{n: i.n, m: c.n}", "{x: i.x}")
	d.maybe(60, "unattributed", "emit")
}

// drawJoin draws what joins touches. It tells whether clicks refer to impressions.
func (d *drawing) drawJoin() (parent bool) {
	var joins []string
	add := func(percent int, stream string, conditions ...string) string {
		if !d.one(percent) {
			return ""
		}
		condition := d.pick(conditions...)
		joins = append(joins, stream+": '"+condition+"'")
		return condition
	}
	add(60, "i", "e.p == i.p", "e.p == i.p && i.n < e.n", "e.p == i.p || i.n == 3")
	add(40, "v", "v.p == e.p", "v.n >= e.n")
	c := add(75, "c", "c.p == e.p", "c.x == i.x", "c.x == i.x && c.p == e.p", "c.n >= i.n", "c.x == i.x && c.n != i.n")
	if len(joins) > 0 {
		d.say("join", "join: {%s}", strings.Join(joins, ", "))
	}
	return strings.Contains(c, "i.")
}

func (d *drawing) drawClasses(parent bool) {
	var classes []string
	for _, name := range []string{"A", "B", "C"}[:1+d.rng.IntN(3)] {
		var touches []string
		for _, s := range []string{"c", "i", "v"} {
			if d.one(45) {
				touches = append(touches, s)
			}
		}
		if len(touches) == 0 {
			touches = []string{d.pick("c", "i", "v")}
		}
		d.rng.Shuffle(len(touches), func(i, j int) { touches[i], touches[j] = touches[j], touches[i] })
		within := d.ms(1, 14)
		if d.one(12) {
			d.use("within of its own")
			within = d.pick(`'string(touch.n * 4) + "ms"'`, `'e.n == 3 ? "soon" : string(e.n * 3) + "ms"'`)
		}
		text := fmt.Sprintf("%s: {touch: [%s], within: %s", name, strings.Join(touches, ", "), within)
		option := func(percent int, key string, values ...string) {
			if d.one(percent) {
				d.use(key)
				text += ", " + key + ": " + d.pick(values...)
			}
		}
		option(20, "min", "1ms", "2ms", "3ms")
		option(20, "where", "touch.n > 0", "e.n < 3", "touch.n != e.n")
		option(15, "expires", `'touch.t + duration(string(touch.n * 3) + "ms")'`, "e.t")
		if parent && slices.Contains(touches, "c") {
			if !slices.Contains(touches, "v") {
				option(40, "anchor", "i")
			}
			option(25, "parent_within", d.ms(2, 14))
		}
		classes = append(classes, text+"}")
	}
	d.say("classes", "classes: {%s}", strings.Join(classes, ", "))
}

// drawModels draws models. It tells whether there is only the last.
func (d *drawing) drawModels() (last bool) {
	if d.one(60) {
		return true
	}
	list := []string{"last", "first", "linear", "{time_decay: 3ms}", "position", "{position: [0, 1, 0], name: middle}", "{w_shaped: touch.n == 2}", "{weights: touch.n}"}
	d.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	list = list[:1+d.rng.IntN(3)]
	for _, m := range list {
		d.use("model " + strings.Trim(strings.Split(m, ":")[0], "{"))
	}
	d.say("model", "model: [%s]", strings.Join(list, ", "))
	return false
}
