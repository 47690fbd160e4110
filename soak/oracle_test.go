package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// began is when the day of these tests begins.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tape is what stands in the topics: input records and output records, each in the order of its partition.
type tape struct{ in, out []*kgo.Record }

func record(topic string, offset int64, key, value string, at time.Duration, headers ...string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Offset: offset, Key: []byte(key), Value: []byte(value), Timestamp: began.Add(at)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func refused(topic string, offset int64, reason, from string, fromOffset int64) *kgo.Record {
	return record(topic, offset, "", "", 0, "__streams.errors.exception", reason, "__streams.errors.topic", from,
		"__streams.errors.partition", "0", "__streams.errors.offset", fmt.Sprint(fromOffset))
}

// An impression, its conversion and then the click between the two, which takes the credit; a copy of the impression, a click
// that is too late and a record without an id.
func correct() *tape {
	event := func(at time.Duration, text string) string {
		return fmt.Sprintf(`{"user_id":"u","advertiser_id":"a","event_ts":%d,%s}`, began.Add(at).UnixMilli(), text)
	}
	row := func(class, touch, id string, sign int, text string) string {
		return fmt.Sprintf(`{"rule":"attributed","model":"last","conversion_id":"e","touch_id":%q,"touch":%q,"class":%q,"credit":%d,`+
			`"event_time":"2026-01-01T00:20:00Z","campaign_id":"k","revenue":%d.5,%s}`, id, touch, class, sign*1_000_000, sign*12, text)
	}
	const (
		into   = "soak.attributed"
		deltas = "soak.attributed.deltas"
		key    = "attributed|last|e"
	)
	shown := event(10*time.Minute, `"impression_id":"i","auction_id":"x","pixel_id":"p","campaign_id":"k"`)
	return &tape{
		in: []*kgo.Record{
			record("soak.impressions", 5, "", shown, 10*time.Minute),
			record("soak.impressions", 6, "", shown, 11*time.Minute),
			record("soak.conversions", 0, "", event(20*time.Minute, `"conversion_id":"e","pixel_id":"p","value":"12.50"`), 20*time.Minute),
			record("soak.clicks", 0, "", event(15*time.Minute, `"click_id":"c","auction_id":"x"`), 21*time.Minute),
			record("soak.clicks", 1, "", event(0, `"click_id":"late","auction_id":"x"`), 40*time.Minute),
			record("soak.clicks", 2, "", event(20*time.Minute, `"click_id":"","auction_id":"x"`), 40*time.Minute),
		},
		out: []*kgo.Record{
			record(deltas, 0, key, row("PV", "impression", "i", 1, `"sign":1,"reason":"attributed","delta_id":"1"`), 0),
			record(into, 0, key, row("PV", "impression", "i", 1, `"_op":"upsert","_version":2,"_deleted":false`), 0),
			record(deltas, 1, key, row("PV", "impression", "i", -1, `"sign":-1,"reason":"corrected","delta_id":"2"`), 0),
			record(deltas, 2, key, row("PC", "click", "c", 1, `"sign":1,"reason":"corrected","delta_id":"3"`), 0),
			record(into, 1, key, row("PC", "click", "c", 1, `"_op":"upsert","_version":4,"_deleted":false`), 0),
			refused(lateTopic, 0, "late", "soak.clicks", 1),
			refused(rejectedTopic, 0, "missing_id", "soak.clicks", 2),
		},
	}
}

// judge returns what an oracle finds on a tape.
func judge(t *testing.T, tp *tape) []string {
	t.Helper()
	o := newOracle()
	for _, r := range tp.out {
		if err := o.takeOutput(r); err != nil {
			return []string{err.Error()}
		}
	}
	for _, r := range tp.in {
		if err := o.takeInput(r); err != nil {
			return []string{err.Error()}
		}
	}
	o.check()
	n, explained := o.found()
	if n != len(explained) {
		t.Errorf("%d differences, %d in words", n, len(explained))
	}
	return explained
}

func TestOracleIsContentWithWhatIsRight(t *testing.T) {
	if found := judge(t, correct()); len(found) > 0 {
		t.Errorf("found %s", strings.Join(found, "\n"))
	}
}

// Whatever is done to the right outputs, the oracle finds it.
func TestOracleFinds(t *testing.T) {
	replace := func(at int, old, new string) func(*tape) {
		return func(tp *tape) {
			r := tp.out[at]
			if !strings.Contains(string(r.Value), old) {
				panic(fmt.Sprintf("%s has no %s", r.Value, old))
			}
			r.Value = []byte(strings.Replace(string(r.Value), old, new, 1))
		}
	}
	remove := func(from, to int) func(*tape) { return func(tp *tape) { tp.out = slices.Delete(tp.out, from, to) } }
	repeat := func(at int) func(*tape) {
		return func(tp *tape) {
			again := *tp.out[at]
			again.Offset += 10
			tp.out = append(tp.out, &again)
		}
	}
	for _, test := range []struct {
		name string
		do   func(*tape)
		want string
	}{
		{"no delta", remove(0, 1), "come to -1"},
		{"no correction", remove(2, 5), "the net of the deltas"},
		{"a half correction", remove(2, 3), "come to 2"},
		{"a delta again", repeat(3), "delta id 3 is also at"},
		{"a delta again with another id", func(tp *tape) { repeat(3)(tp); replace(7, `"delta_id":"3"`, `"delta_id":"4"`)(tp) }, "come to 2"},
		{"another touch", func(tp *tape) { replace(3, `"c"`, `"late"`)(tp); replace(4, `"c"`, `"late"`)(tp) }, "the net of the deltas"},
		{"another measure", replace(3, "12.5", "12.6"), "the net of the deltas"},
		{"another campaign", replace(4, `"k"`, "null"), "the last upsert is another row"},
		{"no last upsert", remove(4, 5), "the last upsert is another row"},
		{"a deleted row", replace(4, `"_op":"upsert","_version":4,"_deleted":false`, `"_op":"delete","_version":4,"_deleted":true`), "the last upsert is another row"},
		{"a version that falls", replace(4, `"_version":4`, `"_version":1`), "follows version 2"},
		{"a version that stays", replace(4, `"_version":4`, `"_version":2`), "follows version 2"},
		{"rows in two partitions", func(tp *tape) { tp.out[4].Partition = 1 }, "are also in partition 0"},
		{"another key", func(tp *tape) { tp.out[1].Key = []byte("attributed|last|f") }, "want \"attributed|last|e\""},
		{"an unknown conversion", func(tp *tape) {
			repeat(0)(tp)
			tp.out[7].Key = []byte("attributed|last|f")
			replace(7, `"conversion_id":"e"`, `"conversion_id":"f"`)(tp)
			replace(7, `"delta_id":"1"`, `"delta_id":"4"`)(tp)
		}, "is not among the accepted ones"},
		{"a late event that is taken", remove(5, 6), ""}, // it is too early to win, and the watermark is not known
		{"late twice", repeat(5), "is in the late topic 2 times"},
		{"late without reason", func(tp *tape) { tp.out = append(tp.out, refused(lateTopic, 1, "late", "soak.clicks", 0)) }, "although it came in 360 s after"},
		{"not rejected", remove(6, 7), "must be rejected once (missing_id), and is 0 times"},
		{"rejected twice", repeat(6), "must be rejected once (missing_id), and is 2 times"},
		{"rejected for another reason", func(tp *tape) { tp.out[6] = refused(rejectedTopic, 0, "filtered", "soak.clicks", 2) }, "must be rejected as missing_id, and is as filtered"},
		{"rejected without reason", func(tp *tape) { tp.out = append(tp.out, refused(rejectedTopic, 1, "over_age", "soak.clicks", 0)) }, "is an event, and is rejected"},
		{"late instead of rejected", func(tp *tape) { tp.out[6] = refused(lateTopic, 1, "late", "soak.clicks", 2) }, "must be rejected (missing_id), and is late"},
		{"a reject of nothing", func(tp *tape) { tp.out = append(tp.out, refused(rejectedTopic, 1, "missing_id", "soak.clicks", 3)) }, "or does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tp := correct()
			test.do(tp)
			found := strings.Join(judge(t, tp), "\n")
			if !strings.Contains(found, test.want) || test.want == "" && found != "" {
				t.Errorf("want %q, found:\n%s", test.want, found)
			}
		})
	}
}

// What comes in a later round is held against all that came before, until a key has been silent for a round.
func TestOracleRemembersAKeyForARound(t *testing.T) {
	tp := correct()
	o := newOracle()
	play := func(in, out []*kgo.Record) int {
		for _, r := range in {
			if err := o.takeInput(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range out {
			if err := o.takeOutput(r); err != nil {
				t.Fatal(err)
			}
		}
		o.check()
		n, _ := o.found()
		return n
	}
	if n := play(tp.in[:3], tp.out[:2]); n != 0 {
		t.Errorf("first round: %d differences", n)
	}
	if n := play(tp.in[3:], tp.out[2:]); n != 0 {
		t.Errorf("second round: %d differences", n)
	}
	if n := play(nil, nil); n != 0 {
		t.Errorf("a round without anything: %d differences", n)
	}
	late := *tp.out[4]
	late.Offset, late.Value = 2, []byte(strings.Replace(string(late.Value), `"_version":4`, `"_version":5`, 1))
	if n := play(nil, []*kgo.Record{&late}); n == 0 {
		t.Error("a row for a conversion that was forgotten is no difference")
	}
	if c := o.all(); c.Conversions != 1 || c.Credits != 1 || c.Corrections != 1 || c.Duplicates != 1 {
		t.Errorf("counted %+v", c)
	}
}
