package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
)

// patience is how long tests wait for what must come.
const patience = time.Minute

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !condition() {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

func startBroker(t *testing.T, config broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// freeAddr returns an address at which nobody listens. Its port is below those that systems give to clients, one of which
// could take it before it is used.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

func kafkaClient(t *testing.T, addr string) sarama.Client {
	t.Helper()
	config := sarama.NewConfig()
	config.Version = sarama.V2_5_0_0
	config.Consumer.MaxWaitTime = 10 * time.Millisecond // a fetch holds up the client's other requests
	config.Producer.MaxMessageBytes = 32 << 20
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	client, err := sarama.NewClient([]string{addr}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// topic is a topic as a test wants it.
type topic struct {
	name       string
	partitions int32
	policy     string
	settings   string // further ones, name=value
}

func createTopics(t *testing.T, addr string, topics ...topic) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(kafkaClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		detail := &sarama.TopicDetail{NumPartitions: topic.partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{"cleanup.policy": &topic.policy}}
		if name, value, ok := strings.Cut(topic.settings, "="); ok {
			detail.ConfigEntries[name] = &value
		}
		if err := admin.CreateTopic(topic.name, detail, false); err != nil {
			t.Fatalf("create topic %s: %v", topic.name, err)
		}
	}
}

func topicNames(t *testing.T, addr string) []string {
	t.Helper()
	names, err := kafkaClient(t, addr).Topics()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// produce writes lines of replay's format to the topics of shopRules, by user and with the time of the stories.
func produce(t *testing.T, addr string, lines ...string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, T)
	if err != nil {
		t.Fatal(err)
	}
	var messages []*sarama.ProducerMessage
	for _, line := range lines {
		m := &sarama.ProducerMessage{Topic: "shop.sales", Timestamp: at}
		value, ok := strings.CutPrefix(line, `{"sale":`)
		value = strings.TrimSuffix(value, "}")
		if !ok {
			m.Topic = "shop.ads"
			value, _, _ = strings.Cut(strings.TrimPrefix(line, `{"ad":`), `,"_ts"`)
		}
		_, user, _ := strings.Cut(value, `"user":"`)
		user, _, _ = strings.Cut(user, `"`)
		m.Key, m.Value = sarama.StringEncoder(user), sarama.StringEncoder(value)
		messages = append(messages, m)
	}
	send(t, addr, messages...)
}

func send(t *testing.T, addr string, messages ...*sarama.ProducerMessage) {
	t.Helper()
	producer, err := sarama.NewSyncProducerFromClient(kafkaClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := producer.SendMessages(messages); err != nil {
		t.Fatal(err)
	}
}

// consume returns the committed records of a topic up to its present end.
func consume(t *testing.T, addr, topic string) []*sarama.ConsumerMessage {
	t.Helper()
	return kafkatest.Read(t, []string{addr}, topic)
}

// runningCommand is a command that runs until it is told to stop.
type runningCommand struct {
	t      *testing.T
	stdout lockedText
	stderr lockedText
	cancel context.CancelFunc
	code   chan int
}

func startCommand(t *testing.T, args ...string) *runningCommand {
	t.Helper()
	if args[0] == "run" && !slices.Contains(args, "--http") {
		args = append(slices.Clone(args), "--http", "off") // tests run side by side
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningCommand{t: t, cancel: cancel, code: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.code <- execute(ctx, args, strings.NewReader(""), &r.stdout, &r.stderr)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// waitFor waits until standard error has a text n times.
func (r *runningCommand) waitFor(text string, n int) {
	r.t.Helper()
	eventually(r.t, text, func() bool {
		select {
		case code := <-r.code:
			r.t.Fatalf("ended with exit code %d before %q:\n%s", code, text, r.stderr.String())
		default:
		}
		return strings.Count(r.stderr.String(), text) >= n
	})
}

// stop tells the command to end, as a signal does, and returns what it came to.
func (r *runningCommand) stop() result {
	r.cancel()
	return r.end()
}

func (r *runningCommand) end() result {
	r.t.Helper()
	select {
	case code := <-r.code:
		return result{code, r.stdout.String(), r.stderr.String()}
	case <-time.After(patience):
		r.t.Fatalf("after %s it still runs:\n%s", patience, r.stderr.String())
		return result{}
	}
}

// lockedText is written and read at the same time.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
