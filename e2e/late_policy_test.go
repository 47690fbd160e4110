package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
)

// Touches that come late count for conversions that are not final: the net is the batch answer over what was accepted, with what the late topic
// says of it, and verify finds that by itself. Conversions are late as ever. What is dropped is counted alone, and then verify cannot know.
func TestLatePoliciesEqualBatch(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, clicks := range []string{"accept_while_kept", "drop"} {
			for _, direct := range []bool{false, true} {
				if clicks == "drop" && !direct {
					continue // nothing of the route is different
				}
				t.Run(fmt.Sprintf("clicks=%s,direct=%t", clicks, direct), func(t *testing.T) {
					testLatePolicies(newRig(t, addrs), binary, clicks, direct)
				})
			}
		}
	})
}

func testLatePolicies(r *rig, binary, clicks string, direct bool) {
	t, app := r.t, appName()
	src := oneKey(adOptions{app: app, topics: app, direct: direct, lateness: "10m"}.source())
	src = strings.Replace(src, "    id: impression_id\n", "    id: impression_id\n    late: accept_while_kept\n", 1)
	src = strings.Replace(src, "    id: click_id\n", "    id: click_id\n    late: "+clicks+"\n", 1)
	plan, file := r.compile(src), writeRules(t, src)
	c := adStream(seedOf(t), 6000)
	c.Conflicts = 0
	prompt, delayed := split(generate(t, c, app), func(in *input) bool { return in.kind != gen.Delayed })
	latest := latestTime(prompt)
	r.createAdTopics(app)
	i := r.startReady(plan, app)
	r.feed(prompt)
	probes := r.awaitLate(plan, app, latest-2*time.Hour.Microseconds())
	r.feed(delayed)
	next := conversionsToCome(t, delayed, latest)
	r.feed(next)
	r.settle(plan)
	i.stop()

	rejected, accepted := map[place]bool{}, map[place]int64{}
	for _, f := range r.refusals(processors.LateTopic(app)) {
		from, ok := f.headers["lookback.accepted_from"]
		if !ok {
			rejected[f.origin] = true
			continue
		}
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			t.Error(err)
		}
		accepted[f.origin] = n
	}
	by := func(stream, action string) int64 {
		return i.stats.Snapshot().LateBy[processors.LateCount{Stream: stream, Action: action}]
	}
	if n := by("impression", "accepted") + by("click", "accepted"); n != int64(len(accepted)) || by("impression", "accepted") == 0 {
		t.Errorf("%d touches were accepted late, and the late topic has %d", n, len(accepted))
	}
	if n := by("conversion", "diverted"); n != int64(len(rejected)) || n == 0 {
		t.Errorf("%d conversions were late, and the late topic has %d", n, len(rejected))
	}
	dropped := by("click", "dropped")
	if (dropped > 0) != (clicks == "drop") {
		t.Errorf("%d clicks were dropped", dropped)
	}
	got := r.verify(binary, file, 0).Rules[0]
	if n := got.Different[processors.CauseForgotten]; dropped == 0 && n > 0 || n > got.Conversions/4 {
		t.Errorf("%d of %d conversions differ, for nobody knows what was late", n, got.Conversions)
	}
	if dropped > 0 {
		return
	}
	batch := processors.NewRecount(plan, nil)
	for _, in := range slices.Concat(prompt, probes, delayed, next) {
		raw := &processors.Raw{Key: in.key, Value: in.value, Origin: codecs.Origin{Topic: in.topic, Partition: in.place.partition, Offset: in.place.offset, Timestamp: in.at.UnixMicro()}}
		from, late := accepted[in.place]
		switch {
		case late:
			batch.AddAccepted(in.stream, raw, from)
		case !rejected[in.place]:
			batch.Add(in.stream, raw)
		}
	}
	r.wantOnce(plan, batch)
}

// conversionsToCome are conversions like the delayed ones, after everything else.
func conversionsToCome(t *testing.T, delayed []input, latest int64) (next []input) {
	for _, in := range delayed {
		if adStreams[in.stream] != "conversion" {
			continue
		}
		event := decode[map[string]any](t, in.value)
		in.time = latest + int64(len(next))
		in.value = fmt.Appendf(nil, `{"conversion_id":"next-%d","event_ts":%q,"user_id":%q,"advertiser_id":%q,"pixel_id":%q,"value":1}`, len(next),
			time.UnixMicro(in.time).UTC().Format(time.RFC3339Nano), event["user_id"], event["advertiser_id"], event["pixel_id"])
		next = append(next, in)
	}
	return next
}

// After an outage what is too old when it is read is left to the late topic, and the present is served.
func TestWhatIsTooOldIsSkipped(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				src := "catch_up: {skip_older_than: 6h}\n" + adOptions{app: app, topics: app, direct: direct}.source()
				plan := r.compile(src)
				old := generate(t, adStream(seedOf(t), 2000), app) // it ended twelve hours ago
				fresh := slices.Clone(old)
				for k := range fresh {
					fresh[k].at = time.Now()
				}
				r.createAdTopics(app)
				r.feed(old)
				r.feed(fresh)
				i := r.startReady(plan, app)
				r.settle(plan)
				i.stop()
				skipped := map[place]bool{}
				for _, f := range r.refusals(processors.LateTopic(app)) {
					if f.headers[codecs.HeaderException] != "skipped" || skipped[f.origin] {
						t.Fatalf("%v is in the late topic, again %t, as %v", f.origin, skipped[f.origin], f.headers)
					}
					skipped[f.origin] = true
				}
				for k := range old {
					if !skipped[old[k].place] {
						t.Fatalf("%v was not skipped", old[k].place)
					}
				}
				if len(skipped) != len(old) {
					t.Errorf("%d records were skipped, %d are old", len(skipped), len(old))
				}
				r.wantOnce(plan, recount(plan, fresh, nil))
			})
		}
	})
}
