package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
	"github.com/seed-2058fbc3/lookback/processors"
)

// javaTool runs one of Apache Kafka's console programs and returns what it prints.
func javaTool(t *testing.T, dist apache.Distribution, input []byte, class string, args ...string) []byte {
	t.Helper()
	cmd := dist.Command(t.Context(), class, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // what Java reads and prints text by
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		failed := &exec.ExitError{}
		if e, ok := err.(*exec.ExitError); ok {
			failed = e
		}
		t.Errorf("%s: %v\n%s", class, err, failed.Stderr)
	}
	return out
}

// abortIn leaves an aborted record in every partition of a topic, which readers of committed records must not see.
func (r *rig) abortIn(topic string) {
	r.t.Helper()
	config := *r.client.Config()
	config.Producer.Idempotent, config.Producer.Transaction.ID = true, topic
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(r.addrs, &config)
	if err != nil {
		r.t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.BeginTxn(); err != nil {
		r.t.Fatal(err)
	}
	for n := range int32(partitions) {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: n, Value: sarama.StringEncoder("aborted")}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := producer.AbortTxn(); err != nil {
		r.t.Fatal(err)
	}
}

// What the Java client writes is where its murmur2 says, so an app may read it directly, and the Java client reads what
// the app writes.
func TestJavaClients(t *testing.T) {
	addrs := kafkatest.Apache(t)
	dist, err := apache.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, app := newRig(t, addrs), appName()
	plan := r.compile(adOptions{app: app, topics: app, direct: true}.source())
	r.createAdTopics(app)
	if _, err := processors.Prepare(plan, r.admin); err != nil {
		t.Fatal(err)
	}
	deltas := processors.DeltasTopic(plan.Rules[0])
	r.abortIn(deltas)

	// Users of every length and of other alphabets, so that each branch of the hash, and its sign, is met.
	users := []string{"a", "ü", "日本", "😀", "ab", "abc", "user-with-a-longer-name@example.com"}
	for n := range 60 {
		users = append(users, strconv.Itoa(n*n*n))
	}
	at := time.Now().Add(-time.Hour).UnixMilli()
	values := [][]string{{}, {}, {}}
	for n, user := range users {
		common := fmt.Sprintf(`"user_id":%q,"advertiser_id":"a"`, user)
		values[0] = append(values[0], fmt.Sprintf(`{"impression_id":"i-%d","event_ts":%d,"auction_id":"x","pixel_id":"p","campaign_id":"k","price":0.1,%s}`, n, at, common))
		values[1] = append(values[1], fmt.Sprintf(`{"click_id":"c-%d","event_ts":%d,"auction_id":"x",%s}`, n, at+1000, common))
		values[2] = append(values[2], fmt.Sprintf(`{"conversion_id":"e-%d","event_ts":%d,"pixel_id":"p","value":2.5,%s}`, n, at+2000, common))
	}
	var producing sync.WaitGroup
	for rank, stream := range adStreams {
		var lines []byte
		for n, user := range users {
			lines = fmt.Appendf(lines, "%s\t%s\n", user, values[rank][n])
		}
		producing.Go(func() {
			javaTool(t, dist, lines, "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", addrs[0], "--topic", app+"."+stream+"s",
				"--property", "parse.key=true", "--property", "key.separator=\t")
		})
	}
	producing.Wait()

	var inputs []input
	for rank, stream := range adStreams {
		records := r.read(app + "." + stream + "s")
		if len(records) != len(users) {
			t.Fatalf("%d records of %d users came from Java", len(records), len(users))
		}
		for _, m := range records {
			if want := codecs.PartitionOf(m.Key, partitions); m.Partition != want {
				t.Errorf("key %q: Java chose partition %d, PartitionOf says %d", m.Key, m.Partition, want)
			}
			inputs = append(inputs, input{record: record{topic: m.Topic, key: m.Key, value: m.Value, at: m.Timestamp}, stream: rank,
				place: place{m.Topic, m.Partition, m.Offset}})
		}
	}

	i := r.startReady(plan, app) // which checks the partitioning, too
	r.settle(plan)
	i.stop()
	r.wantOnce(plan, recount(plan, inputs, nil))

	var want []string
	for _, m := range r.read(deltas) {
		want = append(want, fmt.Sprintf("Partition:%d\t%s\t%s", m.Partition, m.Key, m.Value))
		id := decode[map[string]any](t, m.Value)["conversion_id"].(string)
		if home := codecs.PartitionOf([]byte(id), partitions); m.Partition != home {
			t.Errorf("a delta of conversion %s is in partition %d, want %d", id, m.Partition, home)
		}
	}
	out := javaTool(t, dist, nil, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", addrs[0], "--topic", deltas, "--from-beginning",
		"--isolation-level", "read_committed", "--max-messages", strconv.Itoa(len(want)), "--timeout-ms", strconv.FormatInt(patience.Milliseconds(), 10),
		"--property", "print.key=true", "--property", "print.partition=true")
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Java reads %d deltas, want %d:\n%s", len(got), len(want), out)
	}
}
