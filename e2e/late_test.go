package e2e

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// With a lateness below the disorder some events are late. Each of them goes out as it came, once, and the net of the
// outputs is the batch answer over the others. Which are late depends on how fast the watermark is; that nothing is both
// late and counted, or neither, does not.
func TestLateEventsAreLeftOutOnce(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				const lateness = 10 * time.Minute
				r, app := newRig(t, addrs), appName()
				src := adOptions{app: app, topics: app, direct: direct, lateness: "10m"}.source()
				plan := r.compile(oneKey(src))
				prompt, delayed := split(generate(t, adStream(seedOf(t), 6000), app), func(in *input) bool { return in.kind != gen.Delayed })
				latest := latestTime(prompt)
				r.createAdTopics(app)
				i := r.startReady(plan, app)
				r.feed(prompt)

				probes := r.awaitLate(plan, app, latest-2*time.Hour.Microseconds())
				r.feed(delayed)
				r.settle(plan)
				i.stop()

				inputs := slices.Concat(prompt, probes, delayed)
				left := r.wantLate(app, inputs, latestTime(inputs)-lateness.Microseconds())
				if len(left) < len(delayed)/2 {
					t.Errorf("%d of %d delayed events were late: too few to show anything", len(left), len(delayed))
				}
				counted := i.stats.Snapshot().Late
				if sum := counted["impression"] + counted["click"] + counted["conversion"]; sum != int64(len(left)) {
					t.Errorf("counted as late: %v, in the late topic: %d", counted, len(left))
				}
				r.wantOnce(plan, recount(plan, inputs, left))
				r.wantRejects(app, inputs)
			})
		}
	})
}

// oneKey leaves out the second rule of adRules: with one key alone an event is late or not.
func oneKey(src string) string { return src[:strings.Index(src, "  - name: original")] }

// awaitLate sends events of a time until one of them is late, which others of that time are then, too: the watermark follows what was
// fed before. It returns what it has sent.
func (r *rig) awaitLate(plan *rules.Plan, app string, at int64) (probes []input) {
	r.t.Helper()
	for late := int64(0); late == 0; {
		probe := []input{lateProbe(app, len(probes), at)}
		r.feed(probe)
		r.settle(plan)
		probes = append(probes, probe...)
		var err error
		if late, err = r.size(processors.LateTopic(app)); err != nil {
			r.t.Fatal(err)
		}
	}
	return probes
}

// split divides inputs, in their order, by a condition.
func split(inputs []input, condition func(*input) bool) (fits, others []input) {
	for i := range inputs {
		if condition(&inputs[i]) {
			fits = append(fits, inputs[i])
		} else {
			others = append(others, inputs[i])
		}
	}
	return fits, others
}

// latestTime is the largest time of an event.
func latestTime(inputs []input) int64 {
	latest := int64(math.MinInt64)
	for i := range inputs {
		if !inputs[i].kind.Broken() {
			latest = max(latest, inputs[i].time)
		}
	}
	return latest
}

// lateProbe is an impression of a time, of a user of its own.
func lateProbe(topics string, n int, at int64) input {
	user := fmt.Sprint("probe-", n)
	value := fmt.Appendf(nil, `{"impression_id":%q,"event_ts":%d,"user_id":%q,"advertiser_id":"a"}`, user, at/1000, user)
	return input{record: record{topic: topics + ".impressions", key: []byte(user), value: value, at: time.UnixMilli(at / 1000)}, time: at / 1000 * 1000}
}

// wantLate checks that the late topic has events as they came, none twice, and none that is not behind bound, the furthest
// that the watermark can have been. It returns where they came from.
func (r *rig) wantLate(app string, inputs []input, bound int64) map[place]bool {
	r.t.Helper()
	byPlace := map[place]*input{}
	for i := range inputs {
		byPlace[inputs[i].place] = &inputs[i]
	}
	complain := r.complaints()
	late := map[place]bool{}
	for _, f := range r.refusals(processors.LateTopic(app)) {
		in := byPlace[f.origin]
		switch {
		case in == nil || in.kind.Broken():
			complain("%v is no event and was late: %v", f.origin, f.headers)
			continue
		case late[f.origin]:
			complain("%v was late twice", f.origin)
		case f.headers[codecs.HeaderException] != "late":
			complain("%v is in the late topic as %v", f.origin, f.headers)
		case !bytes.Equal(f.Key, in.key) || !bytes.Equal(f.Value, in.value):
			complain("%v went out as %q: %q, it came as %q: %q", f.origin, f.Key, f.Value, in.key, in.value)
		case in.time >= bound:
			complain("%v of %s was late, and no watermark can have been that far", f.origin, time.UnixMicro(in.time))
		}
		late[f.origin] = true
	}
	return late
}
