package broker

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sweepEvery is how often silent members are looked for: short beside the shortest session time-out that is allowed, 6 s.
const sweepEvery = time.Second

// What the engine calls the state of a group whose members have their partitions, and of one that asks them to join again.
const (
	stable  = "Stable"
	joining = "PreparingRebalance"
)

// members ends the sessions of group members that have gone silent, as Apache Kafka does. The engine starts the session of a
// member with its answer to the member's join; where the connection is gone by then, no session ever begins, and so none
// ends: the dead member would keep its partitions for ever, with nobody reading them.
//
// So a member is removed that was not heard of for a session time-out in which its group was at one generation, and either
// stable, or joining while the member itself has not joined: whoever lives sends heartbeats then. How long a group may wait for
// its members to join and to synchronise is bounded by the engine itself.
type members struct {
	cluster *kfake.Cluster
	client  *kgo.Client
	logger  *slog.Logger

	mu     sync.Mutex
	groups map[string]*watchedGroup

	stop context.CancelFunc
	done sync.WaitGroup
}

// watchedGroup is what is known of a group that was joined since the broker has started.
type watchedGroup struct {
	session    time.Duration          // the longest session time-out that a member has asked for
	heard      map[string]lastRequest // by member id
	generation int32                  // of the group when it was last looked at
	since      time.Time              // when members were first bound to speak at that generation; zero: they are not
}

// lastRequest is a member's last request of those that show that it is alive.
type lastRequest struct {
	at    time.Time
	joins int32 // the generation in which the member asked to join; none: the request is not a join
}

const none = -1

// watchMembers begins to listen and to sweep, until close is called. The cluster must outlive it.
func watchMembers(cluster *kfake.Cluster, addr string, logger *slog.Logger) (*members, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("lookback-broker"))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &members{cluster: cluster, client: client, logger: logger, groups: map[string]*watchedGroup{}, stop: stop}
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat} {
		cluster.ControlKey(int16(key), m.hear)
	}
	m.done.Go(func() { m.run(ctx) })
	return m, nil
}

// close ends the sweeping, and returns when nothing of it is under way.
func (m *members) close() {
	m.stop()
	m.done.Wait()
	m.client.Close()
}

// hear notes who is alive. It runs in front of the engine's own handlers, which do all that the requests ask for.
func (m *members) hear(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // the engine's signature
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		m.heardJoin(req, m.cluster.GroupInfo(req.Group))
	case *kmsg.SyncGroupRequest:
		m.heardOf(req.Group, req.MemberID)
	case *kmsg.HeartbeatRequest:
		m.heardOf(req.Group, req.MemberID)
	}
	return nil, nil, false
}

// heardJoin notes a member of a group that is as info says, nil if there is no such group yet.
func (m *members) heardJoin(req *kmsg.JoinGroupRequest, info *kfake.GroupInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.groups[req.Group]
	if g == nil {
		g = &watchedGroup{heard: map[string]lastRequest{}}
		m.groups[req.Group] = g
	}
	g.session = max(g.session, time.Duration(req.SessionTimeoutMillis)*time.Millisecond)
	var generation int32
	if info != nil {
		generation = info.Epoch
	}
	g.heard[req.MemberID] = lastRequest{at: time.Now(), joins: generation}
}

func (m *members) heardOf(group, member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.groups[group]; g != nil {
		g.heard[member] = lastRequest{at: time.Now(), joins: none}
	}
}

func (m *members) run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, group := range m.watched() {
				m.sweep(ctx, group, now)
			}
		}
	}
}

func (m *members) watched() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.groups))
}

// sweep removes the members of a group that are silent.
func (m *members) sweep(ctx context.Context, group string, now time.Time) {
	silent := m.silent(group, m.cluster.GroupInfo(group), now)
	if len(silent) == 0 {
		return
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, id := range silent {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = id
		leave.Members = append(leave.Members, member)
	}
	m.logger.Debug("group members are silent: removing them", "group", group, "members", len(silent))
	if _, err := leave.RequestWith(ctx, m.client); err != nil && ctx.Err() == nil {
		m.logger.Warn("remove silent group members", "group", group, "err", err)
	}
}

// silent returns who has not been heard of for too long in a group that is as info says, nil if there is no such group. It
// forgets members that have left, and a group that nobody has tried to join lately either.
func (m *members) silent(group string, info *kfake.GroupInfo, now time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.groups[group]
	if info == nil || info.State != stable && info.State != joining {
		g.since = time.Time{}
		if (info == nil || len(info.Members) == 0) && g.quiet(now) {
			delete(m.groups, group)
		}
		return nil
	}
	if g.since.IsZero() || g.generation != info.Epoch {
		g.since, g.generation = now, info.Epoch
	}
	var silent []string
	in := make(map[string]bool, len(info.Members))
	for _, member := range info.Members {
		in[member.MemberID] = true
		last, ok := g.heard[member.MemberID]
		waits := ok && info.State == joining && last.joins == info.Epoch
		if !waits && now.Sub(later(last.at, g.since)) > g.session {
			silent = append(silent, member.MemberID)
		}
	}
	// Who is about to become a member may have been heard of already.
	maps.DeleteFunc(g.heard, func(id string, last lastRequest) bool { return !in[id] && now.Sub(last.at) > g.session })
	return silent
}

// quiet reports whether the last request of any member is longer ago than a session.
func (g *watchedGroup) quiet(now time.Time) bool {
	for _, last := range g.heard {
		if now.Sub(last.at) <= g.session {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
