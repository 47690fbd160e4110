package processors

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/IBM/sarama"
)

// group of members as a leader sees them, each with a strategy of its own.
type fakeGroup struct {
	t          *testing.T
	members    map[string]*sticky
	generation int32
	topics     map[string][]int32
}

// rebalance plans, tells every member what it got and returns who has which partition.
func (g *fakeGroup) rebalance() map[int32]string {
	g.t.Helper()
	g.generation++
	metas := map[string]sarama.ConsumerGroupMemberMetadata{}
	var names []string
	for topic := range g.topics {
		names = append(names, topic)
	}
	for id, m := range g.members {
		data, err := m.SubscriptionUserData(names)
		if err != nil {
			g.t.Fatal(err)
		}
		metas[id] = sarama.ConsumerGroupMemberMetadata{Topics: names, UserData: data}
	}
	plan, err := (&sticky{}).Plan(metas, g.topics)
	if err != nil {
		g.t.Fatal(err)
	}
	owners := map[int32]string{}
	most, least := 0, 1<<30
	for id, m := range g.members {
		got := plan[id]
		m.OnAssignment(&sarama.ConsumerGroupMemberAssignment{Topics: got}, g.generation)
		var first []int32
		for topic := range g.topics {
			first = got[topic]
		}
		for topic := range g.topics {
			if fmt.Sprint(got[topic]) != fmt.Sprint(first) {
				g.t.Fatalf("%s got different partitions of different topics: %v", id, got)
			}
		}
		for _, n := range first {
			if other, taken := owners[n]; taken {
				g.t.Fatalf("partition %d went to %s and %s", n, other, id)
			}
			owners[n] = id
		}
		most, least = max(most, len(first)), min(least, len(first))
	}
	for topic, partitions := range g.topics {
		if len(owners) != len(partitions) {
			g.t.Fatalf("%d of %d partitions of %s are assigned", len(owners), len(partitions), topic)
		}
	}
	if most-least > 1 {
		g.t.Fatalf("shares from %d to %d", least, most)
	}
	return owners
}

// Members come and go: shares stay even, inputs stay co-partitioned, and no more partitions move than must.
func TestAssignmentIsEvenAndSticky(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		partitions := 1 + rng.IntN(30)
		list := make([]int32, partitions)
		for i := range list {
			list[i] = int32(i)
		}
		g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": list, "b": list}}
		g.members["m0"] = &sticky{}
		before := g.rebalance()
		for step := 1; step < 12; step++ {
			gone := ""
			if len(g.members) > 1 && rng.IntN(2) == 0 {
				for id := range g.members {
					gone = id
				}
				delete(g.members, gone)
			} else {
				g.members[fmt.Sprint("m", step)] = &sticky{}
			}
			after := g.rebalance()
			moved := 0
			for n, id := range before {
				if id != gone && after[n] != id {
					moved++
				}
			}
			// A member that leaves moves nobody else's; one that joins takes its share.
			if limit := (partitions + len(g.members) - 1) / len(g.members); gone != "" && moved > 0 || moved > limit {
				t.Fatalf("%d partitions of members that stayed moved (left: %q, members: %d, partitions: %d)", moved, gone, len(g.members), partitions)
			}
			if again := g.rebalance(); fmt.Sprint(again) != fmt.Sprint(after) {
				t.Fatalf("without a change of members the assignment changed from %v to %v", after, again)
			}
			before = after
		}
	}
}

func TestAssignmentRefusesWhatItCannotDivide(t *testing.T) {
	member := map[string]sarama.ConsumerGroupMemberMetadata{"m": {Topics: []string{"a", "b"}}}
	if _, err := (&sticky{}).Plan(member, map[string][]int32{"a": {0, 1}, "b": {0}}); err == nil {
		t.Error("topics with different partition counts were divided")
	}
	member["m"] = sarama.ConsumerGroupMemberMetadata{Topics: []string{"a"}, UserData: []byte{1}}
	if _, err := (&sticky{}).Plan(member, map[string][]int32{"a": {0}}); err == nil {
		t.Error("corrupt user data was taken")
	}
}
