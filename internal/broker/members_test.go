package broker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	watched    = "watched"
	sessionMs  = 6000 // the shortest that is allowed
	assignment = "what the leader says"
)

// handMember is a member of a group that does nothing by itself.
type handMember struct {
	t      *testing.T
	client *kgo.Client
	id     string
}

func newHandMember(t *testing.T, addr string) *handMember {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &handMember{t: t, client: client}
}

// join asks to take part, and returns when the group is complete or ctx ends.
func (m *handMember) join(ctx context.Context) (*kmsg.JoinGroupResponse, error) {
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType = watched, m.id, "by hand"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = sessionMs, 5*60*1000
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name = "leader"
		req.Protocols = append(req.Protocols, protocol)
		resp, err := req.RequestWith(ctx, m.client)
		if err != nil {
			return nil, err
		}
		m.id = resp.MemberID
		if err := kerr.ErrorForCode(resp.ErrorCode); err != kerr.MemberIDRequired {
			return resp, err
		}
	}
}

// lead joins, and gives all members their part. It must be the leader.
func (m *handMember) lead() (generation int32) {
	m.t.Helper()
	joined, err := m.join(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if joined.LeaderID != m.id {
		m.t.Fatalf("the leader is %s, want %s", joined.LeaderID, m.id)
	}
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = watched, m.id, joined.Generation
	for _, member := range joined.Members {
		part := kmsg.NewSyncGroupRequestGroupAssignment()
		part.MemberID, part.MemberAssignment = member.MemberID, []byte(assignment)
		req.GroupAssignment = append(req.GroupAssignment, part)
	}
	resp, err := req.RequestWith(m.t.Context(), m.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil || string(resp.MemberAssignment) != assignment {
		m.t.Fatalf("synchronise: %v, assignment %q", err, resp.MemberAssignment)
	}
	return joined.Generation
}

// heartbeat returns what the group's coordinator says to it.
func (m *handMember) heartbeat(generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = watched, m.id, generation
	resp, err := req.RequestWith(m.t.Context(), m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// Members that die while they wait for a rebalance take no part for ever, and who lives on is not disturbed before.
func TestMembersThatDieInARebalanceAreRemoved(t *testing.T) {
	b := start(t, Config{})
	alive := newHandMember(t, b.Addr())
	alive.lead()

	const dead = 5
	ctx, die := context.WithCancel(t.Context())
	waiting := make(chan struct{}, dead)
	for range dead {
		m := newHandMember(t, b.Addr())
		go func() {
			if _, err := m.join(ctx); err == nil {
				t.Error("the group was complete without its leader")
			}
			m.client.Close()
			waiting <- struct{}{}
		}()
	}
	members := func() int { return len(b.cluster.GroupInfo(watched).Members) }
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for members() < 1+dead {
		<-tick.C
	}
	die()
	for range dead {
		<-waiting
	}
	generation := alive.lead()
	if got := members(); got != 1+dead {
		t.Fatalf("%d members after the rebalance, want the %d dead ones too", got, dead)
	}
	for members() == 1+dead {
		<-tick.C
		if err := alive.heartbeat(generation); err != nil && err != kerr.RebalanceInProgress {
			t.Fatal(err)
		}
	}
	for members() > 1 {
		alive.lead()
	}
	if err := alive.heartbeat(alive.lead()); err != nil {
		t.Fatalf("the member that is alive: %v", err)
	}
}

// Silence counts only where a member that lives would speak.
func TestSilence(t *testing.T) {
	const session = 10 * time.Second
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	type look struct {
		second     int
		state      string
		generation int32
		joined     string // members that have asked to join just before, a letter each
		heard      string // members that have sent another request
		want       string
	}
	for name, looks := range map[string][]look{
		"no request in a session": {
			{second: 100, state: stable, heard: "ab"},
			{second: 109, state: stable, heard: "a"},
			{second: 111, state: stable, want: "b"},
		},
		"waits for the others to join": {
			{second: 100, state: joining, joined: "a", heard: "b"},
			{second: 110, state: joining, heard: "b"},
			{second: 900, state: joining, heard: "b"},
			{second: 901, state: stable, generation: 1},
			{second: 911, state: stable, generation: 1},
			{second: 912, state: stable, generation: 1, heard: "b", want: "a"},
		},
		"does not join": {
			{second: 100, state: stable, heard: "ab"},
			{second: 105, state: joining, joined: "a", heard: "b"},
			{second: 115, state: joining},
			{second: 116, state: joining, want: "b"},
		},
		"had joined before": {
			{second: 100, state: joining, joined: "ab"},
			{second: 101, state: "CompletingRebalance", generation: 1, heard: "a"},
			{second: 102, state: joining, generation: 1, joined: "a"},
			{second: 112, state: joining, generation: 1},
			{second: 113, state: joining, generation: 1, want: "b"},
		},
		"waits for the leader": {
			{second: 100, state: joining, joined: "ab"},
			{second: 101, state: "CompletingRebalance", generation: 1, heard: "a"},
			{second: 900, state: "CompletingRebalance", generation: 1},
			{second: 901, state: stable, generation: 1},
			{second: 902, state: stable, generation: 1, heard: "ab"},
		},
		"a rebalance between two looks": {
			{second: 100, state: stable, heard: "ab"},
			{second: 108, state: stable, generation: 1},
			{second: 118, state: stable, generation: 1, heard: "b"},
			{second: 119, state: stable, generation: 1, want: "a"},
		},
		"never heard of": {
			{second: 100, state: stable, heard: "a"},
			{second: 110, state: stable, heard: "a"},
			{second: 111, state: stable, want: "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			group := &watchedGroup{session: session, heard: map[string]lastRequest{}}
			m := &members{groups: map[string]*watchedGroup{watched: group}}
			for i, l := range looks {
				for _, id := range l.joined {
					group.heard[string(id)] = lastRequest{at: at(l.second), joins: l.generation}
				}
				for _, id := range l.heard {
					group.heard[string(id)] = lastRequest{at: at(l.second), joins: none}
				}
				info := &kfake.GroupInfo{State: l.state, Epoch: l.generation, Members: []kfake.GroupMember{{MemberID: "a"}, {MemberID: "b"}}}
				if got := strings.Join(m.silent(watched, info, at(l.second)), ""); got != l.want {
					t.Fatalf("look %d: silent are %q, want %q", i, got, l.want)
				}
			}
		})
	}
}

// Groups that come and go leave nothing behind.
func TestGroupsAreForgotten(t *testing.T) {
	m := &members{groups: map[string]*watchedGroup{}}
	joined := time.Now()
	for i := range 3 {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.SessionTimeoutMillis = strconv.Itoa(i), sessionMs
		m.heardJoin(req, nil)
	}
	m.silent("0", nil, joined)
	m.silent("1", &kfake.GroupInfo{State: "Empty"}, joined.Add(time.Minute))
	m.silent("2", nil, joined.Add(time.Minute))
	if left := m.watched(); !slices.Equal(left, []string{"0"}) {
		t.Errorf("left are the groups %q, want the one that is being joined", left)
	}
}
