// Package e2e holds the product to its promises as a user of Kafka sees them: records go in through real topics, from an
// ordinary producer, and what is judged is what an ordinary reader finds in the output topics. Every suite runs on the
// embedded broker and on Apache Kafka. Nothing here looks inside the runtime.
package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
)

const (
	partitions = 3

	// patience is how long a condition may take before a test gives up. A member that was killed holds its partitions for
	// the session time-out, and the machine may be busy.
	patience = 2 * time.Minute

	// seedEnv repeats a run with the seed that a failure has printed.
	seedEnv = "LOOKBACK_TEST_SEED"
)

// seedOf returns the seed of a test's random choices and logs it, which `go test` shows where the test fails.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("seed: %s=%d", seedEnv, seed)
	return seed
}

// appName returns a name for an app, and for the topics of a test, that no other test uses.
func appName() string {
	return strings.ReplaceAll(kafkatest.Name("e2e"), ".", "-")
}

// rig is a test's own connection to a broker.
type rig struct {
	t        *testing.T
	addrs    []string
	client   sarama.Client
	admin    sarama.ClusterAdmin
	producer sarama.SyncProducer
	log      *slog.Logger
	began    time.Time // in milliseconds, as Kafka counts
}

func newRig(t *testing.T, addrs []string) *rig {
	t.Helper()
	config := sarama.NewConfig()
	config.ClientID = "e2e"
	config.Version = sarama.V3_6_0_0
	config.Metadata.AllowAutoTopicCreation = false
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 20 * time.Millisecond // a reader that is closed waits for its last fetch
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = time.Millisecond
	config.Net.MaxOpenRequests = 1 // what is sent again must not overtake
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // the test is over
	r := &rig{t: t, addrs: addrs, client: client, began: time.Now().Truncate(time.Millisecond), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if testing.Verbose() {
		r.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	if r.admin, err = sarama.NewClusterAdminFromClient(client); err != nil {
		t.Fatal(err)
	}
	if r.producer, err = sarama.NewSyncProducerFromClient(client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.producer.Close() })
	return r
}

// createTopics makes topics that keep everything, and waits until the broker serves them.
func (r *rig) createTopics(names ...string) {
	r.t.Helper()
	forever := "-1"
	for _, name := range names {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &forever}}
		if err := r.admin.CreateTopic(name, detail, false); err != nil {
			r.t.Fatalf("create topic %s: %v", name, err)
		}
	}
	r.await("topics served", func() (bool, error) {
		if err := r.client.RefreshMetadata(names...); err != nil {
			return false, err
		}
		for _, name := range names {
			if _, err := r.ends(name); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// await waits for a condition, whose errors are tried again. The test fails with what, and the last error.
func (r *rig) await(what string, condition func() (bool, error)) {
	r.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		ok, err := condition()
		switch {
		case r.t.Failed():
			r.t.FailNow()
		case ok && err == nil:
			return
		}
		select {
		case <-timeout.C:
			r.t.Fatalf("after %s still not: %s (last error: %v)", patience, what, err)
		case <-look.C:
		}
	}
}

// complaints returns a function that fails the test with a message, of which the first few are shown: where something
// is wrong with one record it often is with thousands.
func (r *rig) complaints() func(format string, args ...any) {
	const shown = 5
	n := 0
	return func(format string, args ...any) {
		r.t.Helper()
		if n++; n <= shown {
			r.t.Errorf(format, args...)
		}
	}
}

// record is what a producer sends.
type record struct {
	topic      string
	key, value []byte
	at         time.Time // its Kafka timestamp; zero: when it is sent
}

// place is where a record stands.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// send writes records, keyed by Java's default partitioner, and returns where they stand now.
func (r *rig) send(records ...record) []place {
	r.t.Helper()
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, rec := range records {
		messages[i] = &sarama.ProducerMessage{Topic: rec.topic, Key: sarama.ByteEncoder(rec.key), Value: sarama.ByteEncoder(rec.value), Timestamp: rec.at}
	}
	if err := r.producer.SendMessages(messages); err != nil {
		r.t.Fatalf("send: %v", err)
	}
	places := make([]place, len(messages))
	for i, m := range messages {
		places[i] = place{m.Topic, m.Partition, m.Offset}
	}
	return places
}

// ends returns the offset behind the last record of each partition.
func (r *rig) ends(topic string) (map[int32]int64, error) {
	numbers, err := r.client.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	for _, n := range numbers {
		if ends[n], err = r.client.GetOffset(topic, n, sarama.OffsetNewest); err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return ends, nil
}

// size returns how many offsets a topic has used.
func (r *rig) size(topic string) (int64, error) {
	ends, err := r.ends(topic)
	sum := int64(0)
	for _, end := range ends {
		sum += end
	}
	return sum, err
}

// awaitGrowth waits until the topic has more than that many records.
func (r *rig) awaitGrowth(topic string, beyond int64) {
	r.t.Helper()
	r.await(fmt.Sprintf("%s has more than %d records", topic, beyond), func() (bool, error) {
		n, err := r.size(topic)
		return n > beyond, err
	})
}

// read returns what topics hold now, one after the other, in the order of each partition.
func (r *rig) read(topics ...string) []*sarama.ConsumerMessage {
	r.t.Helper()
	return kafkatest.Read(r.t, r.addrs, topics...)
}

// readOutputs reads topics that an app writes, whose records carry the time of writing: with that of an old event, the
// broker's retention would remove them unread.
func (r *rig) readOutputs(topics ...string) []*sarama.ConsumerMessage {
	r.t.Helper()
	complain := r.complaints()
	all := r.read(topics...)
	for _, m := range all {
		if m.Timestamp.Before(r.began) {
			complain("%s/%d offset %d has the timestamp %s, the test began at %s", m.Topic, m.Partition, m.Offset, m.Timestamp, r.began)
		}
	}
	return all
}

// decode reads a JSON value.
func decode[T any](t *testing.T, value []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return v
}
