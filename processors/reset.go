package processors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// ResetOptions say what a reset takes in.
type ResetOptions struct {
	Outputs bool   // delete what was written, too
	Key     string // of this key alone, by its name; "": all
	Epoch   uint64 // the versions' next epoch at least; for where a changelog that knew it is lost
}

// Reset is what a reset would do to an app, as it was found. Do does it.
type Reset struct {
	Groups    []GroupState // consumer groups whose offsets are forgotten
	Topics    []ResetTopic
	Folders   []string // of local state that exist on this machine
	Epoch     uint64   // of the versions of rows that are written from then on; 0: of no key
	Sources   []string // topics that are read again from their beginning
	Outputs   []string // topics that keep what they have
	Recounted []string // those of Outputs with deltas, which a new run writes once more

	m    *maintenance
	keys []*rules.Key
}

// ResetTopic is a topic that a reset empties.
type ResetTopic struct {
	Topic
	Partitions int32 // 0: it does not exist and is created
	Records    int64 // about: markers of transactions count too
	Recreate   bool  // deleted and created again, because a topic that is only compacted cannot be cut
}

// PlanReset looks at an app without changing anything. Where the app is running, Do is going to refuse. The Reset keeps a
// connection until Close.
func PlanReset(ctx context.Context, plan *rules.Plan, cfg Config, o ResetOptions) (*Reset, error) {
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	r := &Reset{keys: plan.Keys}
	if o.Key != "" {
		if err := r.choose(plan, o.Key); err != nil {
			return nil, err
		}
	}
	var err error
	if r.m, err = newMaintenance(plan, cfg); err != nil {
		return nil, err
	}
	if err := r.look(ctx, o); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close ends the connection.
func (r *Reset) Close() { r.m.close() }

// choose narrows the reset to one key. Its intakes must be its own: an intake that reads again sends again to all keys.
func (r *Reset) choose(plan *rules.Plan, name string) error {
	i := slices.IndexFunc(plan.Keys, func(k *rules.Key) bool { return k.Name == name })
	if i < 0 {
		return fmt.Errorf("no key %q in the rules, there are: %s", name, strings.Join(keyNames(plan), ", "))
	}
	key := plan.Keys[i]
	for _, other := range plan.Keys {
		if other == key || other.Direct || key.Direct {
			continue
		}
		for _, rank := range key.Streams {
			if slices.Contains(other.Streams, rank) {
				return fmt.Errorf("key %s cannot be reset alone: its intake of stream %s also feeds key %s, which would be sent everything again, much of it late by then",
					name, plan.Streams[rank].Name, other.Name)
			}
		}
	}
	r.keys = []*rules.Key{key}
	return nil
}

func keyNames(plan *rules.Plan) []string {
	var names []string
	for _, k := range plan.Keys {
		names = append(names, k.Name)
	}
	return names
}

// look fills in what there is.
func (r *Reset) look(ctx context.Context, o ResetOptions) error {
	plan := r.m.plan
	narrowed := *plan
	narrowed.Keys = r.keys
	var err error
	if r.Groups, err = r.m.groups(ctx, groupNames(&narrowed)); err != nil {
		return err
	}
	counts, err := countPartitions(r.m.admin, Topics(plan))
	if err != nil {
		return err
	}
	for _, t := range Topics(plan) {
		own := t.Key == nil && len(r.keys) == len(plan.Keys) || slices.Contains(r.keys, t.Key)
		for _, k := range r.keys {
			for _, rule := range k.Rules {
				own = own || t.Name == rule.Into || t.Name == DeltasTopic(rule)
			}
			for _, rank := range k.Streams {
				own = own || t.Role == RoleSource && plan.Streams[rank].Topic == t.Name
			}
		}
		switch output := t.Role == RoleUpserts || t.Role == RoleEvents; {
		case !own || t.Role == RoleDimension:
		case t.Role == RoleSource:
			r.Sources = append(r.Sources, t.Name)
		case output && !o.Outputs:
			r.Outputs = append(r.Outputs, t.Name)
			if strings.HasSuffix(t.Name, ".deltas") && counts[t.Name] > 0 {
				r.Recounted = append(r.Recounted, t.Name)
			}
		default:
			at := ResetTopic{Topic: t, Partitions: counts[t.Name], Recreate: t.Role == RoleUpserts}
			if at.Records, err = r.m.records(ctx, t.Name, at.Partitions); err != nil {
				return err
			}
			r.Topics = append(r.Topics, at)
		}
	}
	r.Epoch = o.Epoch
	for _, k := range r.keys {
		_, epoch, err := r.m.metas(ctx, ChangelogTopic(plan.App, k), counts[ChangelogTopic(plan.App, k)])
		if err != nil {
			return err
		}
		r.Epoch = max(r.Epoch, epoch+1)
		dir := filepath.Join(plan.Settings.StateDir, plan.App, k.Name)
		if _, err := os.Stat(dir); err == nil {
			r.Folders = append(r.Folders, dir)
		}
	}
	return checkEpoch(r.Epoch)
}

// records returns how many offsets of a topic are in use.
func (m *maintenance) records(ctx context.Context, topic string, partitions int32) (sum int64, err error) {
	for n := range partitions {
		oldest, newest, err := m.bounds(ctx, topic, n)
		if err != nil {
			return 0, err
		}
		sum += newest - oldest
	}
	return sum, nil
}

// Busy returns a BusyError where the app is running.
func (r *Reset) Busy() error {
	busy := slices.DeleteFunc(slices.Clone(r.Groups), func(g GroupState) bool { return len(g.Members) == 0 })
	if len(busy) > 0 {
		return &BusyError{busy}
	}
	return nil
}

// Do resets the app: report is told of each thing that is done. Where it fails in the middle, it can be done again from
// PlanReset on, and until then the app must not be started. It refuses with a BusyError, before anything is changed,
// where a group has members.
//
// The order is such that the versions' epoch is never lost: it is written behind what the changelog holds, and then what is
// before it is cut off. Local tables elsewhere are behind the changelog's start then, and are discarded when they are opened.
func (r *Reset) Do(ctx context.Context, report func(done string)) error {
	var names []string
	for _, g := range r.Groups {
		names = append(names, g.Name)
	}
	if err := r.m.wantIdle(ctx, names); err != nil {
		return err
	}
	if err := r.m.deleteGroups(ctx, names); err != nil {
		return err
	}
	report("forgot the offsets of " + strings.Join(names, ", "))
	if err := r.createMissing(ctx); err != nil {
		return err
	}
	for _, t := range r.Topics {
		if err := r.reset(ctx, &t); err != nil {
			return err
		}
		switch {
		case t.Partitions == 0:
			report("created " + t.Name)
		case t.Recreate:
			report("deleted and created " + t.Name)
		default:
			report("emptied " + t.Name)
		}
	}
	for _, dir := range r.Folders {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove local state: %w", err)
		}
		report("removed " + dir)
	}
	return nil
}

// createMissing creates those of the app's topics that are not there, in the order of Topics.
func (r *Reset) createMissing(ctx context.Context) error {
	counts, err := countPartitions(r.m.admin, Topics(r.m.plan))
	if err != nil {
		return err
	}
	var missing []Topic
	for _, t := range r.Topics {
		missing = append(missing, t.Topic)
	}
	return r.m.create(ctx, counts, missing...)
}

func (r *Reset) reset(ctx context.Context, t *ResetTopic) error {
	switch {
	case t.Role == RoleChangelog:
		return r.resetChangelog(ctx, t)
	case t.Partitions == 0:
		return nil
	case t.Recreate:
		return r.m.recreate(ctx, t.Name)
	}
	below := map[int32]int64{}
	for n := range t.Partitions {
		oldest, newest, err := r.m.bounds(ctx, t.Name, n)
		if err != nil {
			return err
		}
		if newest > oldest {
			below[n] = newest
		}
	}
	return r.m.cut(ctx, t.Name, below)
}

func (r *Reset) resetChangelog(ctx context.Context, t *ResetTopic) error {
	partitions, err := r.m.client.Partitions(t.Name)
	if err != nil {
		return fmt.Errorf("count partitions of %s: %w", t.Name, err)
	}
	metas := make([]codecs.Meta, len(partitions))
	for n := range metas {
		metas[n] = emptyMeta(shapeOf(r.m.plan, t.Key).Layout, r.Epoch)
	}
	below, err := r.m.writeMetas(ctx, t.Name, metas)
	if err != nil {
		return err
	}
	return r.m.cut(ctx, t.Name, below)
}

// cut deletes the records of a topic below the given offsets.
func (m *maintenance) cut(ctx context.Context, topic string, below map[int32]int64) error {
	if len(below) == 0 {
		return nil
	}
	if err := m.retry(ctx, func() error { return m.admin.DeleteRecords(topic, below) }); err != nil {
		return fmt.Errorf("delete records of %s: %w", topic, err)
	}
	return nil
}

// recreate deletes a topic and creates it again with its partitions, replication and settings. What these were is in the error
// where only the first was done.
func (m *maintenance) recreate(ctx context.Context, topic string) error {
	described, err := m.admin.DescribeTopics([]string{topic})
	if err == nil && (len(described) != 1 || described[0].Err != sarama.ErrNoError || len(described[0].Partitions) == 0) {
		err = sarama.ErrUnknownTopicOrPartition
	}
	if err != nil {
		return fmt.Errorf("describe topic %s: %w", topic, err)
	}
	detail := &sarama.TopicDetail{
		NumPartitions:     int32(len(described[0].Partitions)),
		ReplicationFactor: int16(len(described[0].Partitions[0].Replicas)),
	}
	if detail.ConfigEntries, err = ownSettings(m.admin, topic); err != nil {
		return err
	}
	if err := m.deleteTopic(ctx, topic); err != nil {
		return err
	}
	err = m.retry(ctx, func() error {
		err := m.admin.CreateTopic(topic, detail, false)
		if errors.Is(err, sarama.ErrTopicAlreadyExists) {
			err = errors.Join(err, sarama.ErrLeaderNotAvailable) // its deletion is not over yet
		}
		return err
	})
	if err != nil {
		var settings []string
		for _, name := range slices.Sorted(maps.Keys(detail.ConfigEntries)) {
			settings = append(settings, name+"="+*detail.ConfigEntries[name])
		}
		return fmt.Errorf("topic %s was deleted and could not be created again, with %d partitions, replication factor %d and %s: %w",
			topic, detail.NumPartitions, detail.ReplicationFactor, strings.Join(settings, " "), err)
	}
	return m.served(ctx, []string{topic})
}

// ownSettings returns the settings that a topic has of its own, without the broker's defaults.
func ownSettings(admin sarama.ClusterAdmin, topic string) (map[string]*string, error) {
	answers, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("describe settings of topic %s: %w", topic, err)
	}
	own := map[string]*string{}
	for _, a := range answers {
		if a.ErrorCode != sarama.ErrNoError {
			return nil, fmt.Errorf("describe settings of topic %s: %w", topic, a.ErrorCode)
		}
		for _, e := range a.Configs {
			if e.Source == sarama.SourceTopic {
				own[e.Name] = &e.Value
			}
		}
	}
	return own, nil
}
