package processors

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/IBM/sarama"
)

// sticky assigns partitions to the members of a processor's group. Partition n of every input goes to one member, as goka
// wants, and a member keeps what it had as far as the load stays even, because moving a partition means restoring its
// table. What must move goes where a copy of its table is. Members tell the leader what they have, and the leader tells them
// what they should have copies of (see membership.go); each member has a sticky of its own, of which the leader's plans.
type sticky struct {
	instance string
	copies   int                               // of each partition's table, besides its owner's
	held     func() (warm, stale []int32)      // partitions whose tables this member has copies of; nil: none
	settle   func(gone []string) []string      // ends what instances that left have open, returns where that failed; nil: nothing to end
	assigned func(partitions, standby []int32) // hears of what this member got, before its session begins; nil: nobody listens
	log      *slog.Logger                      // nil: nothing is logged

	mu         sync.Mutex
	generation int32
	owned      []int32
	roster     []string
	directives map[string]directive // of the last plan, by member
}

// Name is what the group agrees on; members with other names refuse to join.
func (*sticky) Name() string { return "lookback-sticky" }

// SubscriptionUserData tells the leader what this member has.
func (s *sticky) SubscriptionUserData([]string) ([]byte, error) {
	var warm, stale []int32
	if s.held != nil {
		warm, stale = s.held()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return encodeMembership(subscription{
		Instance: s.instance, Generation: s.generation, Had: s.owned, Warm: warm, Stale: stale, Roster: s.roster,
	})
}

// OnAssignment takes note of what this member got.
func (s *sticky) OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32) {
	told, err := decodeDirective(assignment.UserData)
	if err != nil && s.log != nil {
		s.log.Warn("what the group's leader says besides the assignment is passed over", "error", err)
	}
	var owned []int32
	for _, partitions := range assignment.Topics {
		owned = append(owned, partitions...)
	}
	slices.Sort(owned)
	owned = slices.Compact(owned)
	s.mu.Lock()
	s.generation, s.owned, s.roster = generation, owned, told.Roster
	s.mu.Unlock()
	if s.assigned != nil {
		s.assigned(owned, told.Standby)
	}
}

// AssignmentData is what the last plan has for a member besides its partitions.
func (s *sticky) AssignmentData(member string, _ map[string][]int32, _ int32) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return encodeMembership(s.directives[member])
}

// Plan divides the partitions and their copies. What instances that have left the group may have open is ended first: it would
// keep the new owners of their partitions waiting.
func (s *sticky) Plan(members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32) (sarama.BalanceStrategyPlan, error) {
	partitions := 0
	for topic, list := range topics {
		if partitions != 0 && len(list) != partitions {
			return nil, fmt.Errorf("topic %s has %d partitions, another input has %d: inputs must be partitioned alike", topic, len(list), partitions)
		}
		partitions = len(list)
	}
	claimants, err := claimantsOf(members)
	if err != nil {
		return nil, err
	}
	divide(claimants, partitions)
	standBy(claimants, partitions, s.copies)
	present, gone := rosterOf(claimants)
	if s.settle != nil && len(gone) > 0 {
		present = append(present, s.settle(gone)...)
	}

	plan := sarama.BalanceStrategyPlan{}
	directives := map[string]directive{}
	for _, c := range claimants {
		slices.Sort(c.gets)
		slices.Sort(c.stands)
		plan[c.id] = map[string][]int32{} // also for those who get nothing: sarama tells others nothing at all
		for _, topic := range c.topics {
			plan.Add(c.id, topic, c.gets...)
		}
		directives[c.id] = directive{Standby: c.stands, Roster: present}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.directives = directives
	return plan, nil
}

// claimant is a member in the leader's eyes.
type claimant struct {
	subscription
	id     string
	topics []string
	gets   []int32 // partitions
	stands []int32 // partitions whose tables it is to have copies of
}

// claimantsOf returns the members, those with the latest assignment first: where two say that they have a partition,
// they are right.
func claimantsOf(members map[string]sarama.ConsumerGroupMemberMetadata) ([]*claimant, error) {
	var claimants []*claimant
	for _, id := range slices.Sorted(maps.Keys(members)) {
		said, err := decodeSubscription(members[id].UserData)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", id, err)
		}
		claimants = append(claimants, &claimant{subscription: said, id: id, topics: members[id].Topics})
	}
	slices.SortStableFunc(claimants, func(a, b *claimant) int { return cmp.Compare(b.Generation, a.Generation) })
	return claimants, nil
}

// rosterOf returns the instances that are in the group, and those that were in its last generation and are not any more.
func rosterOf(claimants []*claimant) (present, gone []string) {
	for _, c := range claimants {
		if c.Instance != "" {
			present = append(present, c.Instance)
		}
	}
	slices.Sort(present)
	for _, c := range claimants {
		if c.Generation != claimants[0].Generation {
			break
		}
		for _, instance := range c.Roster {
			if _, here := slices.BinarySearch(present, instance); !here && !slices.Contains(gone, instance) {
				gone = append(gone, instance)
			}
		}
	}
	return present, gone
}

// divide gives each claimant its share: what it had first, then what it has a copy of, then what is left over. Where the
// partitions do not divide evenly, those who come first get the larger shares. Who has to give up partitions begins with
// those that others have copies of.
func divide(claimants []*claimant, partitions int) {
	if len(claimants) == 0 {
		return
	}
	share, larger := partitions/len(claimants), partitions%len(claimants)
	taken := make([]bool, partitions)
	take := func(c *claimant, n int32) {
		if n < 0 || int(n) >= partitions || taken[n] {
			return
		}
		switch {
		case len(c.gets) < share:
		case len(c.gets) == share && larger > 0:
			larger--
		default:
			return
		}
		taken[n] = true
		c.gets = append(c.gets, n)
	}
	elsewhere := make([]bool, partitions)
	for _, c := range claimants {
		for _, n := range slices.Concat(c.Warm, c.Stale) {
			if n >= 0 && int(n) < partitions && !slices.Contains(c.Had, n) {
				elsewhere[n] = true
			}
		}
	}
	for _, c := range claimants {
		var movable []int32
		for _, n := range c.Had {
			if n >= 0 && int(n) < partitions && elsewhere[n] {
				movable = append(movable, n)
				continue
			}
			take(c, n)
		}
		for _, n := range movable {
			take(c, n)
		}
	}
	for _, held := range []func(*claimant) []int32{(*claimant).warm, (*claimant).stale} {
		for _, c := range claimants {
			for _, n := range held(c) {
				take(c, n)
			}
		}
	}
	for n := range int32(partitions) {
		if taken[n] {
			continue
		}
		least := slices.MinFunc(claimants, func(a, b *claimant) int { return cmp.Compare(len(a.gets), len(b.gets)) })
		least.gets = append(least.gets, n)
	}
}

func (c *claimant) warm() []int32  { return c.Warm }
func (c *claimant) had() []int32   { return c.Had }
func (c *claimant) stale() []int32 { return c.Stale }

// standBy gives each partition's table that many copies, each with another member and none with the owner, as far as there
// are members. Who has one keeps it, and who had the partition keeps its table as a copy, as far as the load stays even.
func standBy(claimants []*claimant, partitions, copies int) {
	copies = min(copies, len(claimants)-1)
	if copies <= 0 {
		return
	}
	limit := (partitions*copies + len(claimants) - 1) / len(claimants)
	counts := make([]int, partitions)
	may := func(c *claimant, n int32) bool { return !slices.Contains(c.gets, n) && !slices.Contains(c.stands, n) }
	give := func(c *claimant, n int32) {
		c.stands = append(c.stands, n)
		counts[n]++
	}
	for _, held := range []func(*claimant) []int32{(*claimant).warm, (*claimant).had, (*claimant).stale} {
		for _, c := range claimants {
			for _, n := range held(c) {
				if n >= 0 && int(n) < partitions && counts[n] < copies && len(c.stands) < limit && may(c, n) {
					give(c, n)
				}
			}
		}
	}
	for n := range int32(partitions) {
		for counts[n] < copies {
			var least *claimant
			for _, c := range claimants {
				if may(c, n) && (least == nil || len(c.stands) < len(least.stands)) {
					least = c
				}
			}
			give(least, n)
		}
	}
	// The last of them may have had no choice.
	for _, c := range claimants {
		for i := len(c.stands) - 1; i >= 0 && len(c.stands) > limit; i-- {
			n := c.stands[i]
			if at := slices.IndexFunc(claimants, func(other *claimant) bool { return len(other.stands) < limit && may(other, n) }); at >= 0 {
				claimants[at].stands = append(claimants[at].stands, n)
				c.stands = slices.Delete(c.stands, i, i+1)
			}
		}
	}
}
