package e2e

import (
	"fmt"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
)

// An app that is stopped in the middle of its input and started again, with its table in memory (restored from the
// changelog) or on disk (taken up where it was), ends where one that was never stopped does.
func TestRestartsChangeNothing(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			store := map[bool]string{false: "memory", true: "disk"}[direct]
			t.Run(fmt.Sprintf("direct=%t,store=%s", direct, store), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				plan := r.compile(adOptions{app: app, topics: app, direct: direct,
					state: fmt.Sprintf("{store: %s, dir: %q}", store, t.TempDir())}.source())
				deltas := processors.DeltasTopic(plan.Rules[0])
				inputs := generate(t, adStream(seedOf(t), 9000), app)
				r.createAdTopics(app)
				third := len(inputs) / 3
				for n := range 3 {
					// Each start finds records that are waiting, and is stopped as soon as its work shows.
					r.feed(inputs[n*third : (n+1)*third])
					before, err := r.size(deltas)
					if n > 0 && err != nil {
						t.Fatal(err)
					}
					i := r.start(plan, app)
					r.awaitGrowth(deltas, before)
					i.stop()
				}
				r.feed(inputs[3*third:])
				i := r.startReady(plan, app)
				r.settle(plan)
				i.stop()
				r.wantOnce(plan, recount(plan, inputs, nil))
				r.wantRejects(app, inputs)
				r.wantNoneLate(app)
			})
		}
	})
}
