package processors

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Mismatches is what is wrong with the topics of a plan: one line per problem, each saying what to do.
type Mismatches []string

func (m Mismatches) Error() string {
	return "the topics do not fit the rules:\n  " + strings.Join(m, "\n  ")
}

// Prepare checks the topics of a plan and creates those of its own that are missing, before the first record is read.
// Existing topics are never changed. It returns the number of partitions by topic. What an operator must mend is a
// Mismatches, with every problem at once; other errors are about reaching the broker.
func Prepare(plan *rules.Plan, admin sarama.ClusterAdmin) (map[string]int32, error) {
	c, err := inspect(plan, admin)
	if err != nil {
		return nil, err
	}
	for _, t := range Topics(plan) {
		if _, ok := c.counts[t.Name]; ok {
			continue
		}
		if err := c.create(t); err != nil {
			return nil, err
		}
	}
	return c.counts, nil
}

// CheckTopics reaches the brokers once and checks the topics of a plan as Run does, but creates none.
func CheckTopics(plan *rules.Plan, clientID string) error {
	admin, err := sarama.NewClusterAdmin(plan.Settings.Brokers, saramaConfig(clientID))
	if err != nil {
		return fmt.Errorf("connect to %v: %w", plan.Settings.Brokers, err)
	}
	_, err = inspect(plan, admin)
	return errors.Join(err, admin.Close())
}

// inspect checks the topics that exist, and that those exist that are never created.
func inspect(plan *rules.Plan, admin sarama.ClusterAdmin) (*checker, error) {
	all := Topics(plan)
	counts, err := countPartitions(admin, all)
	if err != nil {
		return nil, err
	}
	c := &checker{plan: plan, admin: admin, counts: counts}
	for _, t := range all {
		if err := c.check(t); err != nil {
			return nil, err
		}
	}
	c.checkCopartitioned()
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return c, nil
}

// countPartitions returns the partitions of those topics that exist.
func countPartitions(admin sarama.ClusterAdmin, all []Topic) (map[string]int32, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	described, err := admin.DescribeTopics(names)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	counts := map[string]int32{}
	for _, t := range described {
		switch t.Err {
		case sarama.ErrNoError, sarama.ErrLeaderNotAvailable:
			counts[t.Name] = int32(len(t.Partitions))
		case sarama.ErrUnknownTopicOrPartition:
		default:
			return nil, fmt.Errorf("describe topic %s: %w", t.Name, t.Err)
		}
	}
	return counts, nil
}

// incarnations returns the ids of the changelogs. A topic that is deleted and created again has the same name and another id.
func incarnations(plan *rules.Plan, admin sarama.ClusterAdmin) (map[string]string, error) {
	var names []string
	for _, k := range plan.Keys {
		names = append(names, ChangelogTopic(plan.App, k))
	}
	described, err := admin.DescribeTopics(names)
	if err != nil {
		return nil, fmt.Errorf("describe changelogs: %w", err)
	}
	ids := map[string]string{}
	for _, t := range described {
		if t.Err == sarama.ErrNoError && t.Uuid != (sarama.Uuid{}) {
			ids[t.Name] = hex.EncodeToString(t.Uuid[:])
		}
	}
	return ids, nil
}

type checker struct {
	plan     *rules.Plan
	admin    sarama.ClusterAdmin
	counts   map[string]int32
	problems Mismatches
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// check compares one topic with what its role asks for.
func (c *checker) check(t Topic) error {
	n, exists := c.counts[t.Name]
	if !exists {
		switch t.Role {
		case RoleSource:
			c.problem("topic %s does not exist; create it: kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %d",
				t.Name, c.bootstrap(), t.Name, c.plan.Settings.Partitions)
		case RoleDimension:
			c.problem("topic %s does not exist; create it: kafka-topics.sh --bootstrap-server %s --create --topic %s --config cleanup.policy=compact",
				t.Name, c.bootstrap(), t.Name)
		}
		return nil
	}
	settings, err := topicSettings(c.admin, t.Name)
	if err != nil {
		return err
	}
	c.checkPolicy(t, settings["cleanup.policy"])
	if limit, err := strconv.Atoi(settings["max.message.bytes"]); err == nil && !t.Role.foreign() && limit < maxRecordBytes {
		c.problem("topic %s takes records of at most %d bytes, which is too little; set max.message.bytes to %d or more", t.Name, limit, 1<<20)
	}
	if t.Role == RoleChangelog {
		if ms, err := strconv.Atoi(settings["retention.ms"]); err == nil && ms >= 0 && strings.Contains(settings["cleanup.policy"], "delete") {
			c.problem("topic %s holds state and deletes it after %d ms; set retention.ms=-1", t.Name, ms)
		}
		if want := c.inputPartitions(t.Key); want > 0 && want != n {
			c.problem("topic %s has %d partitions, but the inputs of key %s have %d: state and input must be partitioned alike; restore the counts, or start anew: give the app another name and every rule another `into` topic",
				t.Name, n, t.Key.Name, want)
		}
	}
	return nil
}

func (c *checker) checkPolicy(t Topic, policy string) {
	if policy == "" {
		return // the broker does not say
	}
	compacted := strings.Contains(policy, "compact")
	switch {
	case t.Role == RoleSource && compacted:
		c.problem("topic %s is compacted (cleanup.policy=%s): compaction removes events that share a record key; set cleanup.policy=delete", t.Name, policy)
	case t.Role.compacted() && !compacted:
		c.problem("topic %s is not compacted (cleanup.policy=%s): set cleanup.policy=%s", t.Name, policy, t.Role.settings()["cleanup.policy"])
	case !t.Role.compacted() && compacted:
		c.problem("topic %s is compacted (cleanup.policy=%s): compaction would remove records that are still of use; set cleanup.policy=delete", t.Name, policy)
	}
}

// checkCopartitioned compares the topics that one processor reads together.
func (c *checker) checkCopartitioned() {
	for _, k := range c.plan.Keys {
		if !k.Direct {
			continue
		}
		var have []string
		counts := map[int32]bool{}
		for _, rank := range k.Streams {
			topic := c.plan.Streams[rank].Topic
			if n, ok := c.counts[topic]; ok {
				counts[n] = true
				have = append(have, fmt.Sprintf("%s has %d", topic, n))
			}
		}
		if len(counts) > 1 {
			c.problem("key %s reads its streams directly (partitioned_by), so their topics need the same number of partitions, but %s; "+
				"repartition the topics, or remove partitioned_by from one of the streams to have them repartitioned", k.Name, strings.Join(have, ", "))
		}
	}
}

// inputPartitions returns how many partitions the inputs of a key have, or will have; 0 where they are missing.
func (c *checker) inputPartitions(k *rules.Key) int32 {
	if k.Direct {
		return c.counts[c.plan.Streams[k.Streams[0]].Topic]
	}
	if n, ok := c.counts[RepartitionTopic(c.plan.App, k)]; ok {
		return n
	}
	return c.plan.Settings.Partitions
}

func (c *checker) create(t Topic) error {
	detail := &sarama.TopicDetail{
		NumPartitions:     c.plan.Settings.Partitions,
		ReplicationFactor: c.plan.Settings.Replication,
		ConfigEntries:     map[string]*string{},
	}
	if t.Role == RoleChangelog {
		detail.NumPartitions = c.inputPartitions(t.Key)
	}
	for name, value := range t.Role.settings() {
		detail.ConfigEntries[name] = &value
	}
	err := c.admin.CreateTopic(t.Name, detail, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		// Another instance was quicker. It had the same rules, or its topics are checked at the next start.
		counts, err := countPartitions(c.admin, []Topic{t})
		if err != nil {
			return err
		}
		c.counts[t.Name] = counts[t.Name]
		return nil
	}
	if err != nil {
		return fmt.Errorf("create topic %s with %d partitions and replication factor %d: %w", t.Name, detail.NumPartitions, detail.ReplicationFactor, err)
	}
	c.counts[t.Name] = detail.NumPartitions
	return nil
}

func (c *checker) bootstrap() string { return strings.Join(c.plan.Settings.Brokers, ",") }

// topicSettings returns the settings of a topic, the broker's defaults included.
func topicSettings(admin sarama.ClusterAdmin, topic string) (map[string]string, error) {
	answers, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("describe settings of topic %s: %w", topic, err)
	}
	settings := map[string]string{}
	for _, a := range answers {
		if a.ErrorCode != sarama.ErrNoError {
			return nil, fmt.Errorf("describe settings of topic %s: %w", topic, a.ErrorCode)
		}
		for _, e := range a.Configs {
			settings[e.Name] = e.Value
		}
	}
	return settings, nil
}
