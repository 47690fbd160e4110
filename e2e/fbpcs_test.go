package e2e

import (
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/fbpcs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

const fbpcsDir = "../testdata/fbpcs"

// fbpcsRules returns the set's rules under another app and with other topics.
func fbpcsRules(t *testing.T, app string) string {
	t.Helper()
	src, err := os.ReadFile(fbpcsDir + "/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(src), "fbpcs", app)
}

func fbpcsRecords(t *testing.T) []fbpcs.Record {
	t.Helper()
	records, err := fbpcs.Load(fbpcsDir)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// fbpcsTally adds up output rows in the terms of expected.json.
type fbpcsTally struct {
	rule   *rules.Rule
	net    fbpcs.Result        // of the deltas
	latest map[string]fbpcsRow // last upsert by key
}

type fbpcsRow struct {
	Class   string
	Credit  int64
	Sign    int64
	AdID    int64 `json:"ad_id"`
	Value   int64
	Deleted bool `json:"_deleted"`
}

func newFBPCSTally(plan *rules.Plan) *fbpcsTally {
	return &fbpcsTally{rule: plan.Rules[0], net: emptyResult(plan.Rules[0].Name), latest: map[string]fbpcsRow{}}
}

func emptyResult(rule string) fbpcs.Result {
	return fbpcs.Result{Rule: rule, ByAd: map[string]fbpcs.Total{}, ByClass: map[string]int64{}}
}

// add takes an output record, of a partition's in their order.
func (f *fbpcsTally) add(t *testing.T, topic string, key, value []byte) {
	t.Helper()
	if topic != f.rule.Into && topic != processors.DeltasTopic(f.rule) {
		return
	}
	row := decode[fbpcsRow](t, value)
	if topic == f.rule.Into {
		f.latest[string(key)] = row
		return
	}
	if row.Class == codecs.NoClass && row.Credit != 0 || row.Class != codecs.NoClass && row.Credit != row.Sign*1_000_000 {
		t.Errorf("a delta whose credit does not go with its class and sign: %s", value)
	}
	addRow(&f.net, row, row.Sign)
}

func addRow(sum *fbpcs.Result, row fbpcsRow, conversions int64) {
	sum.ByClass[row.Class] += conversions
	if row.Class == codecs.NoClass {
		return
	}
	ad := strconv.FormatInt(row.AdID, 10)
	total := sum.ByAd[ad]
	total.Conversions += conversions
	total.Value += row.Value
	sum.ByAd[ad] = total
}

// want holds the sums of the deltas and of the final upserts against expected.json.
func (f *fbpcsTally) want(t *testing.T) {
	t.Helper()
	want, err := fbpcs.LoadExpected(fbpcsDir)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(f.net.ByAd, func(_ string, total fbpcs.Total) bool { return total == fbpcs.Total{} })
	maps.DeleteFunc(f.net.ByClass, func(_ string, n int64) bool { return n == 0 })
	if !reflect.DeepEqual(f.net, want) {
		t.Errorf("the deltas add up to %+v, want %+v", f.net, want)
	}
	final := emptyResult(f.rule.Name)
	for _, row := range f.latest {
		if !row.Deleted {
			addRow(&final, row, 1)
		}
	}
	if !reflect.DeepEqual(final, want) {
		t.Errorf("the final upserts come to %+v, want %+v", final, want)
	}
}

func TestPublicSetInMemory(t *testing.T) {
	replay := func(t *testing.T, records []fbpcs.Record) {
		plan := (&rig{t: t}).compile(fbpcsRules(t, "fbpcs"))
		ranks := map[string]int{}
		for _, s := range plan.Streams {
			ranks[s.Name] = s.Rank
		}
		tally := newFBPCSTally(plan)
		emit := func(r codecs.Record) { tally.add(t, r.Topic, r.Key, r.Value) }
		replay, err := processors.NewReplay(plan, nil, emit, processors.NewStats(plan), processors.ReplayOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := replay.Record(ranks[r.Stream], &processors.Raw{Key: r.Key, Value: r.Value}); err != nil {
				t.Fatal(err)
			}
		}
		if err := replay.Close(); err != nil {
			t.Fatal(err)
		}
		tally.want(t)
	}
	t.Run("in order", func(t *testing.T) { replay(t, fbpcsRecords(t)) })
	t.Run("shuffled", func(t *testing.T) { replay(t, shuffled(fbpcsRecords(t), seedOf(t))) })
}

func TestPublicSetThroughTopics(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plan := r.compile(fbpcsRules(t, app))
		topics := map[string]string{}
		for _, s := range plan.Streams {
			r.createTopics(s.Topic)
			topics[s.Name] = s.Topic
		}
		seed := seedOf(t)
		records := fbpcsRecords(t)
		records = append(records, shuffled(records, seed)[:len(records)/20]...) // 5% are sent twice
		var sent []record
		for _, rec := range shuffled(records, seed+1) {
			sent = append(sent, record{topic: topics[rec.Stream], key: rec.Key, value: rec.Value})
		}
		i := r.startReady(plan, app)
		r.send(sent...)
		r.settle(plan)
		i.stop()

		tally := newFBPCSTally(plan)
		for _, m := range r.read(outputTopics(plan)...) {
			tally.add(t, m.Topic, m.Key, m.Value)
		}
		tally.want(t)
		if late, err := r.size(processors.LateTopic(app)); err != nil || late > 0 {
			t.Errorf("%d late events (%v), want none", late, err)
		}
	})
}

// shuffled returns a copy in another order.
func shuffled[T any](in []T, seed uint64) []T {
	out := append([]T(nil), in...)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
