package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
)

// patience bounds a wait for something that a broker must do; nothing is measured by it.
const patience = time.Minute

func clientConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_0_0_0
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Net.MaxOpenRequests = 1
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

func newAdmin(t *testing.T, addrs []string) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(addrs, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	return admin
}

func newClient(t *testing.T, addrs []string, config *sarama.Config) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func createTopic(t *testing.T, addrs []string, partitions int32, config map[string]string) string {
	t.Helper()
	topic := kafkatest.Name("kafkatest")
	entries := map[string]*string{}
	for k, v := range config {
		entries[k] = &v
	}
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}
	if err := newAdmin(t, addrs).CreateTopic(topic, detail, false); err != nil {
		t.Fatal(err)
	}
	return topic
}

// produce writes n records to each partition, with keys and values "<partition>-<index>". Apache Kafka refuses
// records without a key in a compacted topic; the embedded broker does not.
func produce(t *testing.T, addrs []string, topic string, partitions int32, n int) []string {
	t.Helper()
	producer, err := sarama.NewSyncProducer(addrs, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	var values []string
	var messages []*sarama.ProducerMessage
	for p := range partitions {
		for i := range n {
			v := fmt.Sprintf("%d-%d", p, i)
			values = append(values, v)
			messages = append(messages, &sarama.ProducerMessage{
				Topic: topic, Partition: p, Key: sarama.StringEncoder(v), Value: sarama.StringEncoder(v),
			})
		}
	}
	if err := producer.SendMessages(messages); err != nil {
		t.Fatal(err)
	}
	return values
}

func TestTopicsKeepTheirSettings(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		want := map[string]string{
			"cleanup.policy":    "compact,delete",
			"retention.ms":      "-1",
			"max.message.bytes": "20000000",
		}
		topic := createTopic(t, addrs, 3, want)
		admin := newAdmin(t, addrs)

		described, err := admin.DescribeTopics([]string{topic})
		if err != nil || len(described) != 1 {
			t.Fatalf("DescribeTopics: %v, %v", described, err)
		}
		if n := len(described[0].Partitions); n != 3 {
			t.Errorf("got %d partitions, want 3", n)
		}
		resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic}
		configs, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range configs[0].Configs {
			if _, asked := want[e.Name]; asked {
				got[e.Name] = e.Value
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("got configuration %v, want %v", got, want)
		}
		if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			t.Errorf("creating the topic again: got %v, want %v", err, sarama.ErrTopicAlreadyExists)
		}
	})
}

func TestMissingTopicIsNotCreatedByAsking(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := kafkatest.Name("missing")
		if _, err := newClient(t, addrs, clientConfig()).Partitions(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			t.Errorf("got %v, want %v", err, sarama.ErrUnknownTopicOrPartition)
		}
	})
}

// drain is a group member that reads until it has seen as many records as it wants and commits them.
type drain struct {
	want   int
	values []string
	stop   context.CancelFunc
}

func (d *drain) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (d *drain) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (d *drain) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			d.values = append(d.values, string(m.Value))
			session.MarkMessage(m, "")
			if len(d.values) == d.want {
				session.Commit()
				d.stop()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func consume(t *testing.T, addrs []string, group, topic string, want int) []string {
	t.Helper()
	g, err := sarama.NewConsumerGroup(addrs, group, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := &drain{want: want, stop: cancel}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, d); err != nil {
			t.Fatal(err)
		}
	}
	return d.values
}

func TestGroupReadsOnFromItsCommit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic, group := createTopic(t, addrs, 1, nil), kafkatest.Name("group")
		first := produce(t, addrs, topic, 1, 10)
		if got := consume(t, addrs, group, topic, len(first)); !slices.Equal(got, first) {
			t.Errorf("got %v, want %v", got, first)
		}
		second := produce(t, addrs, topic, 1, 5)
		if got := consume(t, addrs, group, topic, len(second)); !slices.Equal(got, second) {
			t.Errorf("after the commit: got %v, want %v", got, second)
		}
	})
}

func TestGroupWithoutCommits(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 2, nil)
		for _, version := range []sarama.KafkaVersion{sarama.V2_5_0_0, sarama.V3_0_0_0, sarama.MaxVersion} {
			config := clientConfig()
			config.Version = version
			admin, err := sarama.NewClusterAdmin(addrs, config)
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			got, err := admin.ListConsumerGroupOffsets(kafkatest.Name("new"), map[string][]int32{topic: {0, 1}})
			if err != nil {
				t.Fatal(err)
			}
			for p := range int32(2) {
				block := got.GetBlock(topic, p)
				if got.Err != sarama.ErrNoError || block == nil || block.Err != sarama.ErrNoError || block.Offset != -1 {
					t.Errorf("version %s, partition %d: got %v, %+v, want offset -1 and no error", version, p, got.Err, block)
				}
			}
		}
	})
}

func TestTrimmedRecordsAreGone(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"})
		produce(t, addrs, topic, 1, 10)
		if err := newAdmin(t, addrs).DeleteRecords(topic, map[int32]int64{0: 7}); err != nil {
			t.Fatal(err)
		}
		client := newClient(t, addrs, clientConfig())
		oldest, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
		if err != nil || oldest != 7 {
			t.Errorf("oldest offset: got %d, %v, want 7", oldest, err)
		}
		newest, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
		if err != nil || newest != 10 {
			t.Errorf("newest offset: got %d, %v, want 10", newest, err)
		}
	})
}

func TestCommittedReadersSeeNoAbortedRecords(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, nil)
		config := clientConfig()
		config.Producer.Transaction.ID = kafkatest.Name("txn")
		producer, err := sarama.NewAsyncProducer(addrs, config)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		transact := func(value string, end func() error) {
			t.Helper()
			if err := producer.BeginTxn(); err != nil {
				t.Fatal(err)
			}
			producer.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}
			select {
			case <-producer.Successes():
			case err := <-producer.Errors():
				t.Fatal(err)
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		transact("aborted", producer.AbortTxn)
		transact("committed", producer.CommitTxn)

		config = clientConfig()
		config.Consumer.IsolationLevel = sarama.ReadCommitted
		consumer, err := sarama.NewConsumer(addrs, config)
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer partition.Close()
		select {
		case m := <-partition.Messages():
			if string(m.Value) != "committed" {
				t.Errorf("got %q, want only the committed record", m.Value)
			}
		case <-time.After(patience):
			t.Fatal("no record")
		}
	})
}
