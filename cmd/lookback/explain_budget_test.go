package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
)

func budgetOf(t *testing.T, args ...string) *budgetAnswer {
	t.Helper()
	r := command(t, "", append([]string{"explain", "--budget", "--format", "json"}, args...)...)
	r.want(t, exitOK)
	var a budgetAnswer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// near fails unless got is within a share of want.
func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*math.Abs(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

var shippedRates = []string{"--rate", "impression=2000/s,click=200/m", "--rate", "conversion=86400/d", "--keys", "5e6"}

// A budget from flags says what it says, adds up, and follows its flags.
func TestExplainBudget(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	r := command(t, "", append([]string{"explain", "../../rules.yaml", "--budget", "--row", "impression=64", "--key-size", "24"}, shippedRates...)...)
	r.want(t, exitOK)
	for _, text := range []string{"key user_id-advertiser_id, 5.0", "stream", "kept for", "37d1h", "7d1h", "store: memory", "store: disk", "changelog", "repartition", "restore", "topics.partitions",
		"state.store", "state.max_memory", "assumed", "35 MB", "530,000"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("lacks %q:\n%s", text, r.stdout)
		}
	}
	a := budgetOf(t, append([]string{"../../rules.yaml", "--row", "impression=64", "--key-size", "24"}, shippedRates...)...)
	k := &a.Keys[0]
	near(t, "rate of clicks", k.Streams[1].Rate, 200.0/60, 1e-9)
	near(t, "rate of conversions", k.Streams[2].Rate, 1, 1e-9)
	if s := &k.Streams[0]; s.Row != 64 || s.Kept != (37*24+1)*3600 || s.Stays < s.Kept || s.Stays > 1.14*s.Kept || math.Abs(s.Events-s.Stays*s.Rate) > 1 {
		t.Errorf("impressions: %+v", s)
	}
	events, memory := 0.0, 0.0
	for _, s := range k.Streams {
		events += s.Events
		memory += s.Events * s.Memory
	}
	near(t, "events", events, k.Events, 1e-9)
	near(t, "memory", memory, k.Memory, 1e-6)
	near(t, "restore", k.Restore.ToMemory, k.Changelog.Records/530_000, 1e-9)
	if k.Changelog.Raw <= k.Changelog.Bytes || k.Repartition.PerDay <= 0 || k.Keys > 5.1e6 || k.Keys < 4.5e6 {
		t.Errorf("key %+v", k)
	}
	if a.Suggestion.Store != "disk" || a.Suggestion.MaxMemory != 8e9 || a.Suggestion.Partitions < 8 || len(a.Suggestion.Reasons) < 3 || len(a.Assumed) < 4 {
		t.Errorf("suggested %+v, assumed %q", a.Suggestion, a.Assumed)
	}
	roomy := budgetOf(t, append([]string{"../../rules.yaml", "--instances", "100", "--memory", "64GB", "--restore-rate", "memory=1e9"}, shippedRates...)...)
	if s := roomy.Suggestion; s.Store != "memory" || s.MaxMemory != 0 || s.Partitions < 200 {
		t.Errorf("with room: suggested %+v", s)
	}
	near(t, "restore", roomy.Keys[0].Restore.ToMemory, roomy.Keys[0].Changelog.Records/1e9, 1e-9)
}

// A key that is read directly has no repartition topic; keys have numbers of their own.
func TestExplainBudgetOfSeveralKeys(t *testing.T) {
	t.Parallel()
	direct := strings.Replace(tabledRules[:strings.Index(tabledRules, "  - name: any")], "tables:\n  catalog: {topic: shop.catalog, key: product, fields: {product: string, title: string}}\n", "", 1)
	direct = edited(t, direct, "    select: {title: 'catalog[ad.product].title'}\n", "")
	a := budgetOf(t, file(t, "rules.yaml", direct), "--rate", "ad=10", "--rate", "sale=1", "--keys", "1000")
	if k := &a.Keys[0]; !k.Direct || k.Repartition.PerDay != 0 || k.Streams[0].Repartition != 0 {
		t.Errorf("key %+v", k)
	}
	both := file(t, "rules.yaml", strings.ReplaceAll(tabledRules, "    partitioned_by: user\n", ""))
	a = budgetOf(t, both, "--rate", "ad=10", "--rate", "sale=1", "--keys", "user=1000", "--keys", "product=20")
	if len(a.Keys) != 2 || math.Abs(a.Keys[0].Keys-1000) > 50 || math.Abs(a.Keys[1].Keys-20) > 1 {
		t.Errorf("keys %+v", a.Keys)
	}
	near(t, "memory", a.Memory, a.Keys[0].Memory+a.Keys[1].Memory, 1e-9)
}

// A sample of a file gives rates, sizes and keys, and flags go before it.
func TestExplainBudgetFromASample(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	events := filepath.Join(t.TempDir(), "events.jsonl")
	command(t, "", "gen", "--events", "50000", "--spread", "500000s", "--users", "5000", "--out", events).want(t, exitOK)
	a := budgetOf(t, "../../rules.yaml", "--sample", events)
	s := a.Keys[0].Streams
	near(t, "rate of impressions", s[0].Rate, 0.094, 0.02)
	near(t, "rate of clicks", s[1].Rate, 0.005, 0.05)
	if !strings.Contains(strings.Join(a.Assumed, "\n"), "of the events that are kept, so how many keys there are is an extrapolation") {
		t.Errorf("it does not say that six days of 37 are little: assumed %q", a.Assumed)
	}
	if s[0].Row < 50 || s[0].Row > 80 || a.Keys[0].KeyBytes < 20 || a.Keys[0].KeyBytes > 30 {
		t.Errorf("a row takes %v bytes, a key %v", s[0].Row, a.Keys[0].KeyBytes)
	}
	b := budgetOf(t, "../../rules.yaml", "--sample", events, "--rate", "impression=100/s", "--row", "click=200")
	if s := b.Keys[0].Streams; s[0].Rate != 100 || s[1].Row != 200 || s[0].Row != a.Keys[0].Streams[0].Row {
		t.Errorf("flags and sample: %+v", s)
	}
	if again := budgetOf(t, "../../rules.yaml", "--sample", events); again.Memory != a.Memory {
		t.Errorf("the same sample makes %v bytes, and %v", a.Memory, again.Memory)
	}
}

// A sample of topics needs no app that has run, and takes rates from the time that the topics cover.
func TestExplainBudgetFromTopics(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	rules := file(t, "rules.yaml", shopRules)
	command(t, "", "explain", rules, "--budget", "--sample-topics", "--brokers", b.Addr()).want(t, exitUsage, `stream "ad" has no events in the sample`, "--rate ad=100/s")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const n = 1001
	var messages []*sarama.ProducerMessage
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Second)
		for topic, value := range map[string]string{
			"shop.ads":   fmt.Sprintf(`{"ad_id":"a%d","at":%q,"user":"u%d","product":"p"}`, i, at.Format(time.RFC3339), i%100),
			"shop.sales": fmt.Sprintf(`{"sale_id":"s%d","at":%q,"user":"u%d","product":"p","price":1.5}`, i, at.Format(time.RFC3339), i%100),
		} {
			if topic == "shop.sales" && i%10 != 0 {
				continue
			}
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Timestamp: at, Value: sarama.StringEncoder(value)})
		}
	}
	send(t, b.Addr(), messages...)
	a := budgetOf(t, rules, "--sample-topics", "--brokers", b.Addr())
	for _, k := range a.Keys {
		near(t, "rate of ads", k.Streams[0].Rate, 1, 0.01)
		near(t, "rate of sales", k.Streams[1].Rate, 0.1, 0.03)
	}
	if len(a.Keys) == 0 || a.Memory <= 0 {
		t.Errorf("budget %+v", a)
	}
	part := budgetOf(t, rules, "--sample-topics", "--sample-records", "20", "--brokers", b.Addr())
	near(t, "rate of ads by a few records", part.Keys[0].Streams[0].Rate, 1, 0.01)
}

func TestExplainBudgetRefuses(t *testing.T) {
	t.Parallel()
	rules := file(t, "rules.yaml", shopRules)
	none := file(t, "none.jsonl", "{}\nnot json\n")
	rates := []string{"--rate", "ad=1", "--rate", "sale=1"}
	for name, c := range map[string]struct {
		args  []string
		code  int
		texts []string
	}{
		"unknown stream":      {[]string{"--budget", "--rate", "clicks=1"}, exitUsage, []string{`no stream "clicks" in the rules; there are: ad, sale`}},
		"no number":           {[]string{"--budget", "--rate", "ad=many"}, exitUsage, []string{`--rate ad=many: "many" is not a number above 0`}},
		"no rate at all":      {[]string{"--budget", "--rate", "ad=0"}, exitUsage, []string{"is not a number above 0"}},
		"a unit":              {[]string{"--budget", "--rate", "ad=1/w"}, exitUsage, []string{"a rate is per /s, /m, /h or /d"}},
		"no value":            {[]string{"--budget", "--rate", "ad"}, exitUsage, []string{"--rate ad: write it as stream=number"}},
		"twice":               {[]string{"--budget", "--rate", "ad=1", "--rate", "ad=2"}, exitUsage, []string{`stream "ad" is given twice`}},
		"not all rates":       {[]string{"--budget", "--rate", "ad=1"}, exitUsage, []string{`stream "sale" has no rate: say it, such as --rate sale=100/s, or sample it`}},
		"no keys":             {append([]string{"--budget"}, rates...), exitUsage, []string{"key user: say how many distinct keys there are, such as --keys 5e7"}},
		"keys of nobody":      {append([]string{"--budget", "--keys", "users=1"}, rates...), exitUsage, []string{"no such key; there are: user"}},
		"bad keys":            {append([]string{"--budget", "--keys", "-1"}, rates...), exitUsage, []string{"is not a number above 0"}},
		"tiny rows":           {append([]string{"--budget", "--keys", "1", "--row", "ad=3"}, rates...), exitUsage, []string{"a row takes from 11 to 1048576 bytes"}},
		"bad memory":          {[]string{"--budget", "--memory", "much"}, exitUsage, []string{"--memory much: use a size such as 8GB"}},
		"bad instances":       {[]string{"--budget", "--instances", "0"}, exitUsage, []string{"--instances 0"}},
		"bad restore rate":    {[]string{"--budget", "--restore-rate", "tape=1"}, exitUsage, []string{"use memory=N or disk=N"}},
		"a file without any":  {[]string{"--budget", "--sample", none}, exitFailed, []string{"no events of the rules' streams in 2 lines"}},
		"no file":             {[]string{"--budget", "--sample", "missing.jsonl"}, exitFailed, []string{"missing.jsonl"}},
		"two samples":         {[]string{"--budget", "--sample", none, "--sample-topics"}, exitUsage, []string{"use one of them"}},
		"two questions":       {[]string{"--budget", "--acls"}, exitUsage, []string{"--acls, --budget and --lateness: use one of them"}},
		"a graph":             {[]string{"--budget", "--format", "dot"}, exitUsage, []string{"--format dot: with --acls, --budget and --lateness use text or json"}},
		"without budget":      {[]string{"--rate", "ad=1"}, exitUsage, []string{"--rate: it is for --budget"}},
		"without topics":      {[]string{"--budget", "--brokers", "x:1"}, exitUsage, []string{"--brokers: it is for --budget --sample-topics"}},
		"files of no use":     {[]string{"--budget", none}, exitUsage, []string{"files of events are for --lateness, or --budget --sample FILE"}},
		"more of no use":      {[]string{"--more", "1h"}, exitUsage, []string{"--more: it is for --lateness"}},
		"lateness of nothing": {[]string{"--lateness"}, exitUsage, []string{"--lateness: give the rules and files of events"}},
		"lateness of a pipe":  {[]string{"--lateness", "-"}, exitUsage, []string{"standard input cannot be read twice: give files"}},
		"no events":           {[]string{"--lateness", none}, exitFailed, []string{"no events of the rules' streams in 2 lines"}},
		"less lateness":       {[]string{"--lateness", none, "--more", "-1h"}, exitUsage, []string{"use a duration above 0 and up to a year"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, "", append([]string{"explain", rules}, c.args...)...)
			r.want(t, c.code, c.texts...)
			if r.stdout != "" {
				t.Errorf("it writes %q", r.stdout)
			}
		})
	}
}
