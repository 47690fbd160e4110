package processors

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const stampRules = `
app: ads
streams:
  i: {topic: i, fields: {id: string, t: time_us, u: string, p: string}, time: t, id: id}
  e: {topic: e, fields: {id: string, t: time_us, u: string}, time: t, id: id, lateness: 1d}
tables:
  product: {file: p.csv, key: id, fields: {id: string, name: string}}
rules:
  - name: r
    attribute: e
    key: u
    lookback: 1d
    classes: {PV: {touch: i}}
    select: {p: i.p, name: 'product[i.p].name'}
    into: out
`

// stampedDelta is what the tests look at of a delta.
type stampedDelta struct {
	Name string
	Sign int
	ID   string `json:"delta_id"`
}

// replayStamped replays records, each with its Kafka timestamp, against a table that calls p1 "old" and, from 1000 on,
// "new".
func replayStamped(t *testing.T, feed func(record func(stream string, timestamp int64, value string))) ([]stampedDelta, Snapshot) {
	t.Helper()
	plan := mustCompile(t, stampRules)
	products := tables.NewDimension(tables.DimensionSpec{Name: "product", Key: plan.Tables[0].Key, Columns: plan.Tables[0].Columns})
	for at, name := range map[int64]string{1: "old", 1000: "new"} {
		if err := products.Put([]byte("p1"), fmt.Appendf(nil, `{"name":%q}`, name), at); err != nil {
			t.Fatal(err)
		}
	}
	var deltas []stampedDelta
	stats := NewStats(plan)
	replay, err := NewReplay(plan, []*tables.Dimension{products}, func(r codecs.Record) {
		if r.Topic != "out.deltas" {
			return
		}
		var d stampedDelta
		if err := json.Unmarshal(r.Value, &d); err != nil {
			t.Fatal(err)
		}
		deltas = append(deltas, d)
	}, stats, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	feed(func(stream string, timestamp int64, value string) {
		rank := slices.IndexFunc(plan.Streams, func(s *rules.Stream) bool { return s.Name == stream })
		if err := replay.Record(rank, &Raw{Value: []byte(value), Origin: codecs.Origin{Timestamp: timestamp}}); err != nil {
			t.Fatal(err)
		}
	})
	return deltas, stats.Snapshot()
}

// A record that is sent again after a table has changed is the same event, and keeps what the table said first.
func TestATableChangeMakesNoOtherEventOfADuplicate(t *testing.T) {
	const touch, conversion = `{"id":"i1","t":10,"u":"u","p":"p1"}`, `{"id":"e1","t":20,"u":"u"}`
	for name, times := range map[string][2]int64{"changed in between": {500, 1500}, "changed back": {1500, 500}} {
		want := map[int64]string{500: "old", 1500: "new"}[times[0]]
		deltas, counted := replayStamped(t, func(record func(string, int64, string)) {
			record("e", times[0], conversion)
			record("i", times[0], touch)
			record("i", times[1], touch)
		})
		if len(deltas) != 1 || deltas[0].Name != want || counted.Accepted["i"] != 1 || counted.Duplicates["i"] != 1 {
			t.Errorf("%s: deltas %+v of %+v, want one that says %q", name, deltas, counted, want)
		}
	}
}

// Read again with another row of the table, the same events cause deltas with the same ids.
func TestDeltaIDsDoNotDependOnStamps(t *testing.T) {
	id := func(timestamp int64) string {
		deltas, _ := replayStamped(t, func(record func(string, int64, string)) {
			record("e", timestamp, `{"id":"e1","t":20,"u":"u"}`)
			record("i", timestamp, `{"id":"i1","t":10,"u":"u","p":"p1"}`)
		})
		if len(deltas) != 1 {
			t.Fatalf("deltas: %+v", deltas)
		}
		return deltas[0].ID
	}
	if before, after := id(500), id(1500); before != after {
		t.Errorf("delta_id %s before the table changed, %s after", before, after)
	}
}

// Records that are refused after their time was read say how far event time has come, as they do beside Kafka.
func TestRefusedRecordsMoveTheWatermark(t *testing.T) {
	const second = 1_000_000
	plan := mustCompile(t, `
app: ads
streams:
  i: {topic: i, fields: {id: string, t: time_us, u: string, n: int}, time: t, id: id, where: n < 5, max_age: 1h, max_skew: 1m}
  e: {topic: e, fields: {id: string, t: time_us, u: string}, time: t, id: id}
rules:
  - {name: r, attribute: e, key: u, lookback: 1d, classes: {PV: {touch: i}}, into: out}
`)
	const hour, now = 3600 * second, 100 * 3600 * second
	for name, test := range map[string]struct {
		value     string
		timestamp int64
		want      int64
	}{
		"accepted":                     {fmt.Sprintf(`{"id":"1","t":%d,"u":"u"}`, int64(now)), now, now},
		"filtered":                     {fmt.Sprintf(`{"id":"1","t":%d,"u":"u","n":9}`, int64(now)), now, now},
		"filtered, without timestamp":  {fmt.Sprintf(`{"id":"1","t":%d,"u":"u","n":9}`, int64(now)), 0, now},
		"over age":                     {fmt.Sprintf(`{"id":"1","t":%d,"u":"u"}`, int64(now)), now + 2*hour, now},
		"without key":                  {fmt.Sprintf(`{"id":"1","t":%d}`, int64(now)), now, now},
		"ahead of its timestamp":       {fmt.Sprintf(`{"id":"1","t":%d,"u":"u"}`, int64(now)), now - hour, second},
		"no record at all":             {`{`, now, second},
		"older than what was seen yet": {`{"id":"1","t":1,"u":"u","n":9}`, now, second},
	} {
		replay, err := NewReplay(plan, nil, func(codecs.Record) {}, NewStats(plan), ReplayOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []struct {
			stream    int
			value     string
			timestamp int64
		}{
			{0, fmt.Sprintf(`{"id":"0","t":%d,"u":"u"}`, second), second},
			{1, fmt.Sprintf(`{"id":"0","t":%d,"u":"u"}`, int64(now)), now},
			{0, test.value, test.timestamp},
		} {
			if err := replay.Record(r.stream, &Raw{Value: []byte(r.value), Origin: codecs.Origin{Timestamp: r.timestamp}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := replay.keys[0].partition.watermark(); got != test.want {
			t.Errorf("%s: watermark %d, want %d", name, got, test.want)
		}
		if err := replay.Close(); err != nil {
			t.Error(err)
		}
	}
}
