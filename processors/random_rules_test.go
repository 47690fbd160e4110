package processors

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

var (
	randomPlans = flag.Int("random.plans", 0, "how many random rules TestRandomRules tries; 0: as many as fit into every test run")
	randomSeed  = flag.Uint64("random.seed", 0, "seed of the random rules; 0: one that is drawn")
	randomFirst = flag.Int("random.first", 0, "number of the first of them")
	randomOut   = flag.String("random.out", "", "folder for what is left of a failure; none: the system's for temporary files")
)

const randomEventsPerPlan = 1000

// Random rules over all options, on random events that hit their borders: the incremental core agrees with the definition, in
// memory and on disk, over restarts, and in three instances. What fails is cut down to a few events and written as rules and a test that `lookback
// test` runs.
func TestRandomRules(t *testing.T) {
	alone(t)
	plans, seed := *randomPlans, *randomSeed
	if plans == 0 {
		if plans = 120; testing.Short() {
			plans = 40
		}
	}
	if seed == 0 {
		seed = rand.Uint64N(1e9)
	}
	t.Logf("-random.seed=%d", seed)
	used, thrown, events := map[string]int{}, 0, 0
	for n := *randomFirst; n < *randomFirst+plans; n++ {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		p, unfit := newRandomPlan(rng)
		thrown += unfit
		slices.Sort(p.options)
		for _, option := range slices.Compact(p.options) {
			used[option]++
		}
		if why := tryPlan(t, rng, p); why != "" {
			t.Fatalf("-random.seed=%d -random.first=%d -random.plans=1: %s", seed, n, why)
		}
		if events += randomEventsPerPlan; plans >= 1000 && (n+1)%1000 == 0 {
			t.Logf("%d rules, %d events", n+1-*randomFirst, events)
		}
	}
	t.Logf("%d rules (%d thrown away), %d events; options used: %v", plans, thrown, events, used)
	if plans < 100 {
		return
	}
	for _, option := range []string{"max_gap", "join", "classes", "preset", "click_after_conversion", "window_end", "instant", "per_parent", "parent", "let", "priority", "require", "across", "model",
		"count", "budget", "dedup", "retire", "cap", "measure", "adjust_within", "select", "unattributed", "min", "where", "expires", "anchor", "parent_within",
		"disorder", "version", "within of its own", "late: accept_while_kept", "late: drop", "refund_of", "refund_of its own", "invalidate i", "invalidate c", "invalidate e"} {
		if used[option] == 0 {
			t.Errorf("no rule uses %s", option)
		}
	}
}

// tryPlan tries random events, and cuts down what fails.
func tryPlan(t *testing.T, rng *rand.Rand, p *randomPlan) string {
	options := func() tables.Options { return tables.Options{} }
	instances, restarts := 1, false
	switch rng.IntN(6) {
	case 0:
		options = func() tables.Options { return tables.Options{LargeRows: 2} }
	case 1:
		options = func() tables.Options {
			return tables.Options{Dir: t.TempDir(), CacheBytes: 1, LargeRows: 5, ShortRows: 2}
		}
		restarts = true
	case 2:
		instances = 3
	case 3:
		restarts = true
	case 4:
		instances, restarts = 3, true
	}
	events := randomEvents(rng, len(p.plan.Streams), randomEventsPerPlan)
	r, err := newTrial(p.plan, instances, options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(t)
	why, at, err := r.run(events, 50, func() {
		if restarts && rng.IntN(80) == 0 {
			r.restart(t, rng.IntN(instances))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if why == "" {
		return ""
	}
	small, left := shrink(p, r.used)
	if len(left) == 0 {
		return fmt.Sprintf("%s\nafter %d events, with %d tables and restarts %t, and not with one in memory:\n%s", why, at+1, instances, restarts, p.source())
	}
	dir := *randomOut
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lookback-random-"); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTrial(dir, small, left); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\ncut down to %d events: lookback test %s", why, len(left), filepath.Join(dir, "rules_test.yaml"))
}

// fails tells whether the events still fail, one table in memory, and which of them were used.
func fails(p *randomPlan, events []trialEvent) (bool, []trialEvent) {
	r, err := newTrial(p.plan, 1, func() tables.Options { return tables.Options{} })
	if err != nil {
		return false, nil
	}
	why, at, err := r.run(events, 1, nil)
	if err != nil || why == "" {
		return false, nil
	}
	used := r.used
	if r.failure != "" || at < len(events) {
		used = used[:min(len(used), at+1)]
	}
	return true, used
}

// shrink takes out events, and options of the rule, as long as what is left fails: delta debugging (Zeller and Hildebrandt, 2002). None is left
// where nothing fails.
func shrink(p *randomPlan, events []trialEvent) (*randomPlan, []trialEvent) {
	failing, events := fails(p, events)
	if !failing {
		return p, nil
	}
	for again := true; again; {
		again = false
		for size := len(events) / 2; size > 0; size /= 2 {
			for from := 0; from < len(events); {
				rest := slices.Concat(events[:from], events[min(from+size, len(events)):])
				if still, used := fails(p, rest); still {
					events, again = used, true
				} else {
					from += size
				}
			}
		}
		for i := range p.rule {
			less := &randomPlan{streams: p.streams, rule: slices.Delete(slices.Clone(p.rule), i, i+1)}
			if less.compile() != nil {
				continue
			}
			if still, used := fails(less, events); still {
				p, events, again = less, used, true
				break
			}
		}
	}
	return p, events
}

// writeTrial writes rules and a test of them: that the rows are those of the definition, and that what is refused or late is.
func writeTrial(dir string, p *randomPlan, events []trialEvent) error {
	var b strings.Builder
	b.WriteString("start: 1970-01-01T00:00:00Z\ntests:\n  - name: random rules\n    given:\n")
	for i := range events {
		a := &events[i]
		fmt.Fprintf(&b, "      - {at: %dms, %s: {id: %q", a.at, p.plan.Streams[a.stream].Name, a.id)
		for member := range strings.SplitSeq(a.fields, ",") {
			name, value, _ := strings.Cut(member, ":")
			name = strings.Trim(name, `"`)
			if slices.ContainsFunc(p.plan.Streams[a.stream].Declared, func(f codecs.Field) bool { return f.Name == name }) {
				fmt.Fprintf(&b, ", %s: %s", name, value)
			}
		}
		b.WriteString("}}\n")
	}
	b.WriteString("    expect:\n")
	rows, refused, err := expectations(p, events)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "      final: [%s]\n", strings.Join(rows, ", "))
	for _, topic := range []string{"rejected", "late"} {
		if list := refused["ads."+topic]; len(list) > 0 {
			fmt.Fprintf(&b, "      %s: [%s]\n", topic, strings.Join(list, ", "))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(p.source()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "rules_test.yaml"), []byte(b.String()), 0o600)
}

// expectations returns the rows by the definition, and by topic what a replay refuses, as tests have them.
func expectations(p *randomPlan, events []trialEvent) (rows []string, refused map[string][]string, err error) {
	r, err := newTrial(p.plan, 1, func() tables.Options { return tables.Options{} })
	if err != nil {
		return nil, nil, err
	}
	refused = map[string][]string{}
	replay, err := NewReplay(p.plan, nil, func(rec codecs.Record) {
		if rec.Topic != "ads.rejected" && rec.Topic != "ads.late" {
			return
		}
		var record struct{ ID string }
		reason, topic := "", ""
		for _, h := range rec.Headers {
			switch h.Key {
			case codecs.HeaderException:
				reason = string(h.Value)
			case codecs.HeaderTopic:
				topic = string(h.Value)
			}
		}
		_ = json.Unmarshal(rec.Value, &record) // an id that is not there is none
		refused[rec.Topic] = append(refused[rec.Topic], fmt.Sprintf("{stream: %s, reason: %s, id: %q}", topic, reason, record.ID))
	}, NewStats(p.plan), ReplayOptions{})
	if err != nil {
		return nil, nil, err
	}
	for i := range events {
		a := &events[i]
		if err := r.record(a); err != nil {
			return nil, nil, err
		}
		raw := &Raw{Value: a.value(), Origin: codecs.Origin{Topic: p.plan.Streams[a.stream].Topic, Offset: int64(i), Timestamp: a.at * 1000}}
		if err := replay.Record(a.stream, raw); err != nil {
			return nil, nil, err
		}
	}
	eval, rule := rules.NewEvaluator(p.plan), p.plan.Rules[0]
	for _, key := range slices.Sorted(maps.Keys(r.rows)) {
		for _, o := range rules.Naive(p.plan, rule, r.rows[key]) {
			for i, m := range rule.Models {
				list, _ := appendRows(nil, p.plan, eval, rule, m, o.Conversion, o.Parts[i], o.Terms)
				for _, c := range list {
					touch := "null"
					if !c.TouchID.IsNull() {
						touch = fmt.Sprintf("%q", c.TouchID.Str)
					}
					rows = append(rows, fmt.Sprintf("{model: %s, conversion_id: %q, touch_id: %s, class: %s, credit: %d}", c.Model, c.Conversion.Str, touch, c.Class, c.Credit))
				}
			}
		}
	}
	return rows, refused, replay.Close()
}

// What is written of random rules is rules and a test that compile.
func TestWhatIsLeftOfRandomRulesIsATest(t *testing.T) {
	for n := range uint64(20) {
		rng := rand.New(rand.NewPCG(n, 3))
		p, _ := newRandomPlan(rng)
		dir := t.TempDir()
		if *randomOut != "" {
			dir = filepath.Join(*randomOut, fmt.Sprint(n))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeTrial(dir, p, randomEvents(rng, len(p.plan.Streams), 60)); err != nil {
			t.Fatal(err)
		}
		if _, err := rules.LoadTests(filepath.Join(dir, "rules_test.yaml")); err != nil {
			t.Error(err)
		}
	}
}
