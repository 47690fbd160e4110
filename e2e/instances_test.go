package e2e

import (
	"fmt"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Instances of one app that join and leave while records come in share the work, and the net is that of one.
func TestInstancesJoinAndLeave(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plan := r.compile(adOptions{app: app, topics: app}.source())
		inputs := generate(t, adStream(seedOf(t), 8000), app)
		r.createAdTopics(app)
		quarter := len(inputs) / 4
		feed := func(n int) { r.feed(inputs[n*quarter : (n+1)*quarter]) }

		first := r.startReady(plan, "one")
		feed(0)
		second := r.start(plan, "two")
		feed(1)
		r.awaitMembers(plan, 2)
		third := r.start(plan, "three")
		feed(2)
		r.awaitMembers(plan, 3)
		grown, err := r.size(processors.DeltasTopic(plan.Rules[0]))
		if err != nil {
			t.Fatal(err)
		}
		r.feed(inputs[3*quarter:])
		r.awaitGrowth(processors.DeltasTopic(plan.Rules[0]), grown)
		first.stop()
		r.awaitMembers(plan, 2)
		r.settle(plan)
		second.stop()
		third.stop()
		r.wantOnce(plan, recount(plan, inputs, nil))
		r.wantRejects(app, inputs)
		r.wantNoneLate(app)
	})
}

// awaitMembers waits until each group of an app has that many members, and all of them have partitions.
func (r *rig) awaitMembers(plan *rules.Plan, want int) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d members with partitions", want), func() (bool, error) { return r.hasMembers(plan, want) })
}

// hasMembers tells whether each group of an app has that many members, and all of them have partitions.
func (r *rig) hasMembers(plan *rules.Plan, want int) (bool, error) {
	for _, stage := range processors.Stages(plan) {
		groups, err := r.admin.DescribeConsumerGroups([]string{stage.Group})
		if err != nil {
			return false, err
		}
		g := groups[0]
		if g.State != "Stable" || len(g.Members) != want {
			return false, fmt.Errorf("group %s is %s with %d members", stage.Group, g.State, len(g.Members))
		}
		for _, m := range g.Members {
			a, err := m.GetMemberAssignment()
			if err != nil {
				return false, err
			}
			if a == nil || len(a.Topics) == 0 {
				return false, fmt.Errorf("member %s has no partitions", m.ClientId)
			}
		}
	}
	return true, nil
}
