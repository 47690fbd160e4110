package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
)

// withStreams puts a draft in the place of the streams of a rules file, with what it proposes in comments.
func withStreams(t *testing.T, rules, draft string) string {
	t.Helper()
	before, rest, ok := strings.Cut(rules, "\nstreams:\n")
	_, after, ok2 := strings.Cut(rest, "\nrules:\n")
	if !ok || !ok2 {
		t.Fatal("the rules have no streams")
	}
	draft = regexp.MustCompile(`(?m)^    # (lateness|partitioned_by): `).ReplaceAllString(draft, "    $1: ")
	return before + "\n" + draft + "\nrules:\n" + after
}

// What is inferred of generated events says the same as the rules that they were made for.
func TestInferredStreamsGiveTheSameRows(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	shipped, err := os.ReadFile("../../rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{"as it comes": nil, "broken": {"--broken", "0.02", "--duplicates", "0.05", "--disorder", "0.1"}} {
		events := file(t, "events.jsonl", command(t, "", append([]string{"gen", "--events", "40000", "--users", "500"}, flags...)...).stdout)
		r := command(t, "", "infer", events)
		r.want(t, exitOK)
		drafted := file(t, "rules.yaml", withStreams(t, string(shipped), r.stdout))
		if r := command(t, "", "check", drafted, "--lint-fatal"); r.code != exitOK {
			t.Fatalf("%s: check says %s of\n%s", name, r.stderr, r.stdout)
		}
		want := command(t, "", "replay", "../../rules.yaml", events, "--emit", "final").stdout
		if got := command(t, "", "replay", drafted, events, "--emit", "final").stdout; got != want || strings.Count(want, "\n") < 100 {
			t.Errorf("%s: %d lines of rows, which differ from %d", name, strings.Count(got, "\n"), strings.Count(want, "\n"))
		}
	}
}

// Every kind of value has its type or a comment, and the draft compiles.
func TestInferChoosesTypes(t *testing.T) {
	t.Parallel()
	r := command(t, "", "infer", "testdata/infer/orders.jsonl", "--topic", "shop.orders")
	r.want(t, exitOK)
	wantGolden(t, "testdata/infer/orders.yaml", r.stdout)
	r = command(t, "", "infer", "testdata/infer/orders.jsonl", "--name", "sale", "--topic", "shop.sales")
	r.want(t, exitOK)
	_, sale, _ := strings.Cut(r.stdout, "streams:\n")
	_, ad, _ := strings.Cut(shopRules, "streams:\n")
	ad, _, _ = strings.Cut(ad, "  sale:\n")
	ad = strings.Replace(ad, "user: string", "user: int", 1)
	rules := withStreams(t, shopRules, "streams:\n"+ad+sale)
	rules = strings.NewReplacer("    join:\n      ad: sale.product == ad.product\n", "", "sale.price", "sale.amount").Replace(rules)
	command(t, "", "check", file(t, "rules.yaml", rules)).want(t, exitOK)
}

// Where nothing can be a time or an id the draft says so, and check asks for them.
func TestInferLeavesOpenWhatNothingSays(t *testing.T) {
	t.Parallel()
	r := command(t, `{"a": 1, "b": "x"}`+"\n"+`{"a": 2, "b": "x"}`+"\n", "infer", "-", "--name", "sale")
	r.want(t, exitOK)
	for _, line := range []string{"  sale:\n", `time: "?"  # no field looks like an event time`, `id: "?"    # no field looks like an id`} {
		if !strings.Contains(r.stdout, line) {
			t.Errorf("it does not say %q:\n%s", line, r.stdout)
		}
	}
	command(t, "", "check", file(t, "rules.yaml", withStreams(t, shopRules, r.stdout))).want(t, exitFailed,
		`stream "sale": time: is not decided yet: it needs a field of type time, and none is declared`,
		`stream "sale": id: is not decided yet: it needs a field of type string or int, such as a or b`)
}

func TestInferRefusesWhatIsNoSample(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		"":                         "standard input has no records",
		"\n \n":                    "standard input has no records",
		"a,b\n1,2\n":               "2 of 2 lines are no JSON objects: -:1: it is not JSON: ",
		"[\n{\"a\": 1},\n]\n":      "a file has one record per line; jq -c '.[]' makes that of a list",
		"{\n\"a\": 1\n}\n":         "a file has one record per line; jq -c . makes that of records over several lines",
		"1\n2\n":                   "-:1: it is a number, not an object",
		"\x00\x00\x00\x00\x01ab\n": "as Avro and Protobuf with a schema registry do; Lookback reads JSON",
		"{\"a\": \"\xff\"}\n":      "it is not UTF-8",
		"{\"a\": 1} {\"a\": 2}\n":  "something follows the object",
	} {
		r := command(t, input, "infer", "-")
		r.want(t, exitFailed, want)
		if r.stdout != "" {
			t.Errorf("of %q it drafts\n%s", input, r.stdout)
		}
	}
	named := `{"click": {"click_id": "c1"}}` + "\n" + `{"view": {"view_id": "v1"}}` + "\n"
	command(t, `{"click": null}`+"\n", "infer", "-").want(t, exitFailed, "stream click: none of 1 record has a value: they are tombstones")
	command(t, named, "infer", "-", "--name", "x").want(t, exitUsage, "--name: the lines of standard input name their streams")
	command(t, named, "infer", "-", "--topic", "x").want(t, exitUsage, "--topic: the lines of standard input are of 2 streams")
	command(t, "", "infer").want(t, exitUsage, "from what? Give --topic TOPIC or a file of records")
	command(t, "", "infer", "-", "--brokers", "k:1").want(t, exitUsage, "--brokers: a file is read, not a topic")
	command(t, "", "infer", "-", "--name", "touch").want(t, exitUsage, `--name: "touch" means something else in expressions`)
	command(t, "", "infer", "-", "--topic", "a/b").want(t, exitUsage, `--topic "a/b": a topic is`)
	command(t, "", "infer", "-", "--samples", "0").want(t, exitUsage, "--samples 0: use 1 to 100000")
	command(t, "", "infer", "--topic", "x", "--brokers", freeAddr(t)).want(t, exitFailed, "connect to")
	command(t, "", "infer", "gone.jsonl").want(t, exitFailed, "reading events: open gone.jsonl")
}

// Of a topic it looks at the latest records of all partitions, and sees by what they are partitioned.
func TestInferFromATopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), topic{"shop.purchases", 3, "delete", ""}, topic{"shop.views", 1, "delete", ""})
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var messages []*sarama.ProducerMessage
	for i := range 300 {
		user := fmt.Sprint("u", i%7)
		value := fmt.Sprintf(`{"purchase_id": "p%d", "event_time": %d, "user_id": %q, "total": %d.5}`, i, at.Add(time.Duration(i)*time.Second).UnixMilli(), user, i)
		messages = append(messages, &sarama.ProducerMessage{Topic: "shop.purchases", Key: sarama.StringEncoder(user), Value: sarama.StringEncoder(value), Timestamp: at.Add(time.Duration(i+2) * time.Second)})
	}
	messages = append(messages, &sarama.ProducerMessage{Topic: "shop.purchases", Key: sarama.StringEncoder("u1"), Timestamp: at}) // a tombstone
	send(t, b.Addr(), messages...)
	infer := func(args ...string) result {
		return command(t, "", append([]string{"infer", "--brokers", b.Addr()}, args...)...)
	}
	r := infer("--topic", "shop.purchases")
	r.want(t, exitOK)
	for _, line := range []string{"from 301 records of topic shop.purchases, the latest of 3 partitions.", "  purchase:\n    topic: shop.purchases\n", "purchase_id: string\n", "event_time: time_ms\n",
		"total: decimal\n", "time: event_time ", "id: purchase_id   # a guess: 300 values in 300 records", "made of user_id (7 values)", "    # partitioned_by: user_id\n",
		"records come 2s to 2s after their event", "tombstone: 1, such as shop.purchases/"} {
		if !strings.Contains(r.stdout, line) {
			t.Errorf("it does not say %q:\n%s", line, r.stdout)
		}
	}
	r = infer("--topic", "shop.purchases", "--samples", "10", "--name", "order")
	r.want(t, exitOK)
	if !strings.Contains(r.stdout, "from 10 records") || !strings.Contains(r.stdout, "  order:\n") {
		t.Errorf("of 10 samples it drafts\n%s", r.stdout)
	}
	infer("--topic", "shop.views").want(t, exitFailed, "topic shop.views has no records: nothing can be inferred")
	infer("--topic", "shop.purchase").want(t, exitFailed, `topic "shop.purchase" does not exist (did you mean "shop.purchases"?)`)
	infer("--topic", "views").want(t, exitFailed, `topic "views" does not exist; there are shop.views`)
	infer("--topic", "clicks").want(t, exitFailed, `topic "clicks" does not exist; there are shop.purchases, shop.views`)
	send(t, b.Addr(), &sarama.ProducerMessage{Topic: "shop.views", Value: sarama.StringEncoder("\x00\x00\x00\x00\x01x")})
	infer("--topic", "shop.views").want(t, exitFailed, "stream view: none of 1 record is a JSON object: shop.views/0/0: ", "Avro")
}
