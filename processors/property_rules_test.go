package processors

import (
	"regexp"
	"strings"
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
