package processors

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const propertyStreams = `
app: ads
streams:
  i: {topic: i, fields: {id: string, t: time_us, u: string, x: string, p: string, n: int}, time: t, id: id, lateness: 100d}
  v: {topic: v, fields: {id: string, t: time_us, u: string, p: string, n: int}, time: t, id: id, lateness: 100d}
  c: {topic: c, fields: {id: string, t: time_us, u: string, x: string, p: string, n: int}, time: t, id: id, lateness: 100d}
  e: {topic: e, fields: {id: string, t: time_us, u: string, p: string, n: int, w: decimal}, time: t, id: id, lateness: 100d}
`

// takingStreams take back events of the others.
const takingStreams = `
  r: {topic: r, fields: {id: string, t: time_us, u: string, of: string, w: decimal}, time: t, id: id, lateness: 100d, refund_of: {stream: e, id: of, value: w}}
  f: {topic: f, fields: {id: string, t: time_us, u: string, of: string}, time: t, id: id, lateness: 100d, invalidate: {stream: i, id: of}}
  g: {topic: g, fields: {id: string, t: time_us, u: string, of: string}, time: t, id: id, lateness: 100d, invalidate: {stream: c, id: of}}
  d: {topic: d, fields: {id: string, t: time_us, u: string, of: string}, time: t, id: id, lateness: 100d, invalidate: {stream: e, id: of}}
`

// propertySource is the streams that a rule is about. Where it can be taken back the streams that do are among them, and records of the
// conversion stream may be refunds themselves.
func propertySource(rule string) string {
	streams := propertyStreams
	if strings.Contains(propertyRules[rule], "adjust_within") && !strings.HasPrefix(rule, "versions") {
		streams = strings.Replace(streams, "p: string, n: int, w: decimal}, time: t, id: id", "p: string, n: int, w: decimal, of: string}, time: t, id: id, refund_of: {id: of, value: w}", 1)
		streams += takingStreams[1:]
	}
	if strings.HasPrefix(rule, "lists") {
		streams = regexp.MustCompile(`(?m)^(  [ice]: .*)}, time: t`).ReplaceAllString(streams, "$1, l: list<int>, m: map<decimal>, o: [{k: string, n: int, d: decimal, s: list<int>}]}, time: t")
	}
	if strings.HasPrefix(rule, "late touches") {
		streams = regexp.MustCompile(`(?m)^(  [ivc]: .*)}$`).ReplaceAllString(streams, "$1, late: accept_while_kept}")
	}
	if strings.HasPrefix(rule, "versions") {
		streams = regexp.MustCompile(`(?m)^(  [ivce]: .*fields: {)(.*)}$`).ReplaceAllString(streams, "${1}ver: int, $2, version: ver}")
	}
	return streams + "rules:\n"
}

// propertyRules exercise every kind of candidate. Windows are a few microseconds, so that random events hit their
// borders.
var propertyRules = map[string]string{
	"no join": `
    classes: {A: {touch: c, within: 5us}, B: {touch: i, within: 9us}}`,
	"join to the conversion": `
    join: {c: c.p == e.p, i: e.p == i.p && i.n < e.n}
    classes: {A: {touch: c, within: 6us, min: 2us}, B: {touch: i, within: 12us}}`,
	"parent, anchored on the touch": `
    max_gap: 7us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 6us}, B: {touch: i, within: 4us}}
    select: {n: i.n, x: i.x}`,
	"parent, anchored on it": `
    max_gap: 7us
    join: {i: e.p == i.p, c: c.x == i.x && c.p == e.p}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: i, within: 4us}}
    select: {n: c.n + i.n}`,
	"parent by a residual only": `
    join: {i: e.p == i.p, c: c.n >= i.n}
    classes: {A: {touch: c, within: 8us, where: c.n + i.n < 5}}`,
	"several streams in a class": `
    join: {i: e.p == i.p, v: v.p == e.p, c: c.x == i.x}
    classes: {A: {touch: [v, c], within: 9us, where: e.n > 0}, B: {touch: [i, v], within: 14us}}
    select: {n: touch.n}`,
	"conditions, with a name": `
    join: {i: e.p == i.p || i.n == 3}
    let: {rest: i.n % 2, even: rest == 0}
    classes: {A: {touch: i, within: 9us, where: even}, B: {touch: i, within: 9us}}
    select: {rest: rest}`,
	"mediamath": `
    preset: mediamath
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 9us}, B: {touch: i, within: 6us}}
    select: {n: i.n}`,
	"mediamath, clicks after too": `
    preset: mediamath
    click_after_conversion: allow
    max_gap: 6us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 9us}, B: {touch: i, within: 6us}}
    select: {n: c.n}`,
	"mediamath, clicks long after": `
    preset: mediamath
    click_after_conversion: allow
    max_gap: 18us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 3us}, B: {touch: i, within: 3us}}`,
	"all models": `
    join: {c: c.p == e.p, i: e.p == i.p}
    model: [last, first, linear, {time_decay: 3us}, position, {position: [0, 1, 0], name: middle}, {w_shaped: touch.n == 2}, {weights: touch.n}]
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}
    select: {n: touch.n}`,
	"all models across classes, by way of parents": `
    max_gap: 7us
    across: all
    join: {i: e.p == i.p, c: c.x == i.x}
    model: [last, first, linear, {time_decay: 3us}, position, {w_shaped: c.n == 2}, {weights: i.n}]
    classes: {A: {touch: c, within: 8us, min: 2us, anchor: i}, B: {touch: [i, v], within: 14us}}
    select: {n: i.n}`,
	"instants, windows without their ends": `
    instant: include
    window_end: exclude
    max_gap: 7us
    join: {i: e.p == i.p, c: c.n >= i.n}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: [c, v], within: 5us, min: 2us}, C: {touch: i, within: 9us}}`,
	"instants, touches anchored": `
    instant: include
    join: {i: e.p == i.p, c: c.x == i.x && c.p == e.p}
    classes: {A: {touch: c, within: 8us, parent_within: 10us}, B: {touch: v, within: 4us}, C: {touch: i, within: 3us}}
    select: {n: i.n}`,
	"mediamath, instants, windows without their ends": `
    preset: mediamath
    instant: include
    window_end: exclude
    click_after_conversion: allow
    max_gap: 6us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 9us}, B: {touch: i, within: 6us}}`,
	"instants, parents that are no touches": `
    instant: include
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us}}`,
	"bounded parents": `
    window_end: exclude
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us, parent_within: 9us}, B: {touch: [c, i], within: 10us, parent_within: 12us}}`,
	"a condition on the winner": `
    join: {c: c.p == e.p, i: e.p == i.p}
    require: touch.n < 3
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}`,
	"priorities": `
    join: {c: c.p == e.p, i: e.p == i.p}
    priority: touch.n % 3
    model: [last, first, linear]
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}`,
	"priorities of parents, with a condition on the winner": `
    max_gap: 9us
    across: all
    join: {i: e.p == i.p, c: c.x == i.x}
    priority: i.n
    require: touch.n > 0
    model: [last, position]
    classes: {A: {touch: c, within: 8us}, B: {touch: [c, i, v], within: 14us}}
    select: {n: i.n}`,
	"priorities, the last alone": `
    join: {i: e.p == i.p, c: c.x == i.x}
    priority: e.w - touch.n
    require: c.n != 2 || e.n != 2
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: i, within: 14us}}`,
	"priorities of parents beside their touches": `
    join: {c: c.x == i.x}
    priority: touch.n
    require: touch.n != 2
    classes: {A: {touch: [c, i], within: 14us}}`,
	"touches that expire by their own terms": `
    window_end: exclude
    join: {c: c.p == e.p}
    model: [last, linear]
    classes: {A: {touch: c, within: 12us, expires: 'c.t + duration(string(c.n * 3) + "us")'}, B: {touch: [i, v], within: 9us}}`,
	"touches that expire with their parents": `
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 9us, expires: 'i.t + duration(string(c.n + i.n) + "us")'}, B: {touch: i, within: 9us, expires: e.t}}`,
	"the first, with a condition on the last": `
    model: first
    require: touch.n < 3
    classes: {A: {touch: [c, v], within: 14us}}`,
	"windows of their own": `
    window_end: exclude
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 'string(c.n * 3 + i.n) + "us"', anchor: i}, B: {touch: [c, v, i], within: 'string(touch.n * 4) + "us"', min: 2us}}`,
	"clicks after, without the preset": `
    click_after_conversion: allow
    max_gap: 6us
    join: {i: e.p == i.p, c: c.x == i.x}
    model: [last, linear]
    classes: {A: {touch: c, within: 9us, min: 2us, anchor: i}, B: {touch: [c, i, v], within: 6us}}`,
	"versions": `
    adjust_within: 6us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 6us}}`,
	"versions, counting": `
    adjust_within: 6us
    budget: {max: 1, replace: e.n}
    retire: losers
    dedup: e.p
    join: {c: c.p == e.p}
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 6us}}`,
	"versions, all models": `
    adjust_within: 3us
    across: all
    model: [last, linear, position]
    classes: {A: {touch: c, within: 8us}, B: {touch: i, within: 12us}}`,
	"the first of a parent": `
    per_parent: first
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: [c, i, v], within: 12us}}`,
	"the last of a parent, several models": `
    per_parent: last
    across: all
    priority: i.n
    join: {i: e.p == i.p, c: c.x == i.x}
    model: [last, linear, first]
    classes: {A: {touch: c, within: 5us}, B: {touch: [c, i], within: 14us}}`,
	"without parents": `
    parent: allow
    max_gap: 6us
    join: {i: e.p == i.p, c: c.x == i.x && c.p == e.p && c.n >= i.n}
    classes: {A: {touch: c, within: 6us, min: 2us}, B: {touch: [c, i, v], within: 9us}}`,
	"without parents, all models": `
    parent: allow
    across: all
    join: {c: c.x == i.x}
    model: [last, linear, position]
    classes: {A: {touch: c, within: 5us, anchor: i}, B: {touch: [c, i], within: 9us}}`,
	"late touches without parents": `
    parent: allow
    join: {c: c.x == i.x && c.n != e.n}
    classes: {A: {touch: c, within: 5us}, B: {touch: [v, i], within: 9us}}`,
	"taken back, without parents": `
    parent: allow
    adjust_within: 6us
    retire: losers
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 6us}}`,
	"the middle alone": `
    model: {position: [0, 1, 0]}
    classes: {A: {touch: [c, v], within: 9us}}`,
	"one conversion per touch": `
    count: one_per_touch
    join: {c: c.p == e.p}
    classes: {A: {touch: c, within: 6us}, B: {touch: [i, v], within: 9us}}`,
	"budgets by stream": `
    budget: {max: {c: 2, i: 1}}
    require: touch.n < 3
    join: {i: e.p == i.p}
    classes: {A: {touch: c, within: 6us}, B: {touch: [i, v], within: 9us}}`,
	"budgets of touches, with dedup keys": `
    instant: include
    let: {kind: e.n % 3}
    budget: touch.n
    dedup: kind + touch.n
    classes: {A: {touch: [c, i], within: 12us}}`,
	"budgets with replacement": `
    budget: {max: 2, replace: e.n, windows: [3us, 7us]}
    dedup: e.p
    classes: {A: {touch: [c, i], within: 12us}}`,
	"budgets with replacement, then one per key and a cap": `
    budget: {max: 1, replace: 'e.n - touch.n'}
    count: {one_per_key: 3us}
    cap: {measure: w, at: 2.25, per: 7us}
    join: {c: c.p == e.p}
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 6us}}`,
	"losers retired": `
    retire: losers
    priority: touch.n % 2
    require: e.n != 3
    join: {c: c.p == e.p}
    classes: {A: {touch: c, within: 9us}, B: {touch: [i, v], within: 14us}}`,
	"losers retired, by way of parents, with budgets": `
    retire: losers
    across: all
    budget: {max: 2, replace: e.w, windows: {c: [2us, 4us], v: 3us}}
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: [i, v], within: 14us}}
    select: {n: i.n}`,
	"one per key, several models": `
    count: {one_per_key: 4us}
    model: [last, linear, position]
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}`,
	"a cap, several models": `
    cap: {measure: w, at: 3, per: 9us}
    model: [last, linear, first]
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}`,
	"mediamath, clicks after too, budgets": `
    preset: mediamath
    click_after_conversion: allow
    max_gap: 6us
    budget: {max: 1, replace: e.n}
    retire: losers
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 9us}, B: {touch: i, within: 6us}}`,
	"taken back": `
    adjust_within: 12us
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 6us}}`,
	"taken back, all models": `
    adjust_within: 6us
    across: all
    priority: touch.n
    model: [last, linear, position]
    classes: {A: {touch: c, within: 8us}, B: {touch: i, within: 12us}}`,
	"taken back, counting": `
    adjust_within: 9us
    budget: {max: 1, replace: e.n}
    retire: losers
    cap: {measure: w, at: 3, per: 9us}
    join: {c: c.x == i.x}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: i, within: 12us}}`,
	"taken back, one per key": `
    adjust_within: 9us
    count: {one_per_key: 6us}
    classes: {A: {touch: [c, i], within: 8us}}`,
	"late touches": `
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: c, within: 8us, anchor: i}, B: {touch: [i, v], within: 14us}}`,
	"late touches, counting": `
    budget: {max: 1, replace: e.n}
    retire: losers
    join: {c: c.p == e.p}
    classes: {A: {touch: [c, v], within: 9us}, B: {touch: i, within: 12us}}`,
	"late touches, all models": `
    across: all
    join: {c: c.x == i.x}
    model: [last, linear, position]
    classes: {A: {touch: c, within: 8us}, B: {touch: [i, v], within: 14us}}`,
	"lists, any and equal": `
    join: {i: 'any(e.l, # in i.l)', c: c.l == i.l}
    classes: {A: {touch: c, within: 8us}, B: {touch: i, within: 12us}}
    select: {l: i.l, first: 'i.l[0]', m: 'i.m["a"]'}`,
	"lists, maps by a key": `
    join: {i: 'i.m["a"] == e.m["a"] && none(i.l, # > 2)', c: 'all(c.l, # in e.l) && c.o == e.o'}
    classes: {A: {touch: c, within: 8us, where: sum(e.l) >= len(c.l)}, B: {touch: i, within: 12us}}
    select: {m: i.m, sum: 'sum(map(e.o, .d))', some: 'filter(e.o, .k == e.p)', least: min(e.l)}`,
	"lists, the first match": `
    let: {entry: 'find(e.o, .k == i.p && 1 in .s)'}
    priority: entry.n
    classes: {A: {touch: i, within: 12us, where: entry.d != 1.5}, B: {touch: c, within: 9us}}
    select: {entry: entry, d: entry.d, last: 'entry.s[-1]'}`,
	"parents beside their touches": `
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {A: {touch: [c, i], within: 9us, where: e.n > 0}, B: {touch: [i, v], within: 14us}}
    select: {n: touch.n}`,
}

func propertyPlan(t testing.TB, rule string, unattributed bool) *rules.Plan {
	src := propertySource(rule) + "  - name: r\n    attribute: e\n    key: u\n    lookback: 20us\n    into: out\n    measure: {w: e.w}" + propertyRules[rule]
	if unattributed {
		src += "\n    unattributed: emit"
	}
	return mustCompile(t, src+"\n")
}

// randomRecord makes a record of few values, so that ties, joins, duplicates and conflicting ids are common; the shorter
// the span of times, the fewer.
func randomRecord(rng *rand.Rand, plan *rules.Plan, span int64) (stream int, value []byte) {
	stream = rng.IntN(len(plan.Streams))
	few := int(span/10) + 1
	optional := func(name, text string) string {
		if rng.IntN(12) == 0 {
			return ""
		}
		return fmt.Sprintf(`,"%s":%s`, name, text)
	}
	b := fmt.Sprintf(`{"id":"%d","t":%d,"u":"u%d"`, rng.IntN(12), rng.Int64N(span), rng.IntN(few))
	b += optional("x", fmt.Sprintf(`"x%d"`, rng.IntN(few+1))) + optional("p", fmt.Sprintf(`"p%d"`, rng.IntN(few)))
	b += optional("n", fmt.Sprint(rng.IntN(4))) + optional("w", fmt.Sprintf("%d.5", rng.IntN(3)))
	if rng.IntN(2) == 0 {
		b += fmt.Sprintf(`,"ver":%d`, rng.IntN(3))
	}
	if rng.IntN(3) > 0 || stream != 3 {
		b += optional("of", fmt.Sprintf(`"%d"`, rng.IntN(12)))
	}
	if slices.ContainsFunc(plan.Streams[stream].Declared, func(f codecs.Field) bool { return f.Of != nil }) {
		b += optional("l", randomList(rng, func() string { return fmt.Sprint(rng.IntN(4)) }))
		b += optional("m", []string{"{}", `{"a":1.50}`, `{"a":1.5,"b":2}`, `{"b":2,"a":"1"}`, `{"a":null}`}[rng.IntN(5)])
		b += optional("o", randomList(rng, func() string {
			return []string{`{"k":"p0","n":1,"d":0.5}`, `{"n":2,"s":[1,0],"k":"p0"}`, `{"k":"p1","s":[1],"d":1.5,"else":[]}`, `{"s":[]}`}[rng.IntN(4)]
		}))
	}
	return stream, []byte(b + "}")
}

// randomList is a list of up to 3 elements, some of them alike.
func randomList(rng *rand.Rand, element func() string) string {
	list := make([]string, rng.IntN(4))
	for i := range list {
		list[i] = element()
	}
	return "[" + strings.Join(list, ",") + "]"
}

// engine is a partition with the net of what it has emitted.
type engine struct {
	t     testing.TB
	plan  *rules.Plan
	part  *partition
	table *tables.Table
	clean []*cleanser
	net   map[string]*codecs.Credit // by key and row key
	key   string
	rows  map[string][]codecs.Row // by key: what was accepted, as it came
	taken int                     // how many
}

func newEngine(t testing.TB, plan *rules.Plan, o tables.Options) *engine {
	e := &engine{t: t, plan: plan, net: map[string]*codecs.Credit{}, rows: map[string][]codecs.Row{}}
	for _, s := range plan.Streams {
		e.clean = append(e.clean, newCleanser(plan, s, nil))
	}
	table, err := tables.Open(shapeOf(plan, plan.Keys[0]), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	e.table = table
	e.open()
	return e
}

func (e *engine) open() {
	e.part = newPartition(e.plan, e.plan.Keys[0], e.table, func(codecs.Record) {}, NewStats(e.plan).tally())
	e.part.observed = func(key []byte, row codecs.Row, _ *Raw, what Observation) {
		if what != ObservedLate {
			e.taken++
			e.rows[string(key)] = append(e.rows[string(key)], bytes.Clone(row))
		}
	}
	e.part.changed = func(_ *rules.Rule, before, after *codecs.Credit) {
		c := after
		if c == nil {
			c = before
		}
		id := e.key + string(codecs.AppendRowKey(nil, c))
		if have := e.net[id]; !reflect.DeepEqual(have, before) {
			e.t.Fatalf("row %q: %+v is taken back, %+v was given", id, before, have)
		}
		if after == nil {
			delete(e.net, id)
			return
		}
		e.net[id] = after
	}
}

func (e *engine) accept(stream int, value []byte) {
	var ev codecs.Event
	raw := &Raw{Value: value}
	if why := e.clean[stream].clean(raw, &ev); why != nil {
		e.t.Fatal(why)
	}
	key, why := keyOf(nil, e.plan.Keys[0], &ev)
	if why != nil {
		e.t.Fatal(why)
	}
	e.key = string(key)
	if !slices.Contains(e.plan.Keys[0].Streams, stream) {
		return
	}
	if err := e.part.acceptEvent(key, &ev, raw); err != nil {
		e.t.Fatal(err)
	}
}

// counting returns the version of an event that counts among rows of one key, nil where there is none.
func counting(plan *rules.Plan, rows []codecs.Row, stream int, id []byte) (best codecs.Row) {
	for _, row := range rows {
		if row.Stream() == stream && bytes.Equal(row.ID(), id) && (best == nil || plan.Streams[stream].Precedes(row, best)) {
			best = row
		}
	}
	return best
}

// batch is the rows of all keys by definition.
func (e *engine) batch() map[string]*codecs.Credit {
	want := map[string]*codecs.Credit{}
	eval := rules.NewEvaluator(e.plan)
	r := e.plan.Rules[0]
	for key, rows := range e.rows {
		for _, o := range rules.Naive(e.plan, r, rows) {
			for i, m := range r.Models {
				rows, err := appendRows(nil, e.plan, eval, r, m, o.Conversion, o.Parts[i], o.Terms)
				if err != nil {
					e.t.Fatal(err)
				}
				for _, c := range rows {
					want[key+string(codecs.AppendRowKey(nil, c))] = c
				}
			}
		}
	}
	return want
}

// check tells how the net differs from the batch answer over the same events, "" where it does not.
func (e *engine) check() string {
	want := e.batch()
	for id, c := range want {
		if !reflect.DeepEqual(e.net[id], c) {
			return fmt.Sprintf("row %q: net %+v, batch %+v", id, e.net[id], c)
		}
	}
	if len(want) != len(e.net) {
		return fmt.Sprintf("net has %d rows, batch %d", len(e.net), len(want))
	}
	return ""
}

type arrival struct {
	stream int
	value  []byte
}

// propertyStores are the ways a table can live, with limits that random histories reach.
func propertyStores(t *testing.T) map[string]func() tables.Options {
	return map[string]func() tables.Options{
		"memory":  func() tables.Options { return tables.Options{} },
		"indexed": func() tables.Options { return tables.Options{LargeRows: 2} },
		"disk": func() tables.Options {
			return tables.Options{Dir: t.TempDir(), CacheBytes: 1, LargeRows: 5, ShortRows: 2}
		},
	}
}

func TestEveryPrefixEqualsBatch(t *testing.T) {
	rounds := uint64(36)
	if testing.Short() {
		rounds = 5
	}
	for rule := range propertyRules {
		for store, options := range propertyStores(t) {
			t.Run(rule+", "+store, func(t *testing.T) {
				n := fewer(rounds, rule)
				if store == "disk" {
					n = max(n/10, 1)
				}
				for seed := range n {
					rng := rand.New(rand.NewPCG(seed, 7))
					span := []int64{25, 6}[seed%2]
					plan := propertyPlan(t, rule, seed%4 < 2)
					e := newEngine(t, plan, options())
					var log [][2][]byte
					for step := range 60 {
						stream, value := randomRecord(rng, plan, span)
						e.accept(stream, value)
						if why := e.check(); why != "" {
							t.Fatalf("seed %d, step %d, after %s: %s", seed, step, value, why)
						}
						if rng.IntN(10) == 0 {
							commitTable(t, e.table, &log)
							if err := e.table.Discard(); err != nil {
								t.Fatal(err)
							}
							restoreTable(t, e.table, log)
							e.open()
						}
					}
				}
			})
		}
	}
}

// fewer is how often a rule is tried: each of many models costs what a rule does.
func fewer(rounds uint64, rule string) uint64 {
	if strings.Contains(propertyRules[rule], "model: [") {
		return max(rounds/6, 1)
	}
	return rounds
}

func commitTable(t testing.TB, table *tables.Table, log *[][2][]byte) {
	t.Helper()
	table.Changes(func(k, v []byte) { *log = append(*log, [2][]byte{bytes.Clone(k), bytes.Clone(v)}) })
	if err := table.Commit(int64(len(*log))); err != nil {
		t.Fatal(err)
	}
}

func restoreTable(t testing.TB, table *tables.Table, log [][2][]byte) {
	t.Helper()
	for i := table.Position(); i < int64(len(log)); i++ {
		if err := table.Load(log[i][0], log[i][1], i); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Loaded(t.Context(), int64(len(log))); err != nil {
		t.Fatal(err)
	}
}

func TestEveryOrderOfArrivalHasTheSameNet(t *testing.T) {
	for rule := range propertyRules {
		t.Run(rule, func(t *testing.T) {
			for seed := range uint64(2) {
				rng := rand.New(rand.NewPCG(seed, 11))
				plan := propertyPlan(t, rule, true)
				var events []arrival
				for len(events) < 6 {
					stream, value := randomRecord(rng, plan, 12)
					events = append(events, arrival{stream, value})
				}
				orders := 0
				permute(events, func(order []arrival) {
					orders++
					e := newEngine(t, plan, tables.Options{})
					for _, a := range order {
						e.accept(a.stream, a.value)
						if rng.IntN(3) == 0 {
							e.accept(a.stream, a.value)
						}
					}
					if why := e.check(); why != "" {
						t.Fatalf("seed %d, order %v: %s", seed, order, why)
					}
				})
				if orders != 720 {
					t.Fatalf("%d orders", orders)
				}
			}
		})
	}
}

// permute calls f with every order of events (Heap's algorithm).
func permute(events []arrival, f func([]arrival)) {
	var step func(n int)
	step = func(n int) {
		if n == 1 {
			f(events)
			return
		}
		for i := range n {
			step(n - 1)
			if n%2 == 0 {
				events[i], events[n-1] = events[n-1], events[i]
			} else {
				events[0], events[n-1] = events[n-1], events[0]
			}
		}
	}
	step(len(events))
}
