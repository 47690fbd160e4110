package processors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/IBM/sarama"
)

// sticky assigns partitions to the members of a processor's group. Partition n of every input goes to one member, as goka
// wants, and a member keeps what it had as far as the load stays even, because moving a partition means restoring its
// table. Members tell the leader what they have; each has a sticky of its own.
type sticky struct {
	mu         sync.Mutex
	generation int32
	owned      []int32
}

var errAssignment = errors.New("corrupt assignment data")

// Name is what the group agrees on; members with other names refuse to join.
func (*sticky) Name() string { return "lookback-sticky" }

// SubscriptionUserData tells the leader which partitions this member has.
func (s *sticky) SubscriptionUserData([]string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := binary.BigEndian.AppendUint32(nil, uint32(s.generation))
	for _, n := range s.owned {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b, nil
}

// OnAssignment takes note of the partitions that this member got.
func (s *sticky) OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation = generation
	s.owned = s.owned[:0]
	for _, partitions := range assignment.Topics {
		s.owned = append(s.owned, partitions...)
	}
	slices.Sort(s.owned)
	s.owned = slices.Compact(s.owned)
}

// AssignmentData is empty: the assignment itself says it all.
func (*sticky) AssignmentData(string, map[string][]int32, int32) ([]byte, error) { return nil, nil }

// claimant is a member in the leader's eyes.
type claimant struct {
	id         string
	topics     []string
	generation int32
	had        []int32
	gets       []int32
}

// Plan divides the partitions. It depends on its arguments alone.
func (*sticky) Plan(members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32) (sarama.BalanceStrategyPlan, error) {
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
	plan := sarama.BalanceStrategyPlan{}
	for _, c := range claimants {
		slices.Sort(c.gets)
		for _, topic := range c.topics {
			plan.Add(c.id, topic, c.gets...)
		}
	}
	return plan, nil
}

// claimantsOf returns the members, those with the latest assignment first: where two say that they have a partition,
// they are right.
func claimantsOf(members map[string]sarama.ConsumerGroupMemberMetadata) ([]*claimant, error) {
	var claimants []*claimant
	for _, id := range slices.Sorted(maps.Keys(members)) {
		meta := members[id]
		c := &claimant{id: id, topics: meta.Topics}
		data := meta.UserData
		if len(data)%4 != 0 {
			return nil, fmt.Errorf("member %s: %w", id, errAssignment)
		}
		for i := 0; i < len(data); i += 4 {
			n := int32(binary.BigEndian.Uint32(data[i:]))
			if i == 0 {
				c.generation = n
				continue
			}
			c.had = append(c.had, n)
		}
		claimants = append(claimants, c)
	}
	slices.SortStableFunc(claimants, func(a, b *claimant) int { return cmp.Compare(b.generation, a.generation) })
	return claimants, nil
}

// divide gives each claimant its share: what it had first, then what is left over. Where the partitions do not divide
// evenly, those who had more get the larger shares.
func divide(claimants []*claimant, partitions int) {
	if len(claimants) == 0 {
		return
	}
	share, larger := partitions/len(claimants), partitions%len(claimants)
	taken := make([]bool, partitions)
	for _, c := range claimants {
		for _, n := range c.had {
			if n < 0 || int(n) >= partitions || taken[n] {
				continue
			}
			switch {
			case len(c.gets) < share:
			case len(c.gets) == share && larger > 0:
				larger--
			default:
				continue
			}
			taken[n] = true
			c.gets = append(c.gets, n)
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
