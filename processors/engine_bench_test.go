package processors

import (
	"fmt"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// traffic makes decoded events of the shipped rules for a number of keys, in steady state: as many touches come within
// the 30 days that state is kept as leave it. 94% are impressions, 5% clicks of the key's last impression and 1%
// conversions; ids have 36 characters.
type traffic struct {
	rng   *rand.Rand
	last  []uint32 // by key: number of its last impression
	n     uint32
	now   int64
	step  int64
	event codecs.Event
	key   []byte
}

const benchEpoch = 1_767_225_600_000_000 // 2026-01-01

func newTraffic(keys, touches int) *traffic {
	const month = 30 * 86_400_000_000
	return &traffic{rng: rand.New(rand.NewPCG(1, 2)), last: make([]uint32, keys), now: benchEpoch, step: max(1, int64(month)/int64(keys*touches))}
}

// uuidText returns a text like 0123abcd-0000-4000-8000-6900000000ff.
func uuidText(kind byte, n uint32) codecs.Value {
	const digits = "0123456789abcdef"
	text := []byte("00000000-0000-4000-8000-000000000000")
	text[24], text[25] = digits[kind>>4], digits[kind&15]
	for i, x := 0, n*2654435761; i < 8; i++ {
		text[i], text[35-i] = digits[x&15], digits[n>>(4*i)&15]
		x >>= 4
	}
	return codecs.StringValue(string(text))
}

var benchPixels = [4]codecs.Value{codecs.StringValue("px-7-0"), codecs.StringValue("px-7-1"), codecs.StringValue("px-7-2"), codecs.StringValue("px-7-3")}

// next makes the next event; slots are those of the shipped rules (see TestTrafficFitsTheShippedRules).
func (g *traffic) next() *codecs.Event {
	k := g.rng.IntN(len(g.last))
	g.n++
	g.now += g.step
	e := &g.event
	user, advertiser := uuidText('u', uint32(k)), codecs.StringValue("adv-7")
	pixel := benchPixels[k&3]
	e.Time = g.now
	switch x := g.rng.IntN(100); {
	case x >= 99:
		e.Stream, e.ID = 2, uuidText('e', g.n)
		e.Fields = append(e.Fields[:0], pixel, codecs.DecimalValue(int64(x), 2), advertiser, user)
	case x >= 94:
		e.Stream, e.ID = 1, uuidText('c', g.n)
		e.Fields = append(e.Fields[:0], uuidText('x', g.last[k]), advertiser, user)
	default:
		g.last[k] = g.n
		e.Stream, e.ID = 0, uuidText('i', g.n)
		e.Fields = append(e.Fields[:0], uuidText('x', g.n), pixel, codecs.StringValue("cmp-7-31"), advertiser, user)
	}
	g.key = codecs.AppendValue(codecs.AppendValue(g.key[:0], user), advertiser)
	return e
}

func shippedPlan(t testing.TB) *rules.Plan {
	t.Helper()
	src, err := os.ReadFile("../rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return mustCompile(t, string(src))
}

func TestTrafficFitsTheShippedRules(t *testing.T) {
	plan := shippedPlan(t)
	want := [][]string{
		{"auction_id", "pixel_id", "campaign_id", "advertiser_id", "user_id"},
		{"auction_id", "advertiser_id", "user_id"},
		{"pixel_id", "value", "advertiser_id", "user_id"},
	}
	for rank, s := range plan.Streams {
		var got []string
		for _, slot := range s.Slots {
			got = append(got, s.Declared[slot.Field].Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(want[rank]) {
			t.Errorf("stream %s: slots %v, the traffic has %v", s.Name, got, want[rank])
		}
	}
}

// BenchmarkEngine is the core alone: history, evaluation, output rows and expiry of decoded events, one at a time.
// traffic/op is the cost of making the events, which ns/op includes.
func BenchmarkEngine(b *testing.B) {
	for _, size := range []struct{ keys, touches int }{
		{1_000, 10}, {10_000, 10}, {100_000, 10}, {100, 10_000}, {100_000, 2}, {10_000_000, 2},
	} {
		b.Run(fmt.Sprintf("keys=%d/touches=%d", size.keys, size.touches), func(b *testing.B) {
			if testing.Short() && size.keys > 1_000_000 {
				b.Skip("takes minutes and gigabytes")
			}
			benchmarkCore(b, shippedPlan(b), size.keys, size.touches)
		})
	}
}

// benchmarkCore measures the plan, which reads what the shipped one reads, in the steady state of so many touches per key.
func benchmarkCore(b *testing.B, plan *rules.Plan, keys, touches int) {
	plan.Keys[0].MaxTouches = 2 * touches * 10 // histories vary around their mean; none is to overflow
	table, err := tables.Open(shapeOf(plan, plan.Keys[0]), tables.Options{Untracked: true})
	if err != nil {
		b.Fatal(err)
	}
	rows := 0
	p := newPartition(plan, plan.Keys[0], table, func(codecs.Record) { rows++ }, NewStats(plan).tally())
	g := newTraffic(keys, touches)
	feed := func(n int) {
		for range n {
			e := g.next()
			if err := p.acceptEvent(g.key, e, &Raw{}); err != nil {
				b.Fatal(err)
			}
			if err := p.advance(e.Time); err != nil {
				b.Fatal(err)
			}
		}
	}
	feed(keys * touches)
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	rows = 0
	b.ResetTimer()
	before := cpuTime()
	feed(b.N)
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(m.HeapAlloc)/float64(keys*touches), "heap-B/event")
	b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
	if rows == 0 && b.N > 1000 {
		b.Fatal("no rows were emitted")
	}
}

// cpuTime is the user and system time of the process so far, in nanoseconds.
func cpuTime() int64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// BenchmarkTraffic is the cost of making the events of BenchmarkEngine.
func BenchmarkTraffic(b *testing.B) {
	g := newTraffic(100_000, 10)
	for range b.N {
		g.next()
	}
}

// BenchmarkModels is the core under one model or several, where all of some 100 touches per key are candidates of each conversion: what a
// model costs among events of which one in a hundred is a conversion.
func BenchmarkModels(b *testing.B) {
	src, err := os.ReadFile("../rules.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, models := range []string{"last", "first", "linear", "{time_decay: 7d}", "position", "[last, first, linear, {time_decay: 7d}, position]"} {
		b.Run(models, func(b *testing.B) {
			text := strings.NewReplacer("within: 7d", "within: 30d", "within: 1d", "within: 30d",
				"model: last ", "across: all\n    model: "+models+" ").Replace(string(src))
			benchmarkCore(b, mustCompile(b, text), 1000, 100)
		})
	}
}

// BenchmarkCounting is the core where only some conversions count, over keys with 100 touches and a few conversions among them: what each way costs
// beside `every`.
func BenchmarkCounting(b *testing.B) {
	src, err := os.ReadFile("../rules.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, count := range []string{"count: every", "count: one_per_touch", "budget: {max: 3, replace: conversion.value}", "retire: losers",
		"count: {one_per_key: 1d}", "cap: {measure: revenue, at: 100, per: 30d}"} {
		b.Run(count, func(b *testing.B) {
			text := strings.NewReplacer("within: 7d", "within: 30d", "within: 1d", "within: 30d",
				"model: last ", count+"\n    model: last ").Replace(string(src))
			benchmarkCore(b, mustCompile(b, text), 1000, 100)
		})
	}
}
