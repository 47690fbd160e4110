package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
)

// An app whose changelogs are lost begins anew with a reset that is told which epoch to go on from. What its disks still
// have belongs to the changelogs of before: it is discarded, and the same rows come again, with larger versions.
func TestALostChangelogIsMadeAnew(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app, direct: true, state: fmt.Sprintf("{store: disk, dir: %q}", t.TempDir())}.source()
		src = strings.ReplaceAll(src, "    into:", "    emit: upserts\n    into:")
		plan, file := r.compile(src), writeRules(t, src)
		inputs := generate(t, adStream(seedOf(t), 3000), app)
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		r.feed(inputs)
		r.settle(plan)
		i.stop()
		r.wantOnce(plan, recount(plan, inputs, nil))
		before := r.versions(plan)

		for _, key := range plan.Keys {
			topic := processors.ChangelogTopic(app, key)
			if err := r.admin.DeleteTopic(topic); err != nil {
				t.Fatal(err)
			}
			r.await(topic+" is gone", func() (bool, error) {
				topics, err := r.admin.ListTopics()
				_, there := topics[topic]
				return !there, err
			})
		}
		reset := []string{"reset", file, "--brokers", r.addrs[0], "--state-dir", t.TempDir(), "--yes", "--epoch"}
		command(t, binary, append(reset, fmt.Sprint(codecs.MaxEpoch+1))...).want(t, 1, "versions have room for")
		command(t, binary, append(reset, "7")...).want(t, 0, "begins anew")

		book := r.keepLog()
		i = r.startReady(plan, app)
		r.settle(plan)
		i.stop()
		const discarded = "local state is discarded and restored from the changelog"
		if got := book.count("", discarded); got == 0 {
			t.Error("the disks' state was not discarded")
		}
		for _, e := range book.of("", discarded) {
			if cause := fmt.Sprint(e["cause"]); !strings.Contains(cause, "its changelog was deleted and created again") {
				t.Errorf("discarded because of %s", cause)
			}
		}
		r.wantOnce(plan, recount(plan, inputs, nil))
		for key, v := range r.versions(plan) {
			if was, had := before[key]; had && v.last <= was.last {
				t.Errorf("%s: version %d comes after %d", key, v.last, was.last)
			}
		}
	})
}
