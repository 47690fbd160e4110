package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/broker"
)

var sources = []topic{{"shop.ads", 3, "delete", ""}, {"shop.sales", 3, "delete", ""}}

// directRules reads its streams without a repartition topic.
func directRules(t *testing.T) string {
	text := edited(t, shopRules, "    id: ad_id\n", "    id: ad_id\n    partitioned_by: user\n")
	return edited(t, text, "    id: sale_id\n", "    id: sale_id\n    partitioned_by: user\n")
}

// Topics that do not fit are refused before anything is created or read, by run and by check --connect alike.
func TestTopicsThatDoNotFitAreExplained(t *testing.T) {
	withTable := edited(t, shopRules, "rules:\n", "tables:\n  catalog: {topic: shop.catalog, key: product, fields: {product: string, title: string}}\nrules:\n")
	for name, test := range map[string]struct {
		rules  string
		topics []topic
		want   []string // in this order; $ is the broker's address
	}{
		"sources missing": {shopRules, nil, []string{
			"topic shop.ads does not exist; create it: kafka-topics.sh --bootstrap-server $ --create --topic shop.ads --partitions 3",
			"topic shop.sales does not exist; create it: kafka-topics.sh --bootstrap-server $ --create --topic shop.sales --partitions 3"}},
		"table missing": {withTable, sources, []string{
			"topic shop.catalog does not exist; create it: kafka-topics.sh --bootstrap-server $ --create --topic shop.catalog --config cleanup.policy=compact"}},
		"table not compacted": {withTable, append([]topic{{"shop.catalog", 1, "delete", ""}}, sources...), []string{
			"topic shop.catalog is not compacted (cleanup.policy=delete): set cleanup.policy=compact"}},
		"source compacted": {shopRules, []topic{{"shop.ads", 3, "compact", ""}, {"shop.sales", 3, "compact,delete", ""}}, []string{
			"topic shop.ads is compacted (cleanup.policy=compact): compaction removes events that share a record key; set cleanup.policy=delete",
			"topic shop.sales is compacted (cleanup.policy=compact,delete)"}},
		"sources not alike": {directRules(t), []topic{{"shop.ads", 3, "delete", ""}, {"shop.sales", 4, "delete", ""}}, []string{
			"key user reads its streams directly (partitioned_by), so their topics need the same number of partitions, but shop.ads has 3, shop.sales has 4; repartition the topics, or remove partitioned_by"}},
		"changelog and source not alike": {directRules(t), append([]topic{{"shop.user-table", 5, "compact,delete", ""}}, sources...), []string{
			"topic shop.user-table has 5 partitions, but the inputs of key user have 3: state and input must be partitioned alike"}},
		"changelog and repartition topic not alike": {shopRules, append([]topic{{"shop.user-repartition", 2, "delete", ""}, {"shop.user-table", 3, "compact,delete", ""}}, sources...), []string{
			"topic shop.user-table has 3 partitions, but the inputs of key user have 2"}},
		"changelog not compacted": {shopRules, append([]topic{{"shop.user-table", 3, "delete", ""}}, sources...), []string{
			"topic shop.user-table is not compacted (cleanup.policy=delete): set cleanup.policy=compact,delete"}},
		"repartition topic compacted": {shopRules, append([]topic{{"shop.user-repartition", 3, "compact", ""}}, sources...), []string{
			"topic shop.user-repartition is compacted (cleanup.policy=compact): compaction would remove records that are still of use; set cleanup.policy=delete"}},
		"upserts not compacted, deltas compacted": {shopRules, append([]topic{{"shop.credit", 1, "delete", ""}, {"shop.credit.deltas", 1, "compact", ""}}, sources...), []string{
			"topic shop.credit is not compacted (cleanup.policy=delete): set cleanup.policy=compact",
			"topic shop.credit.deltas is compacted"}},
		"everything at once": {withTable, []topic{{"shop.sales", 3, "compact", ""}, {"shop.user-table", 9, "delete", ""}, {"shop.rejected", 1, "compact", ""}}, []string{
			"the topics do not fit the rules:\n",
			"topic shop.ads does not exist", "topic shop.sales is compacted", "topic shop.catalog does not exist",
			"topic shop.user-table is not compacted", "topic shop.user-table has 9 partitions", "topic shop.rejected is compacted"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, broker.Config{})
			createTopics(t, b.Addr(), test.topics...)
			rules := file(t, "rules.yaml", test.rules)
			want := make([]string, len(test.want))
			for i, text := range test.want {
				want[i] = strings.ReplaceAll(text, "$", b.Addr())
			}
			before := topicNames(t, b.Addr())
			command(t, "", "check", "--connect", "--brokers", b.Addr(), rules).want(t, exitFailed, want...)
			startCommand(t, "run", rules, "--brokers", b.Addr()).end().want(t, exitFailed, want...)
			if after := topicNames(t, b.Addr()); !slices.Equal(before, after) {
				t.Errorf("topics were created although others do not fit: %v", after)
			}
		})
	}
}

// A repartition topic that exists with another number of partitions is taken as it is, and the state follows it.
func TestAnExistingRepartitionTopicDecidesOnPartitions(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), append([]topic{{"shop.user-repartition", 5, "delete", ""}}, sources...)...)
	rules := file(t, "rules.yaml", shopRules)
	command(t, "", "check", "--connect", "--brokers", b.Addr(), rules).want(t, exitOK)
	run := startCommand(t, "run", rules, "--brokers", b.Addr())
	run.waitFor("msg=ready", 1)
	partitions, err := kafkaClient(t, b.Addr()).Partitions("shop.user-table")
	if err != nil || len(partitions) != 5 {
		t.Errorf("the changelog has %d partitions (%v), want 5", len(partitions), err)
	}
	produce(t, b.Addr(), story(10)...)
	wantCredits(t, b.Addr(), 10)
	run.stop().want(t, exitOK, "msg=stopped")
}

// With partitioned_by, records that lie elsewhere would lose their credit without a trace.
func TestWronglyPartitionedTopicsAreRefused(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	rules := file(t, "rules.yaml", edited(t, directRules(t), "    id: ad_id\n    partitioned_by: user\n", "    id: ad_id\n    partitioned_by: product\n"))
	command(t, "", "check", rules).want(t, exitFailed, "partitioned_by")

	rules = file(t, "rules.yaml", directRules(t))
	produce(t, b.Addr(), story(60)...)
	run := startCommand(t, "run", rules, "--brokers", b.Addr())
	run.waitFor("msg=ready", 1)
	run.stop().want(t, exitOK)

	// The same with records whose keys are others than the field says.
	var astray []string
	for _, line := range story(60) {
		astray = append(astray, strings.Replace(line, `"user":"`, `"x":{"user":"other"},"user":"`, 1))
	}
	other := startBroker(t, broker.Config{})
	createTopics(t, other.Addr(), sources...)
	produce(t, other.Addr(), astray...)
	startCommand(t, "run", rules, "--brokers", other.Addr()).end().want(t, exitFailed,
		"stream ad: topic shop.ads is not partitioned by user: ", " of 60 sampled records are in another partition", "remove partitioned_by to have it repartitioned",
		"stream sale: topic shop.sales is not partitioned by user: ")
}

func TestCheckConnectNeedsABroker(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	rules := file(t, "rules.yaml", shopRules)
	command(t, "", "check", "--connect", "--brokers", addr, rules).want(t, exitFailed, "connect to ["+addr+"]: ", "connection refused")
	command(t, "", "check", "--brokers", addr, rules).want(t, exitOK) // not asked to connect
}

func TestRunWaitsForItsBroker(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	run := startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", addr)
	run.waitFor(`level=WARN msg="broker is not reachable, trying again" brokers=[`+addr+`]`, 2)
	if strings.Contains(run.stderr.String(), "level=ERROR") || !strings.Contains(run.stderr.String(), "connection refused") {
		t.Errorf("the log is\n%s", run.stderr.String())
	}
	dir := t.TempDir() // with its topics before Lookback is there to look
	prepared := startBroker(t, broker.Config{DataDir: dir})
	createTopics(t, prepared.Addr(), sources...)
	prepared.Close()
	startBroker(t, broker.Config{DataDir: dir, Addr: addr})
	run.waitFor("msg=ready", 1)
	produce(t, addr, story(20)...)
	wantCredits(t, addr, 20)
	run.stop().want(t, exitOK, "msg=stopped")
}

func TestRunThatWaitsForItsBrokerCanBeStopped(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	run := startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", addr)
	run.waitFor("broker is not reachable", 1)
	run.stop().want(t, exitOK)
}

// The broker goes and comes back, twice, and nothing that it acknowledged is lost, nor anything of the state.
func TestNothingIsLostWhileTheBrokerIsAway(t *testing.T) {
	for name, text := range map[string]string{"repartitioned": shopRules, "direct": directRules(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
			b := startBroker(t, config)
			createTopics(t, b.Addr(), sources...)
			at := freeAddr(t)
			run := startCommand(t, "run", file(t, "rules.yaml", text), "--brokers", config.Addr, "--store", "disk", "--state-dir", t.TempDir(), "--http", at)
			const users, rounds = 60, 3
			events := story(users)
			part := len(events) / rounds
			for round := range rounds {
				awaitCode(t, at, "/readyz", http.StatusOK)
				produce(t, b.Addr(), events[round*part:(round+1)*part]...)
				if round == rounds-1 {
					break
				}
				if round == 0 { // the other time it goes in the midst of it
					wantCredits(t, b.Addr(), users/rounds)
				}
				warned := strings.Count(run.stderr.String(), "level=WARN")
				b.Close()
				run.waitFor("level=WARN", warned+1)
				b = startBroker(t, config)
			}
			wantCredits(t, b.Addr(), users)
			run.stop().want(t, exitOK, "msg=stopped")
			if rejected := consume(t, b.Addr(), "shop.rejected"); len(rejected) > 0 {
				t.Errorf("%d records rejected, the first: %s", len(rejected), rejected[0].Value)
			}
		})
	}
}

// What replay refuses run refuses, for the same reason, and goes on. The record goes out as it came, unless no topic would
// take it.
func TestRunRefusesWhatReplayRefuses(t *testing.T) {
	t.Parallel()
	type refusal struct{ reason, message, value string }
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), topic{"shop.ads", 3, "delete", "max.message.bytes=33554432"}, topic{"shop.sales", 3, "delete", ""})
	rules := file(t, "rules.yaml", shopRules)
	now, err := time.Parse(time.RFC3339, T)
	if err != nil {
		t.Fatal(err)
	}
	want := map[refusal]int{}
	var messages []*sarama.ProducerMessage
	for name, bad := range badLines() {
		stream, record, at, err := codecs.SplitLine([]byte(bad.line))
		if err != nil || bad.late || stream != "ad" && stream != "sale" {
			continue
		}
		m := &sarama.ProducerMessage{Topic: "shop." + stream + "s", Key: sarama.StringEncoder(name), Timestamp: now}
		if at != 0 {
			m.Timestamp = time.UnixMicro(at)
		}
		if record != nil {
			m.Value = sarama.ByteEncoder(record)
		}
		messages = append(messages, m)
		r := command(t, bad.line, "replay", rules, "-")
		refused := of(r.records(t), "shop.rejected")
		if len(refused) != 1 {
			t.Fatalf("%s: %d rejects in the replay", name, len(refused))
		}
		if len(record) > 1<<20 {
			record = nil
		}
		want[refusal{bad.reason, refused[0].message(), string(record)}]++
	}
	messages = append(messages, &sarama.ProducerMessage{Topic: "shop.ads", Value: sarama.ByteEncoder{}, Timestamp: now})
	want[refusal{"empty", "the record is empty", ""}]++

	events := story(20)
	produce(t, b.Addr(), events[:20]...)
	send(t, b.Addr(), messages...)
	produce(t, b.Addr(), events[20:]...)
	run := startCommand(t, "run", rules, "--brokers", b.Addr())
	run.waitFor("msg=ready", 1)
	wantCredits(t, b.Addr(), 20)
	eventually(t, "every bad record is rejected", func() bool { return len(consume(t, b.Addr(), "shop.rejected")) >= len(messages) })
	run.stop().want(t, exitOK, "msg=stopped")
	for _, m := range consume(t, b.Addr(), "shop.rejected") {
		headers := map[string]string{}
		for _, h := range m.Headers {
			headers[string(h.Key)] = string(h.Value)
		}
		got := refusal{headers[codecs.HeaderException], headers[codecs.HeaderMessage], string(m.Value)}
		if want[got]--; want[got] < 0 {
			t.Errorf("run rejects, and replay does not: %s: %s: %s", got.reason, got.message, shorten(got.value))
		}
		if topic := headers[codecs.HeaderTopic]; topic != "shop.ads" && topic != "shop.sales" {
			t.Errorf("rejected from topic %q", topic)
		}
	}
	for r, n := range want {
		if n > 0 {
			t.Errorf("replay rejects, and run does not: %s: %s: %s", r.reason, r.message, shorten(r.value))
		}
	}
}

func TestRunRefusesABadTableFile(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	missing := filepath.Join(t.TempDir(), "catalog.csv")
	rules := file(t, "rules.yaml", catalogRules(t, fmt.Sprintf("file: %q", missing)))
	startCommand(t, "run", rules, "--brokers", b.Addr()).end().want(t, exitFailed, "lookback: ", missing, "there is no such file")
	writeFile(t, missing, "product,title,rank\np,P,1\np,Q,2\n")
	startCommand(t, "run", rules, "--brokers", b.Addr()).end().want(t, exitFailed, missing+`:3: duplicate key "p" (first on line 2)`)
}

// story is an ad and a sale for each of n users.
func story(n int) (lines []string) {
	for i := range n {
		user := fmt.Sprintf("u%d", i)
		lines = append(lines, ad("a-"+user, user), sale("s-"+user, user))
	}
	return lines
}

// wantCredits waits until the deltas, without those that were written twice, say that n sales were seen, and checks that
// the upserts say the same.
func wantCredits(t *testing.T, addr string, n int) {
	t.Helper()
	type row struct {
		Conversion string `json:"conversion_id"`
		Class      string `json:"class"`
		Sign       int    `json:"sign"`
		ID         string `json:"delta_id"`
	}
	rows := func(topic string) (all []row) {
		for _, m := range consume(t, addr, topic) {
			var r row
			if err := json.Unmarshal(m.Value, &r); err != nil {
				t.Fatalf("%s: %v: %s", topic, err, m.Value)
			}
			all = append(all, r)
		}
		return all
	}
	eventually(t, fmt.Sprintf("%d sales are credited", n), func() bool {
		net, known := map[string]int{}, map[string]bool{}
		for _, r := range rows("shop.credit.deltas") {
			if !known[r.ID] {
				known[r.ID] = true
				net[r.Conversion+" "+r.Class] += r.Sign
			}
		}
		last := map[string]string{}
		for _, r := range rows("shop.credit") {
			last[r.Conversion] = r.Class
		}
		for i := range n {
			sale := fmt.Sprintf("s-u%d", i)
			if net[sale+" seen"] != 1 || net[sale+" none"] != 0 || last[sale] != "seen" {
				return false
			}
		}
		return len(last) == n
	})
}
