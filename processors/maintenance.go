package processors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
)

// maintenance is the connection of what is done to an app from outside, while it does not run: a reset, a seed, the begin of
// a re-processing. Unlike Run it gives up where brokers do not answer, because somebody waits for it.
type maintenance struct {
	plan   *rules.Plan
	log    *slog.Logger
	config *sarama.Config
	client sarama.Client
	admin  sarama.ClusterAdmin
}

// maintenancePatience is how long what may pass, such as a coordinator that is moving, is tried again.
const maintenancePatience = 30 * time.Second

func newMaintenance(plan *rules.Plan, cfg Config) (*maintenance, error) {
	m := &maintenance{plan: plan, log: cfg.Logger, config: saramaConfig(cfg.ClientID)}
	membership(m.config, plan.Settings)
	var err error
	if m.client, err = sarama.NewClient(plan.Settings.Brokers, m.config); err != nil {
		return nil, fmt.Errorf("connect to %v: %w", plan.Settings.Brokers, err)
	}
	if m.admin, err = sarama.NewClusterAdminFromClient(m.client); err != nil {
		m.close()
		return nil, fmt.Errorf("connect to %v: %w", plan.Settings.Brokers, err)
	}
	return m, nil
}

func (m *maintenance) close() { _ = m.client.Close() } // nothing is on its way any more

// retry calls do again while it fails with what may pass, for as long as patience lasts.
func (m *maintenance) retry(ctx context.Context, do func() error) error {
	begun := time.Now()
	var delay backoff
	for {
		err := do()
		if err == nil || !mayPass(err) || time.Since(begun) > maintenancePatience || !sleep(ctx, delay.next()) {
			return err
		}
		m.log.Debug("trying again", "error", err)
	}
}

// mayPass tells errors of brokers that move or are busy from those that another attempt would get again.
func mayPass(err error) bool {
	if network := (net.Error)(nil); errors.As(err, &network) || errors.Is(err, io.EOF) || isRetriable(err) || isPassing(err) {
		return true
	}
	for _, cause := range []error{sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrNotController, sarama.ErrNotConnected} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// GroupState is a consumer group and who is in it.
type GroupState struct {
	Name    string
	Members []string // client and host of each
}

// BusyError says that an app is at work where it must not be.
type BusyError struct{ Groups []GroupState }

func (e *BusyError) Error() string {
	var b strings.Builder
	b.WriteString("the app is running; stop all its instances first (one with an instance_id leaves its groups only when the session time-out has passed):")
	for _, g := range e.Groups {
		fmt.Fprintf(&b, "\n  group %s has %d members: %s", g.Name, len(g.Members), strings.Join(g.Members, ", "))
	}
	return b.String()
}

// groups looks consumer groups up, in their order. One that does not exist has no members.
func (m *maintenance) groups(ctx context.Context, names []string) ([]GroupState, error) {
	var described []*sarama.GroupDescription
	err := m.retry(ctx, func() (err error) {
		if described, err = m.admin.DescribeConsumerGroups(names); err != nil {
			return err
		}
		for _, d := range described {
			if d.Err != sarama.ErrNoError && d.Err != sarama.ErrGroupIDNotFound {
				_ = m.client.RefreshCoordinator(d.GroupId) // the next attempt says what it comes to
				return fmt.Errorf("group %s: %w", d.GroupId, d.Err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe consumer groups: %w", err)
	}
	states := make([]GroupState, len(names))
	for i, name := range names {
		states[i].Name = name
		for _, d := range described {
			if d.GroupId != name {
				continue
			}
			for _, member := range d.Members {
				states[i].Members = append(states[i].Members, member.ClientId+" at "+strings.TrimPrefix(member.ClientHost, "/"))
			}
			slices.Sort(states[i].Members)
		}
	}
	return states, nil
}

// wantIdle returns a BusyError where one of the groups has members.
func (m *maintenance) wantIdle(ctx context.Context, names []string) error {
	states, err := m.groups(ctx, names)
	if err != nil {
		return err
	}
	busy := slices.DeleteFunc(states, func(g GroupState) bool { return len(g.Members) == 0 })
	if len(busy) > 0 {
		return &BusyError{busy}
	}
	return nil
}

// deleteGroups forgets groups and their offsets. The coordinator refuses where a group has members.
func (m *maintenance) deleteGroups(ctx context.Context, names []string) error {
	for _, name := range names {
		err := m.retry(ctx, func() error { return m.admin.DeleteConsumerGroup(name) })
		if err != nil && !errors.Is(err, sarama.ErrGroupIDNotFound) {
			return fmt.Errorf("delete consumer group %s: %w", name, err)
		}
	}
	return nil
}

// offsets returns what a group has committed in a topic, by partition; -1 where it has committed nothing.
func (m *maintenance) offsets(ctx context.Context, group, topic string, partitions int32) ([]int64, error) {
	offsets := make([]int64, partitions)
	wanted := make([]int32, partitions)
	for n := range partitions {
		wanted[n] = n
	}
	err := m.retry(ctx, func() error {
		resp, err := m.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: wanted})
		if err != nil {
			return err
		}
		for n := range offsets {
			offsets[n] = -1
			if b := resp.GetBlock(topic, int32(n)); b != nil {
				if b.Err != sarama.ErrNoError {
					return b.Err
				}
				offsets[n] = b.Offset
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read offsets of group %s in %s: %w", group, topic, err)
	}
	return offsets, nil
}

// setOffsets makes a group without members read a topic from these offsets on, by partition.
func (m *maintenance) setOffsets(ctx context.Context, group, topic string, offsets map[int32]int64) error {
	positions := map[int32]sarama.OffsetAndMetadata{}
	for n, offset := range offsets {
		positions[n] = sarama.OffsetAndMetadata{Offset: offset, LeaderEpoch: -1}
	}
	err := m.retry(ctx, func() error {
		resp, err := m.admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: positions}, nil)
		if err != nil {
			return err
		}
		for _, code := range resp.Errors[topic] {
			if code != sarama.ErrNoError {
				return code
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set offsets of group %s in %s: %w", group, topic, err)
	}
	return nil
}

// bounds returns the first offset of a partition and that behind its last record.
func (m *maintenance) bounds(ctx context.Context, topic string, partition int32) (oldest, newest int64, err error) {
	if oldest, err = m.offsetAt(ctx, topic, partition, sarama.OffsetOldest); err == nil {
		newest, err = m.offsetAt(ctx, topic, partition, sarama.OffsetNewest)
	}
	return oldest, newest, err
}

// offsetAt returns the first offset whose record has a timestamp of at or later, in milliseconds since 1970; -1 where there
// is none. sarama's OffsetOldest and OffsetNewest stand for the bounds of the partition.
func (m *maintenance) offsetAt(ctx context.Context, topic string, partition int32, at int64) (offset int64, err error) {
	err = m.retry(ctx, func() (err error) {
		offset, err = m.client.GetOffset(topic, partition, at)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read offsets of %s/%d: %w", topic, partition, err)
	}
	return offset, nil
}

// firstSince returns the first offset of a partition whose record has a timestamp of at or later; end where there is none.
func (m *maintenance) firstSince(ctx context.Context, topic string, partition int32, at time.Time, end int64) (int64, error) {
	offset, err := m.offsetAt(ctx, topic, partition, max(at.UnixMilli(), 0))
	if offset < 0 {
		offset = end
	}
	return offset, err
}

// firstTimestamp returns the timestamp of the first committed record of a partition in [from, end), if there is one.
func (m *maintenance) firstTimestamp(ctx context.Context, topic string, partition int32, from, end int64) (at time.Time, found bool, err error) {
	err = m.retry(ctx, func() error {
		_, err := visitCommitted(m.client, topic, partition, from, end, func(r *committedRecord) bool {
			at, found = r.Timestamp, true
			return false
		})
		return err
	})
	if err != nil {
		err = fmt.Errorf("read %s/%d: %w", topic, partition, err)
	}
	return at, found, err
}

// sourceStages returns the groups of a plan that read the sources, and what they read there.
func sourceStages(plan *rules.Plan) []Stage {
	sources := map[string]bool{}
	for _, s := range plan.Streams {
		sources[s.Topic] = true
	}
	return slices.DeleteFunc(Stages(plan), func(s Stage) bool { return !sources[s.Topics[0]] })
}

// groupNames returns the names of a plan's groups.
func groupNames(plan *rules.Plan) []string {
	var names []string
	for _, s := range Stages(plan) {
		names = append(names, s.Group)
	}
	return names
}

// create creates topics of a plan that are missing, and adds them to counts.
func (m *maintenance) create(ctx context.Context, counts map[string]int32, topics ...Topic) error {
	c := &checker{plan: m.plan, admin: m.admin, counts: counts}
	for _, t := range topics {
		if _, ok := counts[t.Name]; ok {
			continue
		}
		if err := m.retry(ctx, func() error { return c.create(t) }); err != nil {
			return err
		}
	}
	return m.served(ctx, slices.Sorted(maps.Keys(counts)))
}

// served waits until the brokers that are asked have heard of the topics, some of which may have just been created.
func (m *maintenance) served(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		err := m.retry(ctx, func() error {
			if err := m.client.RefreshMetadata(topic); err != nil {
				return err
			}
			partitions, err := m.client.Partitions(topic)
			if err == nil && len(partitions) == 0 {
				err = sarama.ErrLeaderNotAvailable
			}
			for _, n := range partitions {
				if err == nil {
					_, err = m.client.Leader(topic, n)
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return nil
}

// deleteTopic deletes a topic; one that is not there is no error.
func (m *maintenance) deleteTopic(ctx context.Context, topic string) error {
	err := m.retry(ctx, func() error {
		if err := m.admin.DeleteTopic(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
