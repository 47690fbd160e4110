package processors

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// gather collects copies of a history's rows.
type gather struct{ rows []codecs.Row }

func (g *gather) Visit(row codecs.Row) bool {
	g.rows = append(g.rows, bytes.Clone(row))
	return true
}

// A history that is full lets its oldest touches without credit go, each with a reject, and no row changes by that: what
// was emitted stays what the history says.
func TestFullHistoriesLoseNoCredit(t *testing.T) {
	alone(t)
	const limit = 6
	for rule := range propertyRules {
		t.Run(rule, func(t *testing.T) {
			for seed := range uint64(10) {
				rng := rand.New(rand.NewPCG(seed, 13))
				plan := propertyPlan(t, rule, seed%2 == 0)
				plan.Keys[0].MaxTouches = limit
				e := newEngine(t, plan, tables.Options{LargeRows: 4})
				rejects, accepted := 0, 0
				e.part.emit = func(r codecs.Record) {
					for _, h := range r.Headers {
						if h.Key == codecs.HeaderException && string(h.Value) == reasonMaxTouches {
							rejects++
						}
					}
				}
				for step := range 120 {
					stream, value := randomRecord(rng, plan, 25)
					value = bytes.Replace(value, []byte(`"id":"`), fmt.Appendf(nil, `"id":"%d-`, step), 1) // no conflicts
					e.accept(stream, value)
					accepted = 0
					for key, rows := range e.rows {
						accepted += len(rows)
						e.wantConsistent(seed, step, key, limit)
					}
				}
				kept := 0
				for key := range e.rows {
					h, err := e.table.History([]byte(key))
					if err != nil {
						t.Fatal(err)
					}
					kept += events(plan, h)
					if overflowed := events(plan, h) < len(e.rows[key]); h.Capped() != overflowed {
						t.Errorf("seed %d: marked %t, overflowed %t", seed, h.Capped(), overflowed)
					}
				}
				if rejects == 0 || rejects != accepted-kept {
					t.Errorf("seed %d: %d rejects; %d events were accepted and %d are kept", seed, rejects, accepted, kept)
				}
				var log [][2][]byte
				commitTable(t, e.table, &log)
				again := newEngine(t, plan, tables.Options{})
				restoreTable(t, again.table, log)
				for key, rows := range e.rows {
					h, err := again.table.History([]byte(key))
					if err != nil {
						t.Fatal(err)
					}
					if overflowed := events(plan, h) < len(rows); h.Capped() != overflowed {
						t.Errorf("seed %d: restored as marked %t, overflowed %t", seed, h.Capped(), overflowed)
					}
				}
			}
		})
	}
}

// events counts the rows of a history that are events.
func events(plan *rules.Plan, h *tables.History) (n int) {
	for s := range plan.Streams {
		n += h.Count(s)
	}
	return n
}

// wantConsistent checks one key's history against its bound, and every conversion's row against what was emitted for it.
func (e *engine) wantConsistent(seed uint64, step int, key string, limit int) {
	e.t.Helper()
	h, err := e.table.History([]byte(key))
	if err != nil {
		e.t.Fatal(err)
	}
	var all gather
	h.Ascend(&all)
	rule := e.plan.Rules[0]
	holders, said := map[string]bool{}, 0
	hold := func(c *rules.Candidate) {
		for _, r := range []codecs.Row{c.Touch, c.Parent} {
			if r != nil {
				holders[r.Identity()] = true
			}
		}
	}
	saying := func(rows []*codecs.Credit, err error) {
		if err != nil && !strings.Contains(err.Error(), "no touch has a weight") {
			e.t.Fatal(err)
		}
		for _, credit := range rows {
			said++
			if have := e.net[key+string(codecs.AppendRowKey(nil, credit))]; !reflect.DeepEqual(have, credit) {
				e.t.Fatalf("seed %d, step %d: the history says %+v, emitted was %+v", seed, step, credit, have)
			}
		}
	}
	e.part.holdParents(h, hold)
	if rule.Counting != nil {
		e.part.eval.CountHolders(rule, h, marksOf{e.part, h}, hold)
		counted, err := e.part.eval.Count(rule, h, math.MinInt64, nil, marksOf{e.part, h})
		if err != nil {
			e.t.Fatal(err)
		}
		for i := range counted {
			saying(e.part.countedRows(rule, &counted[i], h))
		}
	} else {
		for _, row := range all.rows {
			if row.Stream() != rule.Conversion {
				continue
			}
			saying(e.part.rows(rule, row, h))
			found, err := e.part.eval.Candidates(rule, row, h)
			if err != nil {
				e.t.Fatal(err)
			}
			for _, c := range e.part.eval.Holders(rule, found) {
				hold(&c)
			}
		}
	}
	emitted := 0
	for id := range e.net {
		if strings.HasPrefix(id, key) {
			emitted++
		}
	}
	if said != emitted {
		e.t.Fatalf("seed %d, step %d: the history has %d rows, emitted were %d", seed, step, said, emitted)
	}
	touches := 0
	for _, row := range all.rows {
		takes := slices.ContainsFunc(rule.Takings, func(t *rules.Taking) bool { return t.Stream == row.Stream() })
		if row.Stream() < len(e.plan.Streams) && row.Stream() != rule.Conversion && !takes && !holders[row.Identity()] {
			touches++
		}
	}
	if touches > limit {
		e.t.Fatalf("seed %d, step %d: %d touches without credit, the bound is %d", seed, step, touches, limit)
	}
}
