package processors

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// trialEvent is an event of a trial: a record without its time, which is in milliseconds.
type trialEvent struct {
	stream int
	at     int64
	id     string
	fields string // JSON members behind the time
}

func (a *trialEvent) value() []byte {
	return fmt.Appendf(nil, `{"id":"%s","t":%d,%s}`, a.id, a.at*1000, a.fields)
}

// randomEvents draws events around a time that goes on. Times, ids and values are few, so that borders, ties, duplicates and conflicts are
// many; ids and keys of one stretch of time do not come back in another.
func randomEvents(rng *rand.Rand, streams, n int) (events []trialEvent) {
	now := int64(0)
	optional := func(name, text string) string {
		if rng.IntN(12) == 0 {
			return ""
		}
		return fmt.Sprintf(`,"%s":%s`, name, text)
	}
	for range n {
		now += rng.Int64N(4) / 3 * (1 + rng.Int64N(2))
		if n := len(events); n > 0 && rng.IntN(20) == 0 {
			events = append(events, events[n-1-rng.IntN(min(n, 30))]) // again
			continue
		}
		a := trialEvent{stream: rng.IntN(streams), at: max(now-rng.Int64N(8+22*rng.Int64N(2)), 0)}
		stretch := now / 8
		user := rng.Int64N(2)
		a.id = fmt.Sprint(stretch*16 + rng.Int64N(8)*2 + user) // rows say nothing of the key
		a.fields = fmt.Sprintf(`"u":"u%d"`, now/64*2+user)
		a.fields += optional("x", fmt.Sprintf(`"x%d"`, rng.IntN(2))) + optional("p", fmt.Sprintf(`"p%d"`, rng.IntN(2)))
		a.fields += optional("n", fmt.Sprint(rng.IntN(4))) + optional("w", fmt.Sprintf("%d.5", rng.IntN(3)))
		if rng.IntN(3) == 0 {
			a.fields += fmt.Sprintf(`,"ver":%d`, rng.IntN(3))
		}
		if a.stream != 3 || rng.IntN(4) == 0 {
			a.fields += optional("of", fmt.Sprintf(`"%d"`, max(stretch-rng.Int64N(3), 0)*16+rng.Int64N(16)))
		}
		events = append(events, a)
	}
	return events
}

// trial runs events through the incremental core, over one table or several that share the keys, and holds what it emits against the
// definition.
type trial struct {
	plan    *rules.Plan
	options func() tables.Options
	parts   []*partition
	logs    [][][2][]byte // changelogs
	clean   []*cleanser
	net     map[string]*codecs.Credit // by key and row key
	rows    map[string][]codecs.Row   // by key: what was accepted, as it came
	stale   map[string]bool           // keys that have changed since the last check
	key     string
	latest  []int64 // by stream
	failure string
	used    []trialEvent // those that were not passed over
}

func newTrial(plan *rules.Plan, instances int, options func() tables.Options) (*trial, error) {
	r := &trial{plan: plan, options: options, net: map[string]*codecs.Credit{}, rows: map[string][]codecs.Row{}, stale: map[string]bool{}}
	for _, s := range plan.Streams {
		r.clean = append(r.clean, newCleanser(plan, s, nil))
		r.latest = append(r.latest, noTime)
	}
	for range instances {
		table, err := tables.Open(shapeOf(plan, plan.Keys[0]), options())
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, nil)
		r.logs = append(r.logs, nil)
		r.open(len(r.parts)-1, table)
	}
	return r, nil
}

func (r *trial) open(i int, table *tables.Table) {
	p := newPartition(r.plan, r.plan.Keys[0], table, func(codecs.Record) {}, NewStats(r.plan).tally())
	p.observed = func(key []byte, row codecs.Row, _ *Raw, what Observation) {
		if what != ObservedLate {
			r.rows[string(key)] = append(r.rows[string(key)], bytes.Clone(row))
		}
	}
	p.changed = func(_ *rules.Rule, before, after *codecs.Credit) {
		c := after
		if c == nil {
			c = before
		}
		id := r.key + string(codecs.AppendRowKey(nil, c))
		if have := r.net[id]; !reflect.DeepEqual(have, before) && r.failure == "" {
			r.failure = fmt.Sprintf("row %q: %+v is taken back, %+v was given", id, before, have)
		}
		if r.net[id] = after; after == nil {
			delete(r.net, id)
		}
	}
	r.parts[i] = p
}

// record lets an event arrive. What has been seen in a version that may have left the state is passed over: an id is known for as
// long as its row is kept.
func (r *trial) record(a *trialEvent) error {
	var ev codecs.Event
	raw := &Raw{Value: a.value()}
	if why := r.clean[a.stream].clean(raw, &ev); why == nil && r.plan.Keys[0].Slots[a.stream] != nil {
		key, _ := keyOf(nil, r.plan.Keys[0], &ev)
		r.key = string(key)
		p := r.parts[int(key[len(key)-1])%len(r.parts)]
		k, w := r.plan.Keys[0], p.watermark()
		seen := counting(r.plan, r.rows[r.key], a.stream, codecs.AppendValue(nil, ev.ID))
		if seen != nil && w != noTime && seen.Time()+k.Retention[a.stream]+k.Lateness < w {
			return nil
		}
		if err := p.acceptEvent(key, &ev, raw); err != nil {
			return err
		}
		r.stale[r.key] = true
	}
	r.used = append(r.used, *a)
	r.latest[a.stream] = max(r.latest[a.stream], a.at*1000)
	w := int64(0)
	for i, rank := range r.plan.Keys[0].Streams {
		reached := r.latest[rank]
		if reached != noTime {
			reached -= r.plan.Streams[rank].Disorder
		}
		if i == 0 || reached < w {
			w = reached
		}
	}
	if w == noTime {
		return nil
	}
	for _, p := range r.parts {
		if err := p.advance(w); err != nil {
			return err
		}
	}
	return nil
}

// restart commits, throws the memory away and restores from the changelog.
func (r *trial) restart(t testing.TB, i int) {
	t.Helper()
	table := r.parts[i].table
	commitTable(t, table, &r.logs[i])
	if err := table.Discard(); err != nil {
		t.Fatal(err)
	}
	restoreTable(t, table, r.logs[i])
	r.open(i, table)
}

// check holds the net of the keys that have changed against the definition.
func (r *trial) check() string {
	if r.failure != "" {
		return r.failure
	}
	eval, rule := rules.NewEvaluator(r.plan), r.plan.Rules[0]
	want := map[string]*codecs.Credit{}
	for key := range r.stale {
		for _, o := range rules.Naive(r.plan, rule, r.rows[key]) {
			for i, m := range rule.Models {
				// What an expression fails on counts as the definition says; the row is right.
				rows, _ := appendRows(nil, r.plan, eval, rule, m, o.Conversion, o.Parts[i], o.Terms)
				for _, c := range rows {
					want[key+string(codecs.AppendRowKey(nil, c))] = c
				}
			}
		}
	}
	for id, c := range want {
		if !reflect.DeepEqual(r.net[id], c) {
			return fmt.Sprintf("row %q: net %+v, by definition %+v", id, r.net[id], c)
		}
	}
	for id, c := range r.net {
		for key := range r.stale {
			if len(id) > len(key) && id[:len(key)] == key && want[id] == nil {
				return fmt.Sprintf("row %q: net %+v, by definition none", id, c)
			}
		}
	}
	clear(r.stale)
	return ""
}

// run lets all events arrive, calls between after each, if it is set, and returns what differs, and at which event.
func (r *trial) run(events []trialEvent, every int, between func()) (failure string, at int, err error) {
	for i := range events {
		if err := r.record(&events[i]); err != nil {
			return "", i, err
		}
		if (i+1)%every == 0 || i == len(events)-1 || r.failure != "" {
			if why := r.check(); why != "" {
				return why, i, nil
			}
		}
		if between != nil {
			between()
		}
	}
	return "", 0, nil
}

func (r *trial) close(t testing.TB) {
	for _, p := range r.parts {
		if err := p.table.Close(); err != nil {
			t.Error(err)
		}
	}
}
