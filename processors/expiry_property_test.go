package processors

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

var microseconds = regexp.MustCompile(`(\d+)us\b`)

// expiryPlan is propertyPlan with windows a thousand times as long, since expiry goes by the millisecond, and with a
// finite lateness, which is given in milliseconds by stream.
func expiryPlan(t testing.TB, rule string, lateness [4]int64) *rules.Plan {
	streams := propertySource(rule)
	for _, l := range lateness {
		streams = strings.Replace(streams, "lateness: 100d", fmt.Sprintf("lateness: %dms", l), 1)
	}
	streams = strings.ReplaceAll(streams, "lateness: 100d", fmt.Sprintf("lateness: %dms", lateness[0]))
	src := streams + "  - name: r\n    attribute: e\n    key: u\n    lookback: 20us\n    into: out\n    unattributed: emit\n    measure: {w: e.w}" +
		propertyRules[rule] + "\n"
	return mustCompile(t, microseconds.ReplaceAllString(src, "${1}ms"))
}

// expiringEngine is an engine whose watermark advances as a replay's does.
type expiringEngine struct {
	*engine
	latest []int64 // by stream
}

// arrive takes a record and advances the watermark. It tells whether it was taken: a late record is not in the batch.
// Neither is one whose id has been seen in a version that may have left the state by now, because an id is known
// for as long as its row is kept.
func (e *expiringEngine) arrive(stream int, time int64, value []byte) (late bool) {
	s, w := e.plan.Streams[stream], e.part.watermark()
	var ev codecs.Event
	if why := e.clean[stream].clean(&Raw{Value: value}, &ev); why != nil {
		e.t.Fatal(why)
	}
	if k := e.plan.Keys[0]; k.Slots[stream] != nil && w != noTime {
		key, _ := keyOf(nil, k, &ev)
		seen := counting(e.plan, e.rows[string(key)], stream, codecs.AppendValue(nil, ev.ID))
		if seen != nil && seen.Time()+k.Retention[stream]+k.Lateness < w {
			return false
		}
	}
	late = w != noTime && time < w-s.Lateness
	e.accept(stream, value)
	e.latest[stream] = max(e.latest[stream], time)
	w = e.latest[e.plan.Keys[0].Streams[0]]
	for _, rank := range e.plan.Keys[0].Streams {
		w = min(w, e.latest[rank])
	}
	if w == noTime {
		return late
	}
	if err := e.part.advance(w); err != nil {
		e.t.Fatal(err)
	}
	return late
}

// kept counts the rows that the table still has.
func (e *expiringEngine) kept() (n int) {
	for key := range e.rows {
		h, err := e.table.History([]byte(key))
		if err != nil {
			e.t.Fatal(err)
		}
		n += events(e.plan, h)
	}
	return n
}

// distinct counts the rows that the batch is about.
func (e *expiringEngine) distinct() (n int) {
	for _, rows := range e.rows {
		seen := map[string]bool{}
		for _, row := range rows {
			seen[fmt.Sprint(row.Stream())+"/"+string(row.ID())] = true
		}
		n += len(seen)
	}
	return n
}

// driftingRecord is a random record some milliseconds around now. Ids are few within a stretch of time and never come
// back after it.
func driftingRecord(rng *rand.Rand, plan *rules.Plan, now, disorder int64) (stream int, time int64, value []byte) {
	stream, value = randomRecord(rng, plan, 12)
	time = max(now-rng.Int64N(disorder+1), 0)
	id := now/8*16 + rng.Int64N(16)
	text := regexp.MustCompile(`"id":"\d+","t":\d+`).ReplaceAllString(string(value),
		`"id":"`+strconv.FormatInt(id, 10)+`","t":`+strconv.FormatInt(time*1000, 10))
	text = regexp.MustCompile(`"of":"\d+"`).ReplaceAllString(text, `"of":"`+strconv.FormatInt(max(now/8-rng.Int64N(3), 0)*16+rng.Int64N(16), 10)+`"`)
	return stream, time * 1000, []byte(text)
}

// Whatever has expired, an accepted event changes rows as if nothing had: the net is the batch answer over the accepted
// events, late ones aside, after each of them.
func TestExpiryLosesNothingThatAnAcceptedEventNeeds(t *testing.T) {
	alone(t)
	rounds := uint64(6)
	if testing.Short() {
		rounds = 4
	}
	for rule := range propertyRules {
		for store, options := range propertyStores(t) {
			t.Run(rule+", "+store, func(t *testing.T) {
				n := max(fewer(rounds, rule), 2)
				if store == "disk" {
					n = max(n/4, 2)
				}
				expired, late, acceptedLate := 0, 0, 0
				for seed := range n {
					rng := rand.New(rand.NewPCG(seed, 13))
					lateness := [4]int64{3, 3, 3, 3}
					if seed%2 == 1 {
						lateness = [4]int64{rng.Int64N(10), rng.Int64N(10), rng.Int64N(10), rng.Int64N(10)}
					}
					plan := expiryPlan(t, rule, lateness)
					e := &expiringEngine{engine: newEngine(t, plan, options())}
					for range plan.Streams {
						e.latest = append(e.latest, noTime)
					}
					var log [][2][]byte
					now, disorder, steps := int64(0), int64(7), 180
					if len(plan.Streams) > 4 { // more hold the watermark back, and keep for longer
						disorder, steps = 30, 360
					}
					for step := range steps {
						now += rng.Int64N(4) / 3 * (1 + rng.Int64N(2))
						stream, at, value := driftingRecord(rng, plan, now, disorder)
						taken := e.taken
						if e.arrive(stream, at, value) {
							late++
							acceptedLate += e.taken - taken
						}
						if why := e.check(); why != "" {
							t.Fatalf("seed %d, step %d, after %d %s: %s", seed, step, stream, value, why)
						}
						if rng.IntN(12) == 0 {
							commitTable(t, e.table, &log)
							if rng.IntN(2) == 0 {
								if err := e.table.Discard(); err != nil {
									t.Fatal(err)
								}
								restoreTable(t, e.table, log)
								e.open()
							}
						}
					}
					expired += e.distinct() - e.kept()
				}
				if expired == 0 || late == 0 {
					t.Fatalf("%d rows expired and %d were late: nothing was tried", expired, late)
				}
				if strings.HasPrefix(rule, "late touches") != (acceptedLate > 0) && !strings.HasPrefix(rule, "versions") {
					t.Fatalf("%d events were accepted late", acceptedLate)
				}
			})
		}
	}
}

// A click may come long after the conversion that it is for, if the rule allows it. What the conversion was credited to
// until then must still be there, or the correction takes back what was never given.
func TestTheTouchThatALateClickSupersedesIsStillKept(t *testing.T) {
	plan := expiryPlan(t, "mediamath, clicks long after", [4]int64{0, 0, 0, 0})
	e := &expiringEngine{engine: newEngine(t, plan, tables.Options{}), latest: []int64{noTime, noTime, noTime, noTime}}
	for i, a := range []struct {
		stream int
		time   int64
		rest   string
	}{
		{0, 100, `"x":"x","p":"p"`},
		{2, 101, `"x":"x"`},
		{3, 102, `"p":"p"`},
		{0, 112, `"x":"y","p":"q"`},
		{2, 112, `"x":"y"`},
		{3, 112, `"p":"q"`},
		{2, 113, `"x":"x"`},
	} {
		e.arrive(a.stream, a.time*1000, fmt.Appendf(nil, `{"id":"%d","t":%d,"u":"u",%s}`, i, a.time*1000, a.rest))
		if why := e.check(); why != "" {
			t.Fatalf("after record %d: %s", i, why)
		}
	}
	if len(e.net) != 2 {
		t.Fatalf("net has %d rows", len(e.net))
	}
}
