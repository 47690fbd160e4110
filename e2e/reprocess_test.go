package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// middle is an interval of a third of the inputs' time.
func middle(inputs []input) (from, to time.Time) {
	first := time.UnixMicro(inputs[0].time)
	third := time.UnixMicro(latestTime(inputs)).Sub(first) / 3
	return first.Add(third).UTC().Truncate(time.Minute), first.Add(2 * third).UTC().Truncate(time.Minute)
}

// reprocessArgs are the command that computes an interval again.
func (r *rig) reprocessArgs(file string, from, to time.Time, more ...string) []string {
	const minutes = "2006-01-02T15:04Z07:00"
	return append([]string{"run", "--rules", file, "--brokers", r.addrs[0], "--state-dir", r.t.TempDir(), "--from", from.Format(minutes), "--to", to.Format(minutes)}, more...)
}

// An interval that is computed again into new topics has the rows of the batch answer for it, deltas and upserts, while the app
// is at work, and killed in the middle and started again, too. It leaves nothing but these topics.
func TestReprocessedIntervalEqualsBatch(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			for _, killed := range []bool{false, true} {
				t.Run(fmt.Sprintf("direct=%t,killed=%t", direct, killed), func(t *testing.T) {
					if killed && testing.Short() {
						t.Skip("a killed member holds its partitions for the session time-out, ten seconds")
					}
					t.Parallel()
					r, app := newRig(t, addrs), appName()
					src := adOptions{app: app, topics: app, direct: direct}.source()
					plan, file := r.compile(src), writeRules(t, src)
					inputs := generate(t, adStream(seedOf(t), 9000), app)
					r.createAdTopics(app)
					i := r.startReady(plan, app)
					r.feed(inputs)
					from, to := middle(inputs)
					args := r.reprocessArgs(file, from, to, "--into-suffix", ".again", "--http", "off")
					if killed {
						p := startProcess(t, binary, args...)
						again := app + ".attributed.again.deltas"
						r.await("rows of the re-processing", func() (bool, error) {
							if err := r.client.RefreshMetadata(); err != nil {
								return false, err
							}
							n, err := r.size(again)
							return n > 0, err
						})
						p.kill()
					}
					command(t, binary, args...).want(t, 0, "re-processed ")
					for _, rule := range plan.Rules {
						r.wantInterval(plan, rule, rule.Into+".again", recount(plan, inputs, nil), from, to)
						r.wantDeltas(r.readOutputs(rule.Into + ".again.deltas"))
					}
					r.settle(plan)
					i.stop()
					r.wantOnce(plan, recount(plan, inputs, nil))
					r.wantNothingOf(app + ".replay-")
					command(t, binary, args...).want(t, 1, "is not empty")
				})
			}
		}
	})
}

// Rows that a mistake in the rules has made are replaced in the same topics: those of the interval are then as the corrected
// rules say, those that have no credit by them are deleted, all others stay. What the app writes later is newer still.
func TestReprocessedRowsReplaceOthers(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				right := adOptions{app: app, topics: app, direct: direct}.source()
				right = strings.ReplaceAll(right, "within: 1d", "within: 4h")
				wrong := strings.ReplaceAll(right, "within: 4h", "within: 2d")
				was, is := r.compile(wrong), r.compile(right)
				inputs := generate(t, adStream(seedOf(t), 6000), app)
				early, late := split(inputs, func(in *input) bool { return in.kind != gen.Delayed }) // late ones correct what was written
				r.createAdTopics(app)
				i := r.startReady(was, app)
				r.feed(early)
				r.settle(was)
				from, to := middle(inputs)
				args := r.reprocessArgs(writeRules(t, right), from, to, "--emit", "upserts", "--http", "off")
				command(t, binary, args...).want(t, 1, "the app is running")
				i.stop()
				command(t, binary, r.reprocessArgs(writeRules(t, right), from, to, "--http", "off")...).want(t, 2, "--into-suffix", "--emit upserts")
				before := r.upserts(was)
				command(t, binary, args...).want(t, 0, "re-processed ")
				batch := recount(is, early, nil)
				for _, rule := range is.Rules {
					r.wantVersions(r.readOutputs(rule.Into))
					r.wantInterval(is, rule, rule.Into, batch, from, to)
				}
				after, complain := r.upserts(is), r.complaints()
				for key, row := range before {
					if !within(row, from, to) && (after[key] == nil || after[key]["_version"] != row["_version"]) {
						complain("%s is outside of the interval and was %v, is %v", key, row, after[key])
					}
				}
				r.wantNothingOf(app + ".replay-")

				i = r.startReady(is, app)
				r.feed(late)
				r.settle(is)
				i.stop()
				batch = recount(is, inputs, nil)
				for _, rule := range is.Rules {
					r.wantVersions(r.readOutputs(rule.Into))
					r.wantInterval(is, rule, rule.Into, batch, from, to)
				}
			})
		}
	})
}

// What topics do not hold any more is not left out in silence.
func TestReprocessSaysWhatIsMissing(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app}.source()
		inputs := generate(t, adStream(seedOf(t), 3000), app)
		r.createAdTopics(app)
		r.feed(inputs)
		topic := app + ".clicks"
		ends, err := r.ends(topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.admin.DeleteRecords(topic, map[int32]int64{1: ends[1] / 2}); err != nil {
			t.Fatal(err)
		}
		from, to := middle(inputs)
		args := r.reprocessArgs(writeRules(t, src), from, to, "--into-suffix", ".again", "--http", "off")
		command(t, binary, args...).want(t, 1, "topic "+topic+", partition 1, begins with a record of ", "stream click is needed from ")
		command(t, binary, append(args, "--allow-missing")...).want(t, 0, "re-processed ")
		for _, wrong := range [][]string{
			{"--from", "2026-11-02", "--to", "2026-11-01"},
			{"--from", "2026-11-02"},
			{"--from", "2026-11-02", "--to", "soon"},
			{"--into-suffix", ".again"},
		} {
			command(t, binary, append([]string{"run", writeRules(t, src)}, wrong...)...).want(t, 2, "--")
		}
	})
}

// within tells whether the conversion of a row is in an interval.
func within(row map[string]any, from, to time.Time) bool {
	at, err := time.Parse(time.RFC3339, fmt.Sprint(row["event_time"]))
	return err == nil && !at.Before(from) && at.Before(to)
}

// upserts returns the last upsert of each key, by topic and key.
func (r *rig) upserts(plan *rules.Plan) map[string]map[string]any {
	r.t.Helper()
	last := map[string]map[string]any{}
	for _, rule := range plan.Rules {
		for _, m := range r.read(rule.Into) {
			last[rule.Into+"/"+string(m.Key)] = decode[map[string]any](r.t, m.Value)
		}
	}
	return last
}

// wantInterval checks that the last upserts of a topic whose conversions are in the interval are the batch answer's, and, where
// there are deltas besides, that these sum up to them. A topic of the interval alone has no others.
func (r *rig) wantInterval(plan *rules.Plan, rule *rules.Rule, topic string, batch *processors.Recount, from, to time.Time) {
	r.t.Helper()
	want := map[string]string{}
	if err := batch.Rows(func(of *rules.Rule, c *codecs.Credit) {
		if of != rule || c.EventTime < from.UnixMicro() || c.EventTime >= to.UnixMicro() {
			return
		}
		value, err := codecs.AppendFinal(nil, c)
		if err != nil {
			r.t.Error(err)
		}
		want[string(codecs.AppendRowKey(nil, c))] = bareRow(r.t, decode[map[string]any](r.t, value))
	}); err != nil {
		r.t.Fatal(err)
	}
	if len(want) == 0 {
		r.t.Error("the batch answer has no rows in the interval, so the comparison shows nothing")
	}
	got, complain := map[string]string{}, r.complaints()
	for _, m := range r.readOutputs(topic) {
		row := decode[map[string]any](r.t, m.Value)
		switch {
		case within(row, from, to) && row["_deleted"] == true:
			delete(got, string(m.Key))
		case within(row, from, to):
			got[string(m.Key)] = bareRow(r.t, row)
		case topic != rule.Into:
			complain("%s has a row of %s, outside of the interval: %v", topic, row["event_time"], row)
		}
	}
	for key := range maps.Keys(want) {
		if got[key] != want[key] {
			complain("%s %s: the row is %q, want %q", topic, key, got[key], want[key])
		}
		delete(got, key)
	}
	for key, row := range got {
		complain("%s %s: there is a row, want none: %s", topic, key, row)
	}
	if topic == rule.Into || !rule.Deltas {
		return
	}
	sums := map[string]int{}
	for _, m := range r.readOutputs(topic + ".deltas") {
		row := decode[map[string]any](r.t, m.Value)
		sign := int(row["sign"].(float64))
		key := string(m.Key) + " " + fmt.Sprint(row["class"], row["touch_id"])
		if sums[key] += sign; sums[key] == 0 {
			delete(sums, key)
		}
	}
	for key, row := range want {
		of := decode[map[string]any](r.t, []byte(row))
		sum := key + " " + fmt.Sprint(of["class"], of["touch_id"])
		if sums[sum] != 1 {
			complain("%s: deltas of %s sum up to %d, want 1", topic, sum, sums[sum])
		}
		delete(sums, sum)
	}
	for key, sum := range sums {
		complain("%s: deltas of %s sum up to %d, want none", topic, key, sum)
	}
}

// bareRow is a row without what only upserts have, as text that can be compared.
func bareRow(t *testing.T, row map[string]any) string {
	t.Helper()
	for _, name := range []string{"_op", "_version", "_deleted", "rule_hash"} {
		delete(row, name)
	}
	b, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantNothingOf checks that there are no topics and groups whose names begin like this.
func (r *rig) wantNothingOf(prefix string) {
	r.t.Helper()
	topics, err := r.admin.ListTopics()
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range topics {
		if strings.HasPrefix(name, prefix) {
			r.t.Errorf("topic %s is left", name)
		}
	}
	groups, err := r.admin.ListConsumerGroups()
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range groups {
		if strings.HasPrefix(name, prefix) {
			r.t.Errorf("group %s is left", name)
		}
	}
}
