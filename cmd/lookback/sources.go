package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
)

// createSources creates the topics that the plan reads, where they are missing, on an embedded broker.
func createSources(plan *rules.Plan, addr string, partitions int32) error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_5_0_0
	admin, err := sarama.NewClusterAdmin([]string{addr}, config)
	if err != nil {
		return fmt.Errorf("connecting to the embedded broker: %w", err)
	}
	create := func(topic, cleanup string) error {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{"cleanup.policy": &cleanup}}
		if err := admin.CreateTopic(topic, detail, false); err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("creating topic %s: %w", topic, err)
		}
		return nil
	}
	for _, s := range plan.Streams {
		err = errors.Join(err, create(s.Topic, "delete"))
	}
	for _, t := range plan.Tables {
		if t.Topic != "" {
			err = errors.Join(err, create(t.Topic, "compact"))
		}
	}
	return errors.Join(err, admin.Close())
}
