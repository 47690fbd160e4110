package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/why"
)

// whyStory has a conversion with a click, one whose touches are of another key, one that was refused, one that was late.
const whyStory = `{"ad": {"ad_id": "a1", "at": "2026-01-01T10:00:00Z", "user": "u1", "product": "ball", "weight": 1}}
{"ad": {"ad_id": "a2", "at": "2026-01-01T11:00:00Z", "user": "u1", "product": "bat", "weight": 1}}
{"sale": {"sale_id": "s1", "at": "2026-01-01T12:00:00Z", "user": "u1", "product": "ball", "price": 5}}
{"ad": {"ad_id": "a3", "at": "2026-01-01T11:59:30Z", "user": "u1", "product": "ball", "weight": 1}}
{"ad": {"ad_id": "a4", "at": "2026-01-01T11:00:00Z", "user": "u1", "product": "ball", "weight": 1}}
{"sale": {"sale_id": "s2", "at": "2026-01-01T12:00:00Z", "user": "u2", "product": "ball", "price": 5}}
{"sale": {"sale_id": "s3", "user": "u2", "product": "ball", "price": 5}}
{"sale": {"sale_id": "s4", "at": "2026-01-01T10:00:00Z", "user": "u1", "product": "ball", "price": 5}}
`

func TestWhyTellsTheWholeStory(t *testing.T) {
	t.Parallel()
	rules, events := file(t, "rules.yaml", shopRules), file(t, "story.jsonl", whyStory)
	r := command(t, "", "why", rules, "s1", events)
	r.want(t, exitOK)
	want := `sale s1 of 2026-01-01T12:00:00Z  story.jsonl:3
key: user u1
rule: credit
rows:
  {"rule":"credit","model":"last","conversion_id":"s1","touch_id":"a3","touch":"ad","class":"seen","credit":1000000,"event_time":"2026-01-01T12:00:00Z","product":"ball","revenue":5}
touches of the key:
  ad a3  30s before  story.jsonl:4  seen  credited
  ad a2  1h before   story.jsonl:2  seen  join_differs  sale.product is "ball", ad.product is "bat"
  ad a1  2h before   story.jsonl:1  seen  earlier       ad a3 is 1h59m30s later
late:
  ad a4    2026-01-01T11:00:00Z  story.jsonl:5
  sale s4  2026-01-01T10:00:00Z  story.jsonl:8
history:
  sale s1  story.jsonl:3  +1 last seen ad a1
  ad a3    story.jsonl:4  -1 last seen ad a1, +1 last seen ad a3
`
	if got := strings.ReplaceAll(r.stdout, events, "story.jsonl"); got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
	r = command(t, "", "why", rules, "s2", events)
	r.want(t, exitOK)
	for _, part := range []string{"touches of the key: none", "near, in other keys:", `user is "u1", that of the conversion is "u2", 30s before it`, "+1 last none"} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("of s2 it does not say %q:\n%s", part, r.stdout)
		}
	}
	r = command(t, "", "why", rules, "s4", events)
	r.want(t, exitOK)
	for _, part := range []string{"rows: none", "the conversion itself"} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("of s4 it does not say %q:\n%s", part, r.stdout)
		}
	}
	r = command(t, "", "why", rules, "s1", events, "--limit", "1")
	if !strings.Contains(r.stdout, "and 2 more, see --limit") {
		t.Errorf("with a limit it says\n%s", r.stdout)
	}
}

func TestWhyAsJSON(t *testing.T) {
	t.Parallel()
	rules, events := file(t, "rules.yaml", shopRules), file(t, "story.jsonl", whyStory)
	r := command(t, "", "why", rules, "s1", events, "--format", "json")
	r.want(t, exitOK)
	var a why.Answer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		t.Fatalf("%q: %v", r.stdout, err)
	}
	if a.Conversion.ID != "s1" || a.Key["user"] != "u1" || len(a.Rows) != 1 || len(a.Touches) != 3 || a.Touches[0].Verdict != "credited" ||
		a.Touches[1].Detail == "" || len(a.Late) != 2 || len(a.History) != 2 || len(a.History[1].Deltas) != 2 {
		t.Errorf("it says %+v", a)
	}
}

func TestWhyRefusesWhatItCannotExplain(t *testing.T) {
	t.Parallel()
	rules, events := file(t, "rules.yaml", shopRules), file(t, "story.jsonl", whyStory)
	command(t, "", "why", rules, "s9", events).want(t, exitFailed, `no sale has the id "s9" in 8 records of `)
	command(t, "", "why", rules, "s3", events).want(t, exitFailed, `no sale has the id "s3"`, "story.jsonl:7: a sale of this id was rejected: ")
	command(t, "", "why", rules, "s1", "-").want(t, exitUsage, "standard input cannot be read twice")
	command(t, "", "why", rules).want(t, exitUsage, "arguments are missing")
	command(t, "", "why", rules, "s1", events, "--brokers", "k:1").want(t, exitUsage, "--brokers: files are read, not topics")
	command(t, "", "why", rules, "s1", "--table", "a=b.csv").want(t, exitUsage, "--table: tables of topics are read as the app reads them")
	command(t, "", "why", rules, "s1", "--brokers", freeAddr(t)).want(t, exitFailed, "connect to")
	command(t, "", "why", rules, "s1", events, "--rule", "other").want(t, exitUsage, "no such rule")
	command(t, "", "why", rules, "s1", events, "--format", "xml").want(t, exitUsage, "use text or json")
	command(t, "", "why", rules, "s1", events, "--limit", "0").want(t, exitUsage, "use at least 1")
	command(t, "", "why", rules, "s1", events+".gone").want(t, exitFailed, "reading events: ")
}

// Of what Kafka holds it tells the same, where everything stands there, and how the rows were written; and what an app that is behind has
// not counted yet.
func TestWhyFromTopics(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	rules := file(t, "rules.yaml", shopRules)
	ask := func(id string, args ...string) result {
		return command(t, "", append([]string{"why", rules, id, "--brokers", b.Addr()}, args...)...)
	}
	ask("s1").want(t, exitFailed, "app shop has never run here")
	app := startCommand(t, "run", rules, "--brokers", b.Addr())
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tell := func(lines ...string) {
		var messages []*sarama.ProducerMessage
		for _, line := range lines {
			stream, value, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, `{"`), "}"), `": `)
			messages = append(messages, &sarama.ProducerMessage{Topic: "shop." + stream + "s", Key: sarama.StringEncoder("u1"), Value: sarama.StringEncoder(value), Timestamp: noon})
		}
		send(t, b.Addr(), messages...)
	}
	story := strings.Split(strings.TrimSpace(whyStory), "\n")
	grown := func(topic string, n int) {
		eventually(t, topic, func() bool { return len(consume(t, b.Addr(), topic)) >= n })
	}
	tell(story[0], story[1])
	tell(story[2], story[5], story[6])
	grown("shop.credit.deltas", 2)
	tell(story[3])
	eventually(t, "a3 has the credit", func() bool {
		for _, m := range consume(t, b.Addr(), "shop.credit") {
			if strings.Contains(string(m.Value), `"touch_id":"a3"`) {
				return true
			}
		}
		return false
	})
	n := 0
	eventually(t, "the watermark has passed", func() bool {
		n++
		tell(strings.Replace(story[4], "a4", fmt.Sprint("late-", n), 1))
		return len(consume(t, b.Addr(), "shop.late")) > 0
	})
	tell(story[7])
	grown("shop.late", 2)

	r := ask("s1", "--format", "json")
	r.want(t, exitOK)
	var a why.Answer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		t.Fatalf("%q: %v", r.stdout, err)
	}
	if a.Conversion.ID != "s1" || !strings.HasPrefix(a.Conversion.At, "shop.sales/") || a.Key["user"] != "u1" || len(a.Rows) != 1 || !strings.Contains(string(a.Rows[0]), `"touch_id":"a3"`) ||
		len(a.Touches) < 3 || a.Touches[0].ID != "a3" || a.Touches[0].Verdict != "credited" || len(a.Late) == 0 || len(a.History) < 3 || len(a.Rejected) > 0 {
		t.Errorf("it says %+v", a)
	}
	net := 0
	for _, h := range a.History {
		net += h.Deltas[0].Sign
		if !strings.HasPrefix(h.At, "shop.credit.deltas/") || !strings.HasPrefix(h.Event, "written 20") {
			t.Errorf("history %+v", h)
		}
	}
	if net != 1 {
		t.Errorf("the deltas add up to %d rows: %+v", net, a.History)
	}
	s2 := ask("s2")
	for _, part := range []string{"touches of the key: none", "near, in other keys:", `user is "u1", that of the conversion is "u2"`, "+1 last none", "rows:"} {
		if !strings.Contains(s2.stdout, part) {
			t.Errorf("of s2 it does not say %q:\n%s", part, s2.stdout)
		}
	}
	if s4 := ask("s4"); !strings.Contains(s4.stdout, "rows: none") || !strings.Contains(s4.stdout, "the conversion itself") {
		t.Errorf("of s4 it says\n%s", s4.stdout)
	}
	ask("s3").want(t, exitFailed, `no sale has the id "s3"`, "topics shop.sales", "shop.sales/", "a sale of this id was rejected: ")

	app.stop().want(t, exitOK)
	tell(strings.Replace(story[3], "a3", "a9", 1))
	if s1 := ask("s1"); !strings.Contains(s1.stdout, "in flight, not counted here:\n  ad a9") {
		t.Errorf("of s1, when the app is behind, it says\n%s", s1.stdout)
	}
}

// The README shows what it says of the README's story.
func TestWhyInTheREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LATENESS", "1h")
	_, rest, _ := strings.Cut(string(text), "cat > story.jsonl <<'END'\n")
	story, rest, _ := strings.Cut(rest, "    END\n")
	_, shown, ok := strings.Cut(rest, "$ bin/lookback why rules.yaml e1 story.jsonl\n")
	if !ok {
		t.Fatal("the README does not ask why")
	}
	events := file(t, "story.jsonl", strings.ReplaceAll(story, "    {", "{"))
	r := command(t, "", "why", "../../rules.yaml", "e1", events)
	r.want(t, exitOK)
	for line := range strings.Lines(strings.ReplaceAll(r.stdout, events, "story.jsonl")) {
		want, more, _ := strings.Cut(shown, "\n")
		if shown = more; strings.Join(strings.Fields(want), " ") != strings.Join(strings.Fields(line), " ") {
			t.Errorf("it says %q, the README %q", line, want)
		}
	}
}
