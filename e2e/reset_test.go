package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// A reset shows what it would do and does it only when it is told to. The app then computes the same rows again, all with
// larger versions than before, also on an instance whose disk holds the state of before.
func TestResetAppComputesTheSameRowsAnew(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				src := adOptions{app: app, topics: app, direct: direct, state: fmt.Sprintf("{store: disk, dir: %q}", t.TempDir())}.source()
				src = strings.ReplaceAll(src, "    into:", "    emit: upserts\n    into:")
				plan, file := r.compile(src), writeRules(t, src)
				inputs := generate(t, adStream(seedOf(t), 4000), app)
				r.createAdTopics(app)
				elsewhere := []string{"reset", file, "--brokers", r.addrs[0], "--state-dir", t.TempDir()}

				i := r.startReady(plan, app)
				r.feed(inputs)
				r.settle(plan)
				command(t, binary, append(elsewhere, "--yes")...).want(t, 1, "the app is running", app+".user_id")
				i.stop()
				r.wantOnce(plan, recount(plan, inputs, nil))
				before := r.sizes(plan)
				lagged := r.lag(plan) // of what the intakes have said about idle sources since
				versions := r.versions(plan)

				command(t, binary, elsewhere...).want(t, 0, "To do it, add --yes", "Nothing was changed", app+".user_id-table", app+".impressions")
				if after := r.sizes(plan); after != before {
					t.Errorf("the topics have %s, before the preview they had %s", after, before)
				}
				if lag := r.lag(plan); lag != lagged {
					t.Errorf("after the preview %d records are to be read, before it %d were", lag, lagged)
				}

				for range 2 { // a reset that is done twice is done
					command(t, binary, append(elsewhere, "--yes")...).want(t, 0, "begins anew")
				}
				i = r.startReady(plan, app)
				r.settle(plan)
				i.stop()
				r.wantOnce(plan, recount(plan, inputs, nil))
				for key, v := range r.versions(plan) {
					if v.first != 0 && v.last <= versions[key].last {
						t.Errorf("%s: version %d comes after %d", key, v.last, versions[key].last)
					}
				}
			})
		}
	})
}

// With its outputs, an app begins anew as if it had never run: deltas count once. Folders of this machine are removed.
func TestResetWithOutputsForgetsEverything(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		dir := t.TempDir()
		src := adOptions{app: app, topics: app, state: fmt.Sprintf("{store: disk, dir: %q}", dir)}.source()
		plan, file := r.compile(src), writeRules(t, src)
		inputs := generate(t, adStream(seedOf(t), 3000), app)
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		r.feed(inputs)
		r.settle(plan)
		i.stop()
		args := []string{"reset", file, "--brokers", r.addrs[0], "--outputs"}
		command(t, binary, args...).want(t, 0, "Nothing was changed", filepath.Join(dir, app, "user_id"), app+".attributed.deltas")
		command(t, binary, append(args, "--yes")...).want(t, 0, "begins anew")
		if err := r.client.RefreshMetadata(outputTopics(plan)...); err != nil {
			t.Fatal(err)
		}
		for _, topic := range append(outputTopics(plan), processors.LateTopic(app), processors.RejectedTopic(app)) {
			if left := r.read(topic); len(left) > 0 {
				t.Errorf("topic %s has %d records", topic, len(left))
			}
		}
		if _, err := os.Stat(filepath.Join(dir, app, "user_id")); err == nil {
			t.Error("the folder with the state is still there")
		}
		i = r.startReady(plan, app)
		r.settle(plan)
		i.stop()
		r.wantOnce(plan, recount(plan, inputs, nil))
		r.wantRejects(app, inputs)
	})
}

// A key is reset alone where it has its inputs for itself, and refused where others would be sent them again.
func TestResetOfOneKey(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		for direct, want := range map[bool]string{true: "Nothing was changed", false: "also feeds key"} {
			src := adOptions{app: app, topics: app, direct: direct}.source()
			got := command(t, binary, "reset", writeRules(t, src), "--brokers", r.addrs[0], "--state-dir", t.TempDir(), "--key", "user_id")
			got.want(t, map[bool]int{true: 0, false: 1}[direct], want)
			if strings.Contains(got.stdout, app+".user_id-advertiser_id") {
				t.Errorf("a reset of key user_id touches the other:\n%s", got.stdout)
			}
		}
		src := adOptions{app: app, topics: app}.source()
		command(t, binary, "reset", writeRules(t, src), "--brokers", r.addrs[0], "--key", "other").want(t, 1, `no key "other"`, "user_id-advertiser_id")
	})
}

// lag returns how many records the app has still to commit.
func (r *rig) lag(plan *rules.Plan) int64 {
	r.t.Helper()
	lag, err := processors.Lag(plan, r.client)
	if err != nil {
		r.t.Fatal(err)
	}
	return lag
}

// sizes says where the topics of a plan begin and end.
func (r *rig) sizes(plan *rules.Plan) string {
	r.t.Helper()
	text := ""
	for _, topic := range processors.Topics(plan) {
		numbers, err := r.client.Partitions(topic.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, n := range numbers {
			oldest, err := r.client.GetOffset(topic.Name, n, sarama.OffsetOldest)
			if err != nil {
				r.t.Fatal(err)
			}
			newest, err := r.client.GetOffset(topic.Name, n, sarama.OffsetNewest)
			if err != nil {
				r.t.Fatal(err)
			}
			text += fmt.Sprintf("%s/%d: %d-%d ", topic.Name, n, oldest, newest)
		}
	}
	return text
}

// versionRange are the versions that a row has had.
type versionRange struct{ first, last uint64 }

// versions returns the versions of upserts by their key, and checks that all of them are exact as doubles.
func (r *rig) versions(plan *rules.Plan) map[string]versionRange {
	r.t.Helper()
	all := map[string]versionRange{}
	for _, rule := range plan.Rules {
		for _, m := range r.read(rule.Into) {
			v := decode[struct {
				Version uint64 `json:"_version"`
			}](r.t, m.Value).Version
			if v == 0 || v >= 1<<53 {
				r.t.Errorf("version %d of %s is not within 53 bits", v, m.Key)
			}
			key := m.Topic + "/" + string(m.Key)
			was, known := all[key]
			if !known {
				was.first = v
			}
			all[key] = versionRange{was.first, max(was.last, v)}
		}
	}
	return all
}
