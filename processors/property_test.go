package processors

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

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
	alone(t)
	rounds := uint64(18)
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
	alone(t)
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
