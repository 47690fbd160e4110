package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// childEnv makes the test binary a broker on the data directory that it names, for tests that kill it.
const childEnv = "LOOKBACK_BROKER_CHILD_DIR"

func TestMain(m *testing.M) {
	dir, child := os.LookupEnv(childEnv)
	if !child {
		os.Exit(m.Run())
	}
	b, err := Start(Config{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(b.Addr())
	// Standard input ends with the parent; the broker must not outlive it.
	io.Copy(io.Discard, os.Stdin)
	b.Close()
}

// startChild runs a broker in another process and returns its address and a function that kills it with SIGKILL.
func startChild(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(errors.Join(err, cmd.Wait()))
	}
	return strings.TrimSpace(line), func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // reports the signal
	}
}

func clientConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_0_0_0
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Net.MaxOpenRequests = 1
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	return c
}

func newAdmin(t *testing.T, addr string) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin([]string{addr}, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	return admin
}

func newClient(t *testing.T, addr string) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient([]string{addr}, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func createTopic(t *testing.T, addr, topic string) {
	t.Helper()
	policy := "compact"
	detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"cleanup.policy": &policy}}
	if err := newAdmin(t, addr).CreateTopic(topic, detail, false); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, addr, topic string, values ...string) {
	t.Helper()
	producer, err := sarama.NewSyncProducer([]string{addr}, clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, v := range values {
		m := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(v)}
		if _, _, err := producer.SendMessage(m); err != nil {
			t.Fatal(err)
		}
	}
}

// leaveTransactionOpen writes a record inside a transaction and goes away without ending it.
func leaveTransactionOpen(t *testing.T, addr, topic, value string) {
	t.Helper()
	config := clientConfig()
	config.Producer.Transaction.ID = "restart"
	producer, err := sarama.NewAsyncProducer([]string{addr}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.AsyncClose)
	if err := producer.BeginTxn(); err != nil {
		t.Fatal(err)
	}
	producer.Input() <- &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(value)}
	select {
	case <-producer.Successes():
	case err := <-producer.Errors():
		t.Fatal(err)
	}
}

func commitOffset(t *testing.T, addr, group, topic string, offset int64) {
	t.Helper()
	offsets, err := sarama.NewOffsetManagerFromClient(group, newClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	partition, err := offsets.ManagePartition(topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer partition.Close()
	partition.MarkOffset(offset, "mark")
	offsets.Commit()
	select {
	case err := <-partition.Errors():
		t.Fatal(err)
	default:
	}
}

// readCommitted reads the committed values of partition 0 until it has n.
func readCommitted(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	consumer, err := sarama.NewConsumerFromClient(newClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer partition.Close()
	var values []string
	for len(values) < n {
		select {
		case m := <-partition.Messages():
			values = append(values, string(m.Value))
		case <-time.After(time.Minute):
			t.Fatalf("got %v, then no more records; want %d", values, n)
		}
	}
	return values
}

// What was acknowledged before an end, clean or not, is there after it.
func TestRestart(t *testing.T) {
	t.Run("after close", func(t *testing.T) {
		dir := t.TempDir()
		b := start(t, Config{DataDir: dir})
		checkRestart(t, dir, b.Addr(), b.Close)
	})
	t.Run("after kill -9", func(t *testing.T) {
		dir := t.TempDir()
		addr, kill := startChild(t, dir)
		checkRestart(t, dir, addr, kill)
	})
}

func checkRestart(t *testing.T, dir, addr string, end func()) {
	const topic, group = "events", "readers"
	createTopic(t, addr, topic)
	produce(t, addr, topic, "a", "b", "c")
	commitOffset(t, addr, group, topic, 2)
	leaveTransactionOpen(t, addr, topic, "open")
	end()

	addr = start(t, Config{DataDir: dir}).Addr()
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"cleanup.policy"}}
	configs, err := newAdmin(t, addr).DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := configs[0].Configs; len(got) != 1 || got[0].Value != "compact" {
		t.Errorf("topic configuration: got %v, want compact", got)
	}
	committed, err := newAdmin(t, addr).ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
	if err != nil {
		t.Fatal(err)
	}
	if block := committed.GetBlock(topic, 0); block == nil || block.Offset != 2 || block.Metadata != "mark" {
		t.Errorf("committed offset: got %+v, want 2 with its metadata", block)
	}
	abortLeftovers(t, addr)
	produce(t, addr, topic, "d")
	if got, want := readCommitted(t, addr, topic, 4), []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("records: got %v, want %v", got, want)
	}
}

// abortLeftovers ends the transaction that leaveTransactionOpen left, as a restarted client of the same name does.
func abortLeftovers(t *testing.T, addr string) {
	t.Helper()
	config := clientConfig()
	config.Producer.Transaction.ID = "restart"
	producer, err := sarama.NewAsyncProducer([]string{addr}, config)
	if err != nil {
		t.Fatal(err)
	}
	producer.AsyncClose()
}

// A partition that was trimmed to its end goes on where it ended, and does not begin again at 0.
func TestRestartAfterTrimmingEverything(t *testing.T) {
	for _, upTo := range map[string]int64{"high watermark": 3, "end": -1} {
		dir := t.TempDir()
		b := start(t, Config{DataDir: dir})
		createTopic(t, b.Addr(), "events")
		produce(t, b.Addr(), "events", "a", "b", "c")
		if err := newAdmin(t, b.Addr()).DeleteRecords("events", map[int32]int64{0: upTo}); err != nil {
			t.Fatal(err)
		}
		b.Close()

		client := newClient(t, start(t, Config{DataDir: dir}).Addr())
		oldest, err := client.GetOffset("events", 0, sarama.OffsetOldest)
		if err != nil || oldest != 2 {
			t.Errorf("trimmed to %d: oldest offset %d, %v, want 2", upTo, oldest, err)
		}
		newest, err := client.GetOffset("events", 0, sarama.OffsetNewest)
		if err != nil || newest != 3 {
			t.Errorf("trimmed to %d: newest offset %d, %v, want 3", upTo, newest, err)
		}
	}
}
