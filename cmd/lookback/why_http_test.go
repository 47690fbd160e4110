package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/why"
)

// countRules count one sale for each ad, and a second rule has a key of its own.
var countRules = strings.Replace(shopRules, "    lookback: 7d\n", "    lookback: 7d\n    count: one_per_touch\n", 1) + `
  - name: by_product
    attribute: sale
    key: [product, user]
    lookback: 7d
    classes:
      seen: {touch: ad, within: 1d}
    unattributed: emit
    into: shop.by_product
`

// httpStories are what is sent, to which topic and by whom, and the conversions that there are then.
var httpStories = map[string]struct {
	rules       func(t *testing.T) string
	partitionBy string
	events      []string // TOPIC value
	conversions []string
}{
	"refunds": {
		rules: func(*testing.T) string { return "../../examples/refunds/rules.yaml" }, partitionBy: "customer",
		events: []string{
			`shop.clicks {"click_id": "c1", "ts": "2026-01-01T10:00:00Z", "customer": "k1", "campaign": "spring"}`,
			`shop.clicks {"click_id": "c2", "ts": "2026-01-01T10:10:00Z", "customer": "k1", "campaign": "bots"}`,
			`shop.clicks {"click_id": "c3", "ts": "2026-01-01T10:20:00Z", "customer": "k3", "campaign": "summer"}`,
			`shop.orders {"order_id": "o1", "ts": "2026-01-01T11:00:00Z", "customer": "k1", "total": 100}`,
			`shop.orders {"order_id": "o2", "ts": "2026-01-01T11:05:00Z", "customer": "k2", "total": 7}`,
			`shop.orders {"order_id": "o3", "ts": "2026-01-01T11:10:00Z", "customer": "k3", "total": 9.5}`,
			`shop.orders {"order_id": "o4", "ts": "2026-01-01T11:15:00Z", "customer": "k3", "total": 20}`,
			`shop.orders {"order_id": "o5", "ts": "2026-01-01T11:20:00Z", "customer": "k3", "total": 21}`,
			`shop.refunds {"refund_id": "r1", "ts": "2026-01-01T11:30:00Z", "customer": "k1", "order_id": "o1", "amount": 30}`,
			`shop.refunds {"refund_id": "r2", "ts": "2026-01-01T11:31:00Z", "customer": "k3", "order_id": "o3"}`,
			`shop.fraud {"report_id": "f1", "ts": "2026-01-01T11:32:00Z", "customer": "k1", "click_id": "c2"}`,
			`shop.cancelled {"cancel_id": "x1", "ts": "2026-01-01T11:33:00Z", "customer": "k3", "order_id": "o4"}`,
		},
		conversions: []string{"o1", "o2", "o3", "o4", "o5"},
	},
	"browser-api": {
		rules: func(*testing.T) string { return "../../examples/browser-api/rules.yaml" }, partitionBy: "browser",
		events: []string{
			`api.clicks {"source_id": "dear", "ts": "2026-01-01T10:00:00Z", "browser": "b", "site": "shop", "priority": 9, "expiry": 18000, "product": ""}`,
			`api.views {"source_id": "cheap", "ts": "2026-01-01T10:01:00Z", "browser": "b", "site": "shop", "priority": 1, "expiry": 18000, "product": ""}`,
			`api.triggers {"trigger_id": "t1", "ts": "2026-01-01T11:00:00Z", "browser": "b", "site": "shop", "data": [{"value": 1, "dedup_key": "one", "product": ""}]}`,
			`api.triggers {"trigger_id": "t2", "ts": "2026-01-01T11:01:00Z", "browser": "b", "site": "shop", "data": [{"value": 2, "dedup_key": "one", "product": ""}]}`,
			`api.triggers {"trigger_id": "t3", "ts": "2026-01-01T11:02:00Z", "browser": "b", "site": "shop", "data": [{"value": 3, "dedup_key": "two", "product": ""}]}`,
			`api.triggers {"trigger_id": "t4", "ts": "2026-01-01T11:03:00Z", "browser": "b", "site": "shop", "data": [{"value": 4, "dedup_key": "three", "product": ""}]}`,
			`api.triggers {"trigger_id": "t5", "ts": "2026-01-01T11:04:00Z", "browser": "b", "site": "shop", "data": [{"value": 5, "dedup_key": "four", "product": ""}]}`,
			`api.triggers {"trigger_id": "t6", "ts": "2026-01-01T11:05:00Z", "browser": "other", "site": "shop", "data": [{"value": 6, "dedup_key": "", "product": ""}]}`,
		},
		conversions: []string{"t1", "t2", "t3", "t4", "t5", "t6"},
	},
	"one_per_touch": {
		rules: func(t *testing.T) string { return file(t, "rules.yaml", countRules) }, partitionBy: "user",
		events: []string{
			`shop.ads {"ad_id": "a1", "at": "2026-01-01T11:59:10Z", "user": "u1", "product": "ball", "weight": 1}`,
			`shop.ads {"ad_id": "a2", "at": "2026-01-01T11:59:20Z", "user": "u1", "product": "bat", "weight": 1}`,
			`shop.sales {"sale_id": "s1", "at": "2026-01-01T11:59:30Z", "user": "u1", "product": "ball", "price": 5}`,
			`shop.sales {"sale_id": "s2", "at": "2026-01-01T11:59:40Z", "user": "u1", "product": "ball", "price": 6}`,
			`shop.sales {"sale_id": "s3", "at": "2026-01-01T11:59:50Z", "user": "u2", "product": "ball", "price": 7}`,
		},
		conversions: []string{"s1", "s2", "s3"},
	},
}

// told sends the events of a story.
func told(t *testing.T, addr, by string, events []string) {
	t.Helper()
	var messages []*sarama.ProducerMessage
	for _, event := range events {
		topic, value, _ := strings.Cut(event, " ")
		var fields map[string]any
		if err := json.Unmarshal([]byte(value), &fields); err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(fields[by].(string)), Value: sarama.StringEncoder(value),
			Timestamp: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)})
	}
	send(t, addr, messages...)
}

// withoutSource is what of answers does not depend on where they come from.
func withoutSource(t *testing.T, r result) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(r.stdout) {
		var a map[string]any
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, name := range []string{"source", "partition", "watermark", "unknown", "near", "late", "rejected", "in_flight", "history"} {
			delete(a, name)
		}
		delete(a["conversion"].(map[string]any), "at")
		for _, name := range []string{"taken_back", "touches"} {
			for _, e := range a[name].([]any) {
				delete(e.(map[string]any), "at")
			}
		}
		for _, row := range a["rows"].([]any) {
			for _, name := range []string{"_op", "_version", "_deleted", "rule_hash", "sign", "reason", "delta_id"} {
				delete(row.(map[string]any), name)
			}
		}
		list = append(list, a)
	}
	return list
}

// What an instance says of its state is what the topics say, and what it cannot know it says to be unknown.
func TestWhyOverHTTPAgreesWithTheTopics(t *testing.T) {
	t.Parallel()
	for name, story := range httpStories {
		for _, store := range []string{"memory", "disk"} {
			t.Run(name+" "+store, func(t *testing.T) {
				t.Parallel()
				rules, addr, at := story.rules(t), freeAddr(t), freeAddr(t)
				args := []string{"dev", rules, "--addr", addr, "--http", at, "--partitions", "3"}
				if store == "disk" {
					args = append(args, "--data-dir", t.TempDir())
				}
				app := startCommand(t, args...)
				app.waitFor("ready", 1)
				told(t, addr, story.partitionBy, story.events)
				for _, id := range story.conversions {
					var topics, state []map[string]any
					var last result
					eventually(t, "the state of "+id+" is what the topics say", func() bool {
						r := command(t, "", "why", rules, id, "--brokers", addr, "--format", "json")
						last = command(t, "", "why", rules, id, "--http", "http://"+at, "--format", "json")
						if r.code != exitOK || last.code != exitOK {
							return false
						}
						topics, state = withoutSource(t, r), withoutSource(t, last)
						return reflect.DeepEqual(topics, state) || t.Failed()
					})
					for line := range strings.Lines(last.stdout) {
						var a why.Answer
						if err := json.Unmarshal([]byte(line), &a); err != nil {
							t.Fatal(err)
						}
						if a.Source != why.FromState || a.Partition == nil || a.Near != nil || a.Late != nil || a.Rejected != nil || a.InFlight != nil || a.History != nil {
							t.Errorf("of %s it says more than a state knows: %s", id, line)
						}
						for _, part := range []string{"at", "near", "late", "rejected", "in_flight", "history"} {
							if a.Unknown[part] == "" {
								t.Errorf("of %s it does not say that %s is unknown: %s", id, part, line)
							}
						}
						if a.Unknown["verdicts"] != "" {
							t.Errorf("of %s the definition says something else than the state: %s", id, line)
						}
						// With its key it is the same.
						keyed := []string{"why", rules, id, "--http", "http://" + at, "--format", "json", "--rule", a.Rule}
						for field, value := range a.Key {
							keyed = append(keyed, "--key", field+"="+value)
						}
						r := command(t, "", keyed...)
						r.want(t, exitOK)
						if got := withoutSource(t, r); len(got) != 1 || !reflect.DeepEqual(got, withoutSource(t, result{stdout: line})) {
							t.Errorf("looked up by its key %s is\n%s\nsearched for it is\n%s", id, r.stdout, line)
						}
					}
				}
			})
		}
	}
}

// The stories have what they are for.
func TestWhyOverHTTPTellsWhatBecameOfConversions(t *testing.T) {
	t.Parallel()
	story := httpStories["refunds"]
	rules, addr, at := story.rules(t), freeAddr(t), freeAddr(t)
	startCommand(t, "dev", rules, "--addr", addr, "--http", at).waitFor("ready", 1)
	told(t, addr, story.partitionBy, story.events)
	ask := func(id string, args ...string) result {
		return command(t, "", append([]string{"why", rules, id, "--http", "http://" + at}, args...)...)
	}
	for id, parts := range map[string][]string{
		"o1": {"source: the state of partition", `"revenue":70`, "taken back by:\n  refund r1", "takes back 30", "credited", "click c2", "invalidated", "by fraud f1", "not known here:\n  at  ", "shop.credit.deltas"},
		"o2": {`"class":"none"`, "touches of the key: none"},
		"o3": {`"credit":0`, "takes back all that is left"},
		"o4": {"rows: none", "takes it out"},
	} {
		var r result
		eventually(t, id+" is told", func() bool {
			r = ask(id)
			for rest, i := r.stdout, 0; i < len(parts); i++ {
				_, after, ok := strings.Cut(rest, parts[i])
				if !ok {
					return false
				}
				rest = after
			}
			return true
		})
	}
	if r := ask("o1", "--limit", "1"); !strings.Contains(r.stdout, "and 1 more, see --limit") {
		t.Errorf("with a limit it says\n%s", r.stdout)
	}
	code, body := get(t, at, "/v1/why?conversion=o1&customer=k1&limit=1", "")
	var found why.Found
	if err := json.Unmarshal([]byte(body), &found); code != 200 || err != nil || len(found.Answers) != 1 || len(found.Answers[0].Touches) != 1 || found.Answers[0].LeftOut != 1 || found.Answers[0].Touches[0].Verdict != "credited" {
		t.Errorf("with a limit it answers %d %s", code, body)
	}
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"":                                        {400, "conversion is missing"},
		"?conversion=":                            {400, "conversion is missing"},
		"?conversion=o1&rule=other":               {400, `there is no rule \"other\"`},
		"?conversion=o1&limit=0":                  {400, "at least 1"},
		"?conversion=o1&limit=x":                  {400, "at least 1"},
		"?conversion=o1&conversion=o2":            {400, "given 2 times"},
		"?conversion=o1&colour=red":               {400, `there is no parameter \"colour\"`},
		"?conversion=o1&customer=a&key.customer=": {400, "given twice"},
		"?conversion=o9":                          {404, "not in the state of this instance: it serves partitions 0-3 of 4 of key customer"},
		"?conversion=o9&customer=k1":              {404, "not in the state of this instance"},
		"?conversion=o1&customer=k2":              {404, "lookback why` on topics finds"},
	} {
		code, body := get(t, at, "/v1/why"+query, "")
		if code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s, want %d %s", query, code, body, want.code, want.text)
		}
	}
	ask("o9").want(t, exitFailed, "http://"+at+": ", "not in the state of this instance", "`lookback why` on topics")
	ask("o1", "--key", "user=u1").want(t, exitUsage, "--key: give all fields of one key: customer")
	ask("o1", "--brokers", addr).want(t, exitUsage, "leave --brokers out")
	ask("o1", "--table", "a=b").want(t, exitUsage, "--table: it is for files")
	ask("o1", "--rule", "other").want(t, exitUsage, "no such rule")
	ask("").want(t, exitUsage, "id is empty")
	command(t, "", "why", rules, "o1", os.DevNull, "--http", "http://"+at).want(t, exitUsage, "files are not read")
	for _, bad := range []string{at, "ftp://" + at, "http://", "http://" + at + "?a=b", "http://me:secret@" + at} {
		command(t, "", "why", rules, "o1", "--http", bad).want(t, exitUsage, "--http")
	}
	gone := freeAddr(t)
	command(t, "", "why", rules, "o1", "--http", "http://"+gone).want(t, exitFailed, "http://"+gone+": no answer: ", "see whether the instance runs")
	command(t, "", "why", rules, "o1", "--token", "x", "--brokers", addr).want(t, exitUsage, "--token: it is for --http")
	command(t, "", "why", rules, "o1", "--key", "a=b", "--brokers", addr).want(t, exitUsage, "--key: it is for --http")
	r := command(t, "", "why", rules, "o1", "--http", "http://"+gone, "--http", "http://"+at)
	r.want(t, exitOK, "there may be more than this: http://"+gone+": no answer")
	if !strings.Contains(r.stdout, "order o1") {
		t.Errorf("of two instances, one of which is gone, it says\n%s", r.stdout)
	}
}

// Of two instances each says what it has, and together they have all.
func TestWhyAsksEveryInstance(t *testing.T) {
	text := strings.Replace(shopRules, "app: shop\n", "app: shop\nhttp: {token: "+strings.Repeat("t", 20)+"}\n", 1)
	rules := file(t, "rules.yaml", text)
	ats := []string{freeAddr(t), freeAddr(t)}
	addr := startBroker(t, broker.Config{}).Addr()
	createTopics(t, addr, sources...)
	for _, at := range ats {
		startCommand(t, "run", rules, "--brokers", addr, "--http", at)
	}
	token := "Bearer " + strings.Repeat("t", 20)
	for _, at := range ats {
		eventually(t, "both have partitions", func() bool {
			code, body := get(t, at, "/v1/why?conversion=none", token)
			var none why.NotFound
			return code == 404 && json.Unmarshal([]byte(body), &none) == nil && len(none.Places) == 1 && len(none.Places[0].Serves) > 0 && len(none.Places[0].Serves) < 3
		})
	}
	var events, ids []string
	for n := range 12 {
		id := fmt.Sprint("s", n)
		ids = append(ids, id)
		events = append(events, fmt.Sprintf(`shop.sales {"sale_id": %q, "at": "2026-01-01T11:59:30Z", "user": "user%d", "product": "ball", "price": 5}`, id, n))
	}
	told(t, addr, "user", events)
	for n, id := range ids {
		eventually(t, id+" is found", func() bool {
			return command(t, "", "why", rules, id, "--http", "http://"+ats[0], "--http", "http://"+ats[1]).code == exitOK
		})
		codes := map[int]bool{}
		for _, at := range ats {
			code, body := get(t, at, "/v1/why?"+url.Values{"conversion": {id}, "user": {fmt.Sprint("user", n)}}.Encode(), token)
			codes[code] = true
			var none why.NotFound
			if code == 421 && (json.Unmarshal([]byte(body), &none) != nil || len(none.Places) != 1 || none.Places[0].Wanted == nil || len(none.Places[0].Serves) == 0 || !strings.Contains(none.Error, "ask the instance that serves it")) {
				t.Errorf("who does not serve it answers %s", body)
			}
		}
		if !codes[200] || !codes[421] {
			t.Errorf("of %s they answer %v", id, codes)
		}
	}
	if code, _ := get(t, ats[0], "/v1/why?conversion=s1", ""); code != 401 {
		t.Errorf("without a token it answers %d", code)
	}
	t.Setenv(httpTokenEnv, "another")
	command(t, "", "why", rules, "s1", "--http", "http://"+ats[0]).want(t, exitFailed, "it wants another token")
	r := command(t, "", "why", rules, "s1", "--http", "http://"+ats[0], "--http", "http://"+ats[1], "--token", strings.Repeat("t", 20))
	r.want(t, exitOK)
}

// Under the load of a generated stream conversions are asked for all the time, searched for and by their keys, and every credit is right.
func TestWhyOverHTTPUnderLoad(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	const rules, events = "../../rules.yaml", 10_000
	addr, at := freeAddr(t), freeAddr(t)
	startCommand(t, "dev", rules, "--addr", addr, "--http", at, "--data-dir", t.TempDir()).waitFor("ready", 1)
	stream := []string{"gen", "--events", fmt.Sprint(events), "--users", "300", "--conversions", "0.1", "--spread", "1h"} // so short that none leaves the state
	r := command(t, "", append(stream, "--stamps=false")...)
	r.want(t, exitOK)
	var ids []string
	for line := range strings.Lines(r.stdout) {
		var record struct {
			Conversion struct {
				ID string `json:"conversion_id"`
			} `json:"conversion"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Conversion.ID != "" {
			ids = append(ids, record.Conversion.ID)
		}
	}
	if len(ids) < 500 {
		t.Fatalf("the stream has %d conversions", len(ids))
	}
	fed := startCommand(t, append(stream, "--brokers", addr)...)
	found, asked := 0, 0
	verified := func() bool {
		var v struct {
			Rules []struct {
				Conversions int64 `json:"conversions"`
				Equal       int64 `json:"equal"`
				InFlight    int64 `json:"in_flight"`
			} `json:"rules"`
		}
		r := command(t, "", "verify", rules, "--brokers", addr, "--format", "json")
		return json.Unmarshal([]byte(r.stdout), &v) == nil && len(v.Rules) == 1 && v.Rules[0].InFlight == 0 && v.Rules[0].Conversions > 500 && v.Rules[0].Equal == v.Rules[0].Conversions
	}
	eventually(t, "all is committed, and right", func() bool {
		for range 20 {
			id := ids[asked*7919%len(ids)]
			asked++
			code, body := get(t, at, "/v1/why?conversion="+url.QueryEscape(id), "")
			var answer why.Found
			switch {
			case code == 200 && json.Unmarshal([]byte(body), &answer) == nil && len(answer.Answers) == 1 && answer.Answers[0].Conversion.ID == id && answer.Answers[0].Unknown["verdicts"] == "":
				found++
			case code != 404:
				t.Fatalf("%s: %d %s", id, code, body)
			}
		}
		return found > 50 && len(fed.code) > 0 && verified()
	})
	fed.end().want(t, exitOK)
}
