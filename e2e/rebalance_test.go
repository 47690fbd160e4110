package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// A second instance joins and leaves again while records come in. The partitions that stay are not restored: of their
// changelog no more is read than the barrier and what the last commit has put before it. How long records of partitions that
// stay and that move have waited is logged.
func TestPartitionsThatStayAreNotRestored(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plan := r.compile(adOptions{app: app, topics: app, direct: true}.source())
		inputs := generate(t, adStream(seedOf(t), 6000), app)
		r.createAdTopics(app)
		book := r.keepLog()
		r.startReady(plan, "one")
		r.feed(inputs)
		r.settle(plan)
		p := r.probe(plan, app)
		p.rounds(20)

		before := r.assignments(plan)
		book.forget()
		second := r.start(plan, "two")
		p.until("the second has its share", func() (bool, error) { return r.hasMembers(plan, 2) })
		r.awaitReady(second, "two")
		p.rounds(20)
		after := r.assignments(plan)
		p.report("join", before, after)
		book.wantTails(t, r.staying(before, after))

		before = after
		p.forget()
		book.forget()
		second.stop()
		p.until("the second is gone", func() (bool, error) { return r.hasMembers(plan, 1) })
		p.rounds(20)
		p.report("leave", before, r.assignments(plan))
		book.wantTails(t, r.staying(before, r.assignments(plan)))

		r.settle(plan)
		r.wantOnce(plan, recount(plan, slices.Concat(inputs, p.sent), nil))
	})
}

// staying returns the partitions, as group/partition, that one member had and has.
func (r *rig) staying(before, after map[string]string) []string {
	r.t.Helper()
	var same []string
	for partition, member := range before {
		if after[partition] == member {
			same = append(same, partition)
		}
	}
	slices.Sort(same)
	if len(same) == 0 || len(same) == len(before) {
		r.t.Fatalf("of %d partitions %d stay", len(before), len(same))
	}
	return same
}

// Instances with an instance_id are restarted one after the other, within the session time-out: everyone has the partitions it had,
// and the table on its disk; on Apache Kafka the others notice nothing.
func TestRollingRestartMovesNothing(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plans := map[string]*rules.Plan{}
		for _, name := range []string{"a", "b"} {
			plans[name] = r.compile("instance_id: " + name + "\n" + adOptions{app: app, topics: app, direct: true,
				state: fmt.Sprintf("{store: disk, dir: %q}", t.TempDir())}.source())
			plans[name].Settings.SessionTimeout = 20 * time.Second // the machine may be busy
		}
		plan := plans["a"]
		inputs := generate(t, adStream(seedOf(t), 6000), app)
		half := len(inputs) / 2
		r.createAdTopics(app)
		book := r.keepLog()
		instances := map[string]*instance{"a": r.startReady(plan, "a"), "b": r.startReady(plans["b"], "b")}
		r.awaitMembers(plan, 2)
		r.feed(inputs[:half])
		r.settle(plan)

		before := r.assignments(plan)
		book.forget()
		for _, name := range []string{"a", "b"} {
			instances[name].stop()
			r.feed(inputs[half : half+10])
			half += 10
			instances[name] = r.startReady(plans[name], name)
			r.settle(plan)
		}
		if after := r.assignments(plan); !maps.Equal(before, after) {
			t.Errorf("the assignment was %v and is %v", before, after)
		}
		if !strings.Contains(t.Name(), "embedded") { // which rebalances where the member that restarts was the leader
			for _, name := range []string{"a", "b"} {
				if n := book.count(name, "session ended"); n != len(plan.Keys) {
					t.Errorf("%s ended %d sessions, want those of its own restart alone, %d", name, n, len(plan.Keys))
				}
			}
		}
		size, err := r.size(processors.ChangelogTopic(app, plan.Keys[0]))
		if err != nil {
			t.Fatal(err)
		}
		if n := book.loaded(""); n == 0 || int64(n) > size/10 {
			t.Errorf("the restarts loaded %d changelog records, the changelog of one key alone has %d: want the tail", n, size)
		}
		r.feed(inputs[half:])
		r.settle(plan)
		r.wantOnce(plan, recount(plan, inputs, nil))
	})
}

// Of two instances that run under one instance_id the first ends with an error that says so.
func TestInstanceIDsAreUnique(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plan := r.compile("instance_id: twin\n" + adOptions{app: app, topics: app, direct: true}.source())
		r.createAdTopics(app)
		ended := make(chan error, 1)
		ready := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			ended <- processors.Run(ctx, plan, processors.Config{ClientID: "first", Logger: r.log, OnReady: func() { close(ready) }})
		}()
		r.await("the first is ready", func() (bool, error) { return closed(ready), nil })
		second := r.startReady(plan, "second")
		r.await("the first ends", func() (bool, error) { return len(ended) > 0, nil })
		if err := <-ended; err == nil || !strings.Contains(err.Error(), `another instance runs with instance_id "twin"`) {
			t.Errorf("the first ended with %v", err)
		}
		second.stop()
	})
}

// With standby copies a takeover reads the tail of the changelog only, also where tables are in memory.
func TestStandbyTakesOver(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, store := range []string{"memory", "disk"} {
			t.Run(store, func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				start := func(name string) (*rules.Plan, *instance) {
					plan := r.compile(adOptions{app: app, topics: app, direct: true,
						state: fmt.Sprintf("{store: %s, dir: %q, standby: 1}", store, t.TempDir())}.source())
					return plan, r.startReady(plan, name)
				}
				inputs := generate(t, adStream(seedOf(t), 6000), app)
				third := len(inputs) / 3
				r.createAdTopics(app)
				book := r.keepLog()
				plan, first := start("one")
				r.feed(inputs[:third])
				r.settle(plan)
				_, second := start("two")
				r.awaitMembers(plan, 2)
				r.feed(inputs[third : 2*third])
				r.settle(plan)
				r.await("each has copies of what the other has", func() (bool, error) { return r.copied(plan, first, second) })
				book.forget()
				first.stop()
				r.awaitMembers(plan, 1)
				r.feed(inputs[2*third:])
				r.settle(plan)
				total := int64(0)
				for _, key := range plan.Keys {
					size, err := r.size(processors.ChangelogTopic(app, key))
					if err != nil {
						t.Fatal(err)
					}
					total += size
				}
				if n := book.loaded("two"); int64(n) > total/10 {
					t.Errorf("the takeover loaded %d of %d changelog records", n, total)
				} else {
					t.Logf("the takeover loaded %d of %d changelog records", n, total)
				}
				second.stop()
				r.wantOnce(plan, recount(plan, inputs, nil))
			})
		}
	})
}

// copied tells whether there is a copy of every table among these instances that has all that its changelog has.
func (r *rig) copied(plan *rules.Plan, instances ...*instance) (bool, error) {
	for _, key := range plan.Keys {
		ends, err := r.ends(processors.ChangelogTopic(plan.App, key))
		if err != nil {
			return false, err
		}
		for _, i := range instances {
			for _, p := range i.stats.Snapshot().Processors {
				if p.Name != processors.KeyGroup(plan.App, key) {
					continue
				}
				for _, s := range p.Standbys {
					if s.Position >= ends[s.Partition]-2 { // behind the last record there is a marker, or a barrier and its marker
						delete(ends, s.Partition)
					}
				}
			}
		}
		if len(ends) > 0 {
			return false, fmt.Errorf("%s: no copy of %v is up to date", key.Name, ends)
		}
	}
	return true, nil
}

// An instance dies in the middle of a commit, with its offsets in a transaction that is open, and does not come back. Another
// takes its partitions over when the session time-out is over; it does not wait for the time-out of the transaction.
func TestTakeoverFromTheDead(t *testing.T) {
	if testing.Short() {
		t.Skip("a member that died holds its partitions for the session time-out")
	}
	binary := buildLookback(t, "-tags", "failpoints")
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app, direct: true}.source()
		src = "kafka: {session_timeout: 6s}\n" + src
		plan := r.compile(src)
		inputs := generate(t, adStream(seedOf(t), 3000), app)
		r.createAdTopics(app)
		file := filepath.Join(t.TempDir(), "rules.yaml")
		if err := os.WriteFile(file, []byte("instance_id: victim\n"+src), 0o600); err != nil {
			t.Fatal(err)
		}
		book := r.keepLog()
		survivor := r.startReady(plan, "survivor")
		t.Setenv("LOOKBACK_FAILPOINT", "producer-after-offsets") // ends the program only: the survivor is of this build
		victim := startProcess(t, binary, "run", "--rules", file, "--brokers", addrs[0])
		r.awaitMembers(plan, 2)
		r.feed(inputs)
		r.await("the victim has died", func() (bool, error) { return closed(victim.ended), nil })
		died := time.Now()
		r.settle(plan)
		t.Logf("%s from the death to the end of the backlog, of which the session time-out is 6s", time.Since(died).Round(time.Millisecond))
		for _, e := range book.of("survivor", "transactions of an instance that left are ended") {
			if e["instance_id"] != "victim" {
				t.Errorf("of the victim there is to be said: %v", e)
			}
		}
		if n := book.count("survivor", "transactions of an instance that left are ended"); n != len(plan.Keys) {
			t.Errorf("the survivor ended the transactions of %d members, want %d", n, len(plan.Keys))
		}
		survivor.stop()
		r.wantOnce(plan, recount(plan, inputs, nil))
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (r *rig) awaitReady(i *instance, name string) {
	r.t.Helper()
	r.await("instance "+name+" in service", func() (bool, error) { return closed(i.ready), nil })
}

// assignments returns which member, by its client id, has which partition, as group/partition.
func (r *rig) assignments(plan *rules.Plan) map[string]string {
	r.t.Helper()
	members := map[string]string{}
	for _, stage := range processors.Stages(plan) {
		groups, err := r.admin.DescribeConsumerGroups([]string{stage.Group})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range groups[0].Members {
			a, err := m.GetMemberAssignment()
			if err != nil || a == nil {
				r.t.Fatalf("assignment of %s: %v", m.ClientId, err)
			}
			for _, numbers := range a.Topics {
				for _, n := range numbers {
					members[fmt.Sprint(stage.Group, "/", n)] = m.ClientId
				}
			}
		}
	}
	return members
}
