package processors

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/IBM/sarama"
)

// group of members as a leader sees them, each with a strategy of its own.
type fakeGroup struct {
	t          *testing.T
	members    map[string]*sticky
	generation int32
	topics     map[string][]int32
	copies     int
	settled    []string                            // instances that were found gone in the last rebalance
	unsettled  bool                                // what they have open cannot be ended
	standby    map[string][]int32                  // as assigned, by member
	rewrite    func(id string, data []byte) []byte // of what members say; nil: as it is
}

// join adds a member that keeps what it was told to, as it is.
func (g *fakeGroup) join(id string) {
	g.members[id] = &sticky{
		instance: id,
		held:     func() (warm, stale []int32) { return g.standby[id], nil },
		assigned: func(_, standby []int32) { g.standby[id] = standby },
	}
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
		if g.rewrite != nil {
			data = g.rewrite(id, data)
		}
		metas[id] = sarama.ConsumerGroupMemberMetadata{Topics: names, UserData: data}
	}
	g.settled = nil
	leader := &sticky{copies: g.copies, settle: func(gone []string) []string {
		g.settled = append(g.settled, gone...)
		if g.unsettled {
			return gone
		}
		return nil
	}}
	plan, err := leader.Plan(metas, g.topics)
	if err != nil {
		g.t.Fatal(err)
	}
	owners := map[int32]string{}
	most, least := 0, 1<<30
	for id, m := range g.members {
		got, there := plan[id]
		if !there {
			g.t.Fatalf("%s is not told anything", id)
		}
		data, err := leader.AssignmentData(id, got, g.generation)
		if err != nil {
			g.t.Fatal(err)
		}
		m.OnAssignment(&sarama.ConsumerGroupMemberAssignment{Topics: got, UserData: data}, g.generation)
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
		g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": list, "b": list}, copies: rng.IntN(3), standby: map[string][]int32{}}
		g.join("m0")
		before := g.rebalance()
		for step := 1; step < 12; step++ {
			gone := ""
			if len(g.members) > 1 && rng.IntN(2) == 0 {
				ids := slices.Sorted(maps.Keys(g.members))
				gone = ids[rng.IntN(len(ids))]
				delete(g.members, gone)
			} else {
				g.join(fmt.Sprint("m", step))
			}
			after := g.rebalance()
			g.wantCopies(after)
			if gone != "" && !slices.Equal(g.settled, []string{gone}) || gone == "" && len(g.settled) > 0 {
				t.Fatalf("%q left, found gone: %v", gone, g.settled)
			}
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
			standby := fmt.Sprint(g.standby)
			if again := g.rebalance(); fmt.Sprint(again) != fmt.Sprint(after) || fmt.Sprint(g.standby) != standby {
				t.Fatalf("without a change of members the assignment changed from %v and %s to %v and %v", after, standby, again, g.standby)
			}
			before = after
		}
	}
}

// copiesOf returns which members have copies of each partition's table.
func (g *fakeGroup) copiesOf() map[int32][]string {
	copies := map[int32][]string{}
	for id := range g.members {
		for _, n := range g.standby[id] {
			copies[n] = append(copies[n], id)
		}
	}
	return copies
}

// wantCopies checks that each table has its copies, none where it is in service, and that the load of them is even, about.
func (g *fakeGroup) wantCopies(owners map[int32]string) {
	g.t.Helper()
	for id := range g.standby {
		if g.members[id] == nil {
			delete(g.standby, id)
		}
	}
	want := min(g.copies, len(g.members)-1)
	copies := g.copiesOf()
	for n, owner := range owners {
		slices.Sort(copies[n])
		if got := slices.Compact(slices.Clone(copies[n])); len(got) != want || len(copies[n]) != want || slices.Contains(got, owner) {
			g.t.Fatalf("partition %d of %s has copies with %v, want %d", n, owner, copies[n], want)
		}
	}
	limit := (len(owners)*want + len(g.members) - 1) / len(g.members)
	for id := range g.members {
		if len(g.standby[id]) > limit+1 {
			g.t.Fatalf("%s has %d copies of %d: %v", id, len(g.standby[id]), len(owners)*want, g.standby)
		}
	}
}

// What a member had goes to who has the copies, be it whoever.
func TestAssignmentFollowsTheCopies(t *testing.T) {
	ids := []string{"m0", "m1", "m2", "m3"}
	for _, gone := range ids {
		g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": {0, 1, 2, 3}}, copies: 1, standby: map[string][]int32{}}
		for _, id := range ids {
			g.join(id)
		}
		before := g.rebalance()
		copies := g.copiesOf()
		delete(g.members, gone)
		after := g.rebalance()
		for n, id := range before {
			if id == gone && after[n] != copies[n][0] {
				t.Errorf("%s left and its partition went to %s, the copy was with %s", gone, after[n], copies[n][0])
			}
		}
	}
}

// A member that comes back with what it has on its disk gets that, from those who have to give up something.
func TestAssignmentFollowsTheDisk(t *testing.T) {
	g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": {0, 1, 2, 3, 4, 5}}, standby: map[string][]int32{}}
	g.join("m0")
	g.join("m1")
	before := g.rebalance()
	var had []int32
	for n, id := range before {
		if id == "m0" {
			had = append(had, n)
		}
	}
	delete(g.members, "m0")
	g.rebalance()
	g.members["m0"] = &sticky{held: func() (warm, stale []int32) { return nil, had }}
	if after := g.rebalance(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the assignment was %v and is %v", before, after)
	}
}

// Those who left are remembered until what they may have open is ended.
func TestAssignmentRemembersWhatIsNotSettled(t *testing.T) {
	g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": {0, 1}}, standby: map[string][]int32{}}
	for _, id := range []string{"m0", "m1", "m2"} {
		g.join(id)
	}
	g.rebalance()
	delete(g.members, "m0")
	g.unsettled = true
	for range 2 {
		if g.rebalance(); !slices.Equal(g.settled, []string{"m0"}) {
			t.Fatalf("found gone: %v", g.settled)
		}
	}
	g.join("m0") // it is back, and settles its own
	if g.rebalance(); len(g.settled) > 0 {
		t.Fatalf("found gone: %v", g.settled)
	}
	delete(g.members, "m0")
	g.unsettled = false
	if g.rebalance(); !slices.Equal(g.settled, []string{"m0"}) {
		t.Fatalf("found gone: %v", g.settled)
	}
	if g.rebalance(); len(g.settled) > 0 {
		t.Fatalf("found gone: %v", g.settled)
	}

	// One that has slept through that comes back with what it knew before.
	g.join("m3")
	g.rebalance()
	sleeper := g.members["m2"]
	delete(g.members, "m2")
	delete(g.members, "m3")
	g.rebalance()
	g.members["m2"] = sleeper
	if g.rebalance(); len(g.settled) > 0 {
		t.Fatalf("found gone: %v", g.settled)
	}
}

// Members of the first releases say their generation and partitions, in four bytes each, and keep them.
func TestAssignmentUnderstandsTheFirstReleases(t *testing.T) {
	g := &fakeGroup{t: t, members: map[string]*sticky{}, topics: map[string][]int32{"a": {0, 1, 2, 3}}, standby: map[string][]int32{}}
	g.join("old")
	g.join("new")
	g.rewrite = func(id string, data []byte) []byte {
		if id != "old" {
			return data
		}
		s, err := decodeSubscription(data)
		if err != nil {
			t.Fatal(err)
		}
		old := binary.BigEndian.AppendUint32(nil, uint32(s.Generation))
		for _, n := range s.Had {
			old = binary.BigEndian.AppendUint32(old, uint32(n))
		}
		return old
	}
	before := g.rebalance()
	g.join("third")
	g.rebalance()
	delete(g.members, "third")
	if after := g.rebalance(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the assignment was %v and is %v", before, after)
	}
}

func TestAssignmentRefusesWhatItCannotDivide(t *testing.T) {
	member := map[string]sarama.ConsumerGroupMemberMetadata{"m": {Topics: []string{"a", "b"}}}
	if _, err := (&sticky{}).Plan(member, map[string][]int32{"a": {0, 1}, "b": {0}}); err == nil {
		t.Error("topics with different partition counts were divided")
	}
	for _, data := range []string{"\x00", "\x00\x00\x00\x01\x00", "\x01", "\x01{", "\x02{}"} {
		member["m"] = sarama.ConsumerGroupMemberMetadata{Topics: []string{"a"}, UserData: []byte(data)}
		if _, err := (&sticky{}).Plan(member, map[string][]int32{"a": {0}}); err == nil {
			t.Errorf("corrupt user data %q was taken", data)
		}
	}
}
