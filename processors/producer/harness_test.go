package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// patience bounds a wait for what must happen; nothing is measured by it.
const patience = time.Minute

// end is the value of the record behind which a reader looks no further.
const end = "end of test"

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func clientConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Metadata.Retry.Backoff = 10 * time.Millisecond
	return c
}

func newClient(t testing.TB, addrs []string, config *sarama.Config) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func newAdmin(t testing.TB, addrs []string) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(addrs, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	return admin
}

func createTopic(t testing.TB, addrs []string, partitions int32, config map[string]string) string {
	t.Helper()
	topic := kafkatest.Name("producer")
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

// quiet keeps the log of tests in which trouble is meant to happen out of their output.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newProducer returns a producer that has been reset.
func newProducer(t testing.TB, client sarama.Client, cfg producer.Config) *producer.Producer {
	t.Helper()
	cfg.Logger = quiet()
	p := producer.New(client, cfg)
	t.Cleanup(p.Close)
	reset(t, p)
	return p
}

func reset(t testing.TB, p *producer.Producer) {
	t.Helper()
	if err := p.Reset(patient(t)); err != nil {
		t.Fatal(err)
	}
	if !p.Usable() {
		t.Fatal("not usable after a reset")
	}
}

func record(topic string, partition int32, value string) *codecs.Record {
	return &codecs.Record{Topic: topic, Partition: partition, Key: []byte(value), Value: []byte(value)}
}

func commit(t testing.TB, p *producer.Producer, o producer.Offsets) {
	t.Helper()
	if err := p.Commit(patient(t), o); err != nil {
		t.Fatal(err)
	}
	if !p.Usable() {
		t.Fatal("not usable after a commit")
	}
}

// positions are offsets of a group without members, which have no generation.
func positions(group, topic string, offset int64) producer.Offsets {
	return producer.Offsets{Group: group, Generation: -1, Positions: []producer.Position{{Topic: topic, Offset: offset, Metadata: "m"}}}
}

// committed returns the offset that a group has committed for partition 0, or -1.
func committed(t testing.TB, addrs []string, group, topic string) (int64, string) {
	t.Helper()
	got, err := newAdmin(t, addrs).ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
	if err != nil {
		t.Fatal(err)
	}
	block := got.GetBlock(topic, 0)
	if block == nil {
		t.Fatalf("no answer about group %s", group)
	}
	return block.Offset, block.Metadata
}

// read returns all that committed readers of a partition see. It writes a last record to know when it has everything.
func read(t testing.TB, addrs []string, topic string, partition int32) []*sarama.ConsumerMessage {
	t.Helper()
	client := newClient(t, addrs, clientConfig())
	p := newProducer(t, client, producer.Config{})
	p.Add(record(topic, partition, end))
	if err := p.Flush(patient(t)); err != nil {
		t.Fatal(err)
	}
	config := clientConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 10 * time.Millisecond // closing waits for it
	consumer, err := sarama.NewConsumer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	from, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var all []*sarama.ConsumerMessage
	ctx := patient(t)
	for {
		select {
		case m := <-from.Messages():
			if string(m.Value) == end {
				return all
			}
			all = append(all, m)
		case <-ctx.Done():
			t.Fatalf("read only %d records of %s/%d", len(all), topic, partition)
		}
	}
}

func values(messages []*sarama.ConsumerMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Value))
	}
	return all
}

// difference describes the first one between two lists.
func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d records, want %d: %q is missing", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Sprintf("%d records, want %d: %q is too much", len(got), len(want), got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("record %d is %q, want %q", i, got[i], want[i])
		}
	}
	return ""
}

// noise returns n bytes that do not compress, also not beside those of another seed.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func mustBe(t testing.TB, err error, wants ...error) {
	t.Helper()
	for _, want := range wants {
		if !errors.Is(err, want) {
			t.Fatalf("got error %v, want %v", err, want)
		}
	}
}

func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
