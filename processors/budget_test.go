package processors

import (
	"math"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// livedState is what a table has come to by itself, on the average over the last part of what it was given.
type livedState struct {
	rows, keys, memory, disk float64
	looks                    float64
	changelog, records       int64 // bytes and number of the rows' records
}

// live lets a table take events until they end, and looks at it over the last eighth of them.
func live(t *testing.T, plan *rules.Plan, o tables.Options, events int, next func(take func(key []byte, ev *codecs.Event)) bool) *livedState {
	t.Helper()
	k := plan.Keys[0]
	table, err := tables.Open(shapeOf(plan, k), o)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	p := newPartition(plan, k, table, func(codecs.Record) {}, NewStats(plan).tally())
	s := &livedState{}
	seen := map[string]bool{}
	n, latest, position := 0, int64(math.MinInt64), int64(0)
	commit := func() {
		records := int64(0)
		table.Changes(func(key, value []byte) {
			records++
			if kind, err := codecs.DecodeChangelogKey(key); err == nil && kind.Kind == codecs.ChangelogEntry && value != nil {
				s.changelog += int64(len(key) + len(value))
				s.records++
			}
		})
		position += records
		if err := table.Commit(position); err != nil {
			t.Fatal(err)
		}
	}
	for next(func(key []byte, ev *codecs.Event) {
		seen[string(key)] = true
		if err := p.acceptEvent(key, ev, &Raw{}); err != nil {
			t.Fatal(err)
		}
		latest = max(latest, ev.Time)
		if err := p.advance(latest); err != nil {
			t.Fatal(err)
		}
	}) {
		if n++; n%5000 == 0 {
			commit()
		}
		if n < events*7/8 || n%(events/64) != 0 {
			continue
		}
		commit()
		s.looks++
		s.memory += float64(table.Bytes())
		s.disk += float64(table.DiskBytes())
		s.keys += float64(table.Keys())
		if o.Dir != "" {
			continue
		}
		for key := range seen {
			h, err := table.History([]byte(key))
			if err != nil {
				t.Fatal(err)
			}
			s.rows += float64(h.Len())
		}
	}
	for _, v := range []*float64{&s.rows, &s.keys, &s.memory, &s.disk} {
		*v /= s.looks
	}
	return s
}

// within fails unless got differs from want by a share of it at most.
func within(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	t.Logf("%s: reckoned %.0f, is %.0f: %+.1f%%", what, got, want, 100*(got/want-1))
	if math.Abs(got/want-1) > share {
		t.Errorf("%s: reckoned %.0f, is %.0f, which differs by more than %.0f%%", what, got, want, 100*share)
	}
}

// How near a budget is to what tables come to.
const (
	rowsTolerance   = 0.05
	memoryTolerance = 0.15
	diskTolerance   = 0.3 // stores merge their files now and then
)

// A budget from a sample of a realistic stream, of all of it or of its first eighth, is what a table comes to that takes the stream.
func TestBudgetIsWhatTablesTake(t *testing.T) {
	alone(t)
	t.Parallel()
	plan := shippedPlan(t)
	plan.Settings.Partitions = 8
	c := gen.Default()
	c.Events, c.Users, c.Spread = 400_000, 40_000, 90*24*time.Hour // more than twice what impressions are kept
	ranks := map[string]int{"impression": 0, "click": 1, "conversion": 2}
	all, part := NewTrafficSampler(plan, nil), NewTrafficSampler(plan, nil)
	source := func(sample bool) func(take func(key []byte, ev *codecs.Event)) bool {
		g, err := gen.New(c)
		if err != nil {
			t.Fatal(err)
		}
		var cleaners []*cleanser
		for _, s := range plan.Streams {
			cleaners = append(cleaners, newCleanser(plan, s, nil))
		}
		var rec gen.Record
		var ev codecs.Event
		var key []byte
		n := uint64(0)
		return func(take func(key []byte, ev *codecs.Event)) bool {
			if !g.Next(&rec) {
				return false
			}
			n++
			rank := ranks[rec.Stream]
			raw := Raw{Value: rec.Value, Origin: codecs.Origin{Timestamp: rec.Arrival}}
			if sample {
				all.Record(rank, &raw)
				if n < c.Events/8 {
					part.Record(rank, &raw)
				}
			}
			if cleaners[rank].clean(&raw, &ev) == nil {
				key, _ = keyOf(key[:0], plan.Keys[0], &ev)
				take(key, &ev)
			}
			return true
		}
	}
	inMemory := live(t, plan, tables.Options{}, int(c.Events), source(true))
	onDisk := live(t, plan, tables.Options{Dir: t.TempDir(), WriteBytes: int64(storeLogs(plan, 8) / logFactor)}, int(c.Events), source(false))
	for name, sampler := range map[string]*TrafficSampler{"all": all, "an eighth": part} {
		traffic := sampler.Traffic()
		b, err := NewBudget(plan, &traffic, DefaultBudgetOptions())
		if err != nil {
			t.Fatal(err)
		}
		k := &b.Keys[0]
		within(t, name+": rows", k.Events, inMemory.rows, rowsTolerance)
		within(t, name+": keys", k.Keys, inMemory.keys, memoryTolerance)
		within(t, name+": memory", k.Memory, inMemory.memory, memoryTolerance)
		within(t, name+": disk", k.Disk-7*storeLogs(plan, 8), onDisk.disk, diskTolerance)
		bytes, rate := 0.0, 0.0
		for _, s := range k.Streams {
			bytes += s.Rate * s.Disk / diskFactor
			rate += s.Rate
		}
		within(t, name+": changelog record", bytes/rate, float64(onDisk.changelog)/float64(onDisk.records), 0.02)
	}
}

// A budget from numbers alone: so many events per second of rows of a size, over so many keys.
func TestBudgetOfKnownRates(t *testing.T) {
	t.Parallel()
	for _, keys := range []int{200_000, 20_000, 1_000} {
		plan := shippedPlan(t)
		const events = 300_000
		g := newTraffic(keys, 1)
		g.step = int64(120*day/time.Microsecond) / events
		rows := make([]StreamTraffic, len(plan.Streams))
		counts, keyBytes := make([]float64, len(plan.Streams)), 0
		n := 0
		actual := live(t, plan, tables.Options{}, events, func(take func(key []byte, ev *codecs.Event)) bool {
			if n++; n > events {
				return false
			}
			ev := g.next()
			row := codecs.AppendRow(nil, ev, plan.Streams[ev.Stream].Kept)
			rows[ev.Stream].Row += float64(len(row))
			rows[ev.Stream].ID += float64(len(row.ID()))
			counts[ev.Stream]++
			keyBytes = len(g.key)
			take(g.key, ev)
			return true
		})
		for i := range rows {
			rows[i] = StreamTraffic{Rate: counts[i] / float64(events) / float64(g.step) * 1e6, Row: rows[i].Row / counts[i], ID: rows[i].ID / counts[i]}
		}
		traffic := &Traffic{Streams: rows, Keys: []KeyTraffic{{Bytes: float64(keyBytes), Distinct: math.Min(float64(keys), actual.keys)}}}
		b, err := NewBudget(plan, traffic, DefaultBudgetOptions())
		if err != nil {
			t.Fatal(err)
		}
		within(t, "rows", b.Keys[0].Events, actual.rows, rowsTolerance)
		within(t, "memory", b.Keys[0].Memory, actual.memory, memoryTolerance)
	}
}

// What a budget says of more lateness is what a budget of the later rules says, be it a little or so much that histories are indexed.
func TestGrowthIsTheDifferenceOfBudgets(t *testing.T) {
	t.Parallel()
	plan := shippedPlan(t)
	traffic := DeclaredTraffic(plan)
	for i := range traffic.Streams {
		traffic.Streams[i].Rate = 10
	}
	traffic.Keys[0].Distinct = 1e6
	budget := func(plan *rules.Plan) *Budget {
		t.Helper()
		b, err := NewBudget(plan, &traffic, DefaultBudgetOptions())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	now := budget(plan)
	for more, tolerance := range map[time.Duration]float64{0: 0, time.Minute: 0, day: 0.5, 20 * day: 0.001} {
		later := plan.Later(more.Microseconds())
		g, err := now.Growth(later, &traffic)
		if err != nil {
			t.Fatal(err)
		}
		if more == 0 {
			if math.Abs(g.Events)+math.Abs(g.Memory)+math.Abs(g.Disk)+math.Abs(g.Changelog) > 1e-6*now.Keys[0].Events {
				t.Errorf("without more lateness it grows by %v", g)
			}
			continue
		}
		then := budget(later)
		within(t, "events", g.Events, then.Keys[0].Events-now.Keys[0].Events, 0.001)
		within(t, "disk", g.Disk, then.Disk-now.Disk, 0.001)
		within(t, "changelog", g.Changelog, then.Changelog-now.Changelog, 0.001)
		if tolerance > 0 { // of a minute the models' chances say more than the minute does
			within(t, "memory", g.Memory, then.Memory-now.Memory, tolerance)
		}
	}
}
