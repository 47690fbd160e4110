package processors

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
	"github.com/seed-2058fbc3/lookback/rules"
)

// An instance is called what the settings say, or what its state folder has kept, or something new each time.
func TestInstanceNames(t *testing.T) {
	name := func(s rules.Settings) string {
		t.Helper()
		name, err := instanceName(s, "app")
		if err != nil || !rules.InstanceName.MatchString(name) {
			t.Fatalf("%q, %v", name, err)
		}
		return name
	}
	if got := name(rules.Settings{InstanceID: "pod-3", Store: "disk", StateDir: t.TempDir()}); got != "pod-3" {
		t.Errorf("with an instance id: %s", got)
	}
	kept := rules.Settings{Store: "disk", StateDir: t.TempDir()}
	first := name(kept)
	if again := name(kept); again != first {
		t.Errorf("with a state folder: %s, then %s", first, again)
	}
	if err := os.WriteFile(filepath.Join(kept.StateDir, "app", "instance"), []byte("no name\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other := name(kept); other == "no name" || other != name(kept) {
		t.Errorf("after the file was spoilt: %s", other)
	}
	if a, b := name(rules.Settings{Store: "memory"}), name(rules.Settings{Store: "memory"}); a == b {
		t.Errorf("without anything lasting: twice %s", a)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := instanceName(rules.Settings{Store: "disk", StateDir: file}, "app"); err == nil || !isFatal(err) {
		t.Errorf("a state folder that is a file: %v", err)
	}
}

// What an instance has left open when it died is ended by those who stay: its records do not hold back readers any more, and
// its offsets were never committed.
func TestSettleEndsWhatTheDeadHaveOpen(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		group, topic := kafkatest.Name("settle"), kafkatest.Name("settle")
		config := saramaConfig("test")
		config.Consumer.MaxWaitTime = testConfig().Consumer.MaxWaitTime
		client, err := sarama.NewClient(addrs, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			t.Fatal(err)
		}
		if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
		dead := producer.New(client, producer.Config{TransactionalID: transactionalID(group, "dead"), TransactionTimeout: transactionTimeout})
		defer dead.Close()
		if err := dead.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		dead.Add(&codecs.Record{Topic: topic, Value: []byte("left open")})
		if err := dead.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}

		p := &processor{name: group, client: client, config: config, log: testLog(t)}
		if left := p.settle(t.Context(), []string{"dead", "never-was"}); len(left) > 0 {
			t.Fatalf("could not be settled: %v", left)
		}
		consumer, err := sarama.NewConsumerFromClient(client)
		if err != nil {
			t.Fatal(err)
		}
		alive := producer.New(client, producer.Config{TransactionalID: transactionalID(group, "alive"), TransactionTimeout: transactionTimeout})
		defer alive.Close()
		if err := alive.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		alive.Add(&codecs.Record{Topic: topic, Value: []byte("committed")})
		if err := alive.Commit(t.Context(), producer.Offsets{}); err != nil {
			t.Fatal(err)
		}
		claim, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConsumer(claim)
		if m := <-claim.Messages(); string(m.Value) != "committed" {
			t.Errorf("readers get %q", m.Value)
		}
		if err := dead.Commit(t.Context(), producer.Offsets{}); err == nil || !strings.Contains(err.Error(), producer.ErrFenced.Error()) {
			t.Errorf("the dead commits: %v", err)
		}

		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if left := p.settle(cancelled, []string{"dead"}); len(left) != 1 {
			t.Errorf("after the end of the processor: %v", left)
		}
	})
}
