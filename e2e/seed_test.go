package e2e

import (
	"fmt"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// An app whose state was seeded from files, and which then reads what came after, ends where one does that has read all of it:
// without --emit less the rows of the history, which are taken to be known, with it altogether. Some events are in the
// files and in the topics.
func TestSeededAppEqualsOneThatReadEverything(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			for _, emit := range []bool{false, true} {
				t.Run(fmt.Sprintf("direct=%t,emit=%t", direct, emit), func(t *testing.T) {
					r, app := newRig(t, addrs), appName()
					src := adOptions{app: app, topics: app, direct: direct}.source()
					plan := r.compile(src)
					file, dir := writeRules(t, src), t.TempDir()
					inputs := generate(t, adStream(seedOf(t), 6000), app)
					r.createAdTopics(app)
					half, overlap := len(inputs)/2, len(inputs)/20

					args := append([]string{"seed", file}, writeHistory(t, inputs[:half])...)
					args = append(args, "--brokers", r.addrs[0], "--state-dir", dir)
					if emit {
						args = append(args, "--emit")
					}
					command(t, binary, args...).want(t, 0, "accepted")
					net := processors.NewNet(plan)
					switch {
					case emit:
						r.wantOnce(plan, recount(plan, inputs[:half], nil))
					case len(r.read(outputTopics(plan)...)) > 0:
						t.Fatal("rows were written for the history")
					default:
						addReplayed(t, net, plan, inputs[:half])
					}
					command(t, binary, args...).want(t, 1, "the app has state", "lookback reset")

					i := r.startReady(plan, app)
					r.feed(inputs[half-overlap:])
					r.settle(plan)
					i.stop()
					for _, m := range r.readOutputs(outputTopics(plan)...) {
						if err := net.Add(m.Topic, m.Key, m.Value); err != nil {
							t.Fatal(err)
						}
					}
					wantEqual(t, net, recount(plan, inputs, nil))
					r.wantNoneLate(app)
				})
			}
		}
	})
}

// addReplayed adds the rows of inputs that an earlier system, with the same rules, would have written.
func addReplayed(t *testing.T, net *processors.Net, plan *rules.Plan, inputs []input) {
	t.Helper()
	replay, err := processors.NewReplay(plan, nil, func(r codecs.Record) {
		if err := net.Add(r.Topic, r.Key, r.Value); err != nil {
			t.Error(err)
		}
	}, processors.NewStats(plan), processors.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	for _, in := range inputs {
		if in.kind.Broken() {
			continue
		}
		if err := replay.Record(in.stream, &processors.Raw{Value: in.value, Origin: codecs.Origin{Timestamp: in.at.UnixMicro()}}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantEqual holds a net against the batch answer.
func wantEqual(t *testing.T, net *processors.Net, batch *processors.Recount) {
	t.Helper()
	differences, rows, err := net.Compare(batch, 10)
	if err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		t.Error("the batch answer has no rows, so the comparison shows nothing")
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// A run that follows a seed reads the topics from where the seed has said.
func TestSeedSaysWhereTheRunBegins(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app}.source()
		plan := r.compile(src)
		inputs := generate(t, adStream(seedOf(t), 3000), app)
		r.createAdTopics(app)
		r.feed(inputs)
		cut := inputs[len(inputs)/2].at
		args := append([]string{"seed", writeRules(t, src)}, writeHistory(t, nil)...)
		command(t, binary, append(args, "--brokers", r.addrs[0], "--state-dir", t.TempDir(), "--start-at", cut.UTC().Format("2006-01-02T15:04:05Z07:00"))...).want(t, 0)
		i := r.startReady(plan, app)
		r.settle(plan)
		i.stop()
		// Records of a partition come by time, up to the second to which the time was cut.
		var later []input
		for _, in := range inputs {
			if in.at.Unix() >= cut.Unix() {
				later = append(later, in)
			}
		}
		r.wantOnce(plan, recount(plan, later, nil))
	})
}

func TestSeedIsRefusedWhileTheAppRuns(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app}.source()
		plan := r.compile(src)
		r.createAdTopics(app)
		r.startReady(plan, app)
		r.awaitMembers(plan, 1)
		args := append([]string{"seed", writeRules(t, src)}, writeHistory(t, nil)...)
		command(t, binary, append(args, "--brokers", r.addrs[0], "--state-dir", t.TempDir())...).want(t, 1, "the app is running", app+".user_id")
	})
}
