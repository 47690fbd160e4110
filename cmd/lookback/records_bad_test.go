package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// T is the time of the stories that tests tell, as their records write it.
const T = "2026-01-01T00:00:00Z"

func ad(id, user string) string {
	return fmt.Sprintf(`{"ad":{"ad_id":%q,"at":%q,"user":%q,"product":"p","tags":"a,b,c","weight":4},"_ts":%q}`, id, T, user, T)
}

func sale(id, user string) string {
	return fmt.Sprintf(`{"sale":{"sale_id":%q,"at":"2026-01-01T00:00:01Z","user":%q,"product":"p","nth":0,"price":2.50}}`, id, user)
}

// adWith is an ad with some members more, or other.
func adWith(members string) string { return `{"ad":{` + members + `}}` }

// badLine is a line that cannot be used, and what comes of it.
type badLine struct {
	line    string
	reason  string
	message string // part of it
	value   string // of the rejected record, as JSON; empty: the record's own
	late    bool
}

const (
	okID   = `"ad_id":"a"`
	okTime = `"at":"` + T + `"`
	okUser = `"user":"u"`
)

func badLines() map[string]badLine {
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	quoted := func(s string) string {
		b, _ := json.Marshal(s)
		return string(b)
	}
	return map[string]badLine{
		"tombstone":              {`{"ad":null}`, "tombstone", "the record has no value", "null", false},
		"no object":              {`{"ad":"x"}`, "malformed_json", "offset 0: expected an object", `"x"`, false},
		"a list":                 {`{"ad":[{}]}`, "malformed_json", "offset 0: expected an object", `[{}]`, false},
		"no fields":              {`{"ad":{}}`, "missing_id", `field "ad_id", the id, is missing`, "", false},
		"truncated in a string":  {`{"ad":{"ad_id":"a`, "malformed_line", "", quoted(`{"ad":{"ad_id":"a`), false},
		"truncated in a record":  {`{"ad":{"ad_id":"a"`, "malformed_line", "", quoted(`{"ad":{"ad_id":"a"`), false},
		"comma too many":         {adWith(okID + `,`), "malformed_json", "offset 13: expected a string", quoted(`{"ad_id":"a",}`), false},
		"a field twice":          {adWith(okID + `,"ad_id":"b",` + okTime), "malformed_json", `field "ad_id" is given twice`, "", false},
		"a field twice, escaped": {adWith(okID + `,"\u0061d_id":"b",` + okTime), "malformed_json", `field "ad_id" is given twice`, "", false},
		"10 MB":                  {adWith(okID + "," + okTime + `,"x":"` + strings.Repeat("y", 10<<20) + `"`), "too_large", "bytes, more than the limit of 458752", "", false},
		"nested deep":            {adWith(okID + "," + okTime + `,"x":` + deep), "malformed_json", "nested too deep", quoted(`{` + okID + "," + okTime + `,"x":` + deep + `}`), false},
		"beyond int64":           {adWith(okID + "," + okTime + `,"weight":9223372036854775808`), "out_of_range", `field "weight": number 9223372036854775808 does not fit an int of 64 bits`, "", false},
		"below int64":            {adWith(okID + "," + okTime + `,"weight":-9223372036854775809`), "out_of_range", `field "weight": `, "", false},
		"huge exponent":          {adWith(okID + "," + okTime + `,"weight":1e999999`), "out_of_range", `field "weight": `, "", false},
		"decimal too precise":    {`{"sale":{"sale_id":"x","at":"` + T + `","user":"u","price":0.12345678901234567890123}}`, "out_of_range", `field "price": `, "", false},
		"fraction for an int":    {adWith(okID + "," + okTime + `,"weight":1.5`), "wrong_type", `field "weight": expected int, found number 1.5`, "", false},
		"text for an int":        {adWith(okID + "," + okTime + `,"weight":"1"`), "wrong_type", `field "weight": expected int, found string "1"`, "", false},
		"object for a string":    {adWith(okID + "," + okTime + `,"user":{"id":1}`), "wrong_type", `field "user": expected string, found an object`, "", false},
		"number for an id":       {adWith(`"ad_id":7,` + okTime), "wrong_type", `field "ad_id": expected string, found number 7`, "", false},
		"no time at all":         {adWith(okID + `,"at":"yesterday"`), "wrong_type", `field "at": expected time, found string "yesterday"`, "", false},
		"time out of range":      {adWith(okID + `,"at":1e30`), "out_of_range", `field "at": `, "", false},
		"missing id":             {adWith(okTime + "," + okUser), "missing_id", `field "ad_id", the id, is missing`, "", false},
		"empty id":               {adWith(`"ad_id":"",` + okTime), "missing_id", `field "ad_id", the id, is missing`, "", false},
		"missing time":           {adWith(okID + "," + okUser), "missing_time", `field "at", the event time, is missing`, "", false},
		"null time":              {adWith(okID + `,"at":null`), "missing_time", `field "at", the event time, is missing`, "", false},
		"over age":               {`{"ad":{` + okID + "," + okTime + "," + okUser + `},"_ts":"2026-01-03T00:00:01Z"}`, "over_age", "event time 2026-01-01T00:00:00Z is 48h0m1s before the record's timestamp, max_age is 48h0m0s", "", false},
		"future":                 {`{"ad":{` + okID + "," + okTime + "," + okUser + `},"_ts":"2025-12-31T22:59:59Z"}`, "future_time", "event time 2026-01-01T00:00:00Z is 1h0m1s after the record's timestamp, max_skew is 1h0m0s", "", false},
		"filtered":               {adWith(okID + "," + okTime + `,"tags":"internal"`), "filtered", `where: tags != "internal" and 100 % (weight + 1) >= 0`, "", false},
		"division by zero":       {adWith(okID + "," + okTime + `,"weight":-1`), "expression_error", `where: expression "tags != \"internal\" and 100 % (weight + 1) >= 0": runtime error: integer divide by zero`, "", false},
		"overflow":               {adWith(okID + "," + okTime + `,"weight":9223372036854775807`), "expression_error", "where: expression ", "", false},
		"missing key":            {adWith(okID + "," + okTime), "missing_key", `key field "user" is absent`, "", false},
		"null key":               {adWith(okID + "," + okTime + `,"user":null`), "missing_key", `key field "user" is absent`, "", false},
		"long key":               {adWith(okID + "," + okTime + `,"user":"` + strings.Repeat("u", 70_000) + `"`), "key_too_long", "bytes, the limit is ", "", false},
		"lone surrogate":         {adWith(`"ad_id":"\ud800",` + okTime), "malformed_json", "lone surrogate", "", false},
		"not UTF-8":              {adWith("\"ad_id\":\"\xff\"," + okTime), "malformed_json", "not UTF-8", quoted("{\"ad_id\":\"�\"," + okTime + "}"), false},
		"late":                   {adWith(okID + `,"at":"2025-12-31T23:00:00Z",` + okUser), "late", "event time 2025-12-31T23:00:00Z is 1h0m0s behind the watermark 2026-01-01T00:00:00Z, lateness is 1m0s", "", true},

		"unknown stream":   {`{"advert":{"ad_id":"a"}}`, "unknown_stream", `no stream "advert" in the rules`, `{"advert":{"ad_id":"a"}}`, false},
		"no JSON":          {`hello`, "malformed_line", `a line must be an object like {"stream": {...}}`, `"hello"`, false},
		"bytes":            {"\xff\xfe\x00", "malformed_line", `a line must be an object`, `"��\u0000"`, false},
		"a list as line":   {`[1, 2]`, "malformed_line", `a line must be an object`, `[1,2]`, false},
		"empty line":       {`{}`, "malformed_line", "offset 1: expected a string", `{}`, false},
		"timestamp alone":  {`{"_ts":1}`, "malformed_line", `expected a record beside "_ts"`, `{"_ts":1}`, false},
		"bad timestamp":    {`{"ad":{},"_ts":"noon"}`, "malformed_line", `field "_ts": expected time, found "noon"`, `{"ad":{},"_ts":"noon"}`, false},
		"two lines in one": {`{"ad":{"ad_id":"a"}} {"ad":{"ad_id":"b"}}`, "malformed_json", "more text after the object", quoted(`{"ad_id":"a"}} {"ad":{"ad_id":"b"}`), false},
	}
}

// A record that cannot be used comes out once, with its bytes and the reason, and those around it do not notice.
func TestEveryBadRecordIsRejectedOnceAndStopsNothing(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	for name, bad := range badLines() {
		t.Run(name, func(t *testing.T) {
			lines := []string{ad("a1", "u1"), sale("s1", "u1"), bad.line, ad("a2", "u2"), sale("s2", "u2")}
			events := file(t, "events.jsonl", strings.Join(lines, "\n"))
			r := command(t, "", "replay", rules, events)
			r.want(t, exitOK)
			out := r.records(t)

			topic, other := "shop.rejected", "shop.late"
			if bad.late {
				topic, other = other, topic
			}
			refused := of(out, topic)
			if len(refused) != 1 || len(of(out, other)) > 0 {
				t.Fatalf("%d records in %s and %d in %s, want one and none", len(refused), topic, len(of(out, other)), other)
			}
			got := refused[0]
			if got.reason() != bad.reason || !strings.Contains(got.message(), bad.message) {
				t.Errorf("refused as %s: %s\nwant %s: %s", got.reason(), got.message(), bad.reason, bad.message)
			}
			want := bad.value
			if want == "" {
				_, record, _, err := codecs.SplitLine([]byte(bad.line))
				if err != nil {
					t.Fatal(err)
				}
				want = string(record)
			}
			if string(got.Value) != want {
				t.Errorf("the refused record has the value\n%s\nwant\n%s", shorten(string(got.Value)), shorten(want))
			}
			if h := got.Headers; h[codecs.HeaderTopic] != events || h[codecs.HeaderOffset] != "3" {
				t.Errorf("refused at %s:%s, want %s:3", h[codecs.HeaderTopic], h[codecs.HeaderOffset], events)
			}
			wantSold(t, out, "s1", "s2")
		})
	}
}

// wantSold checks that just these sales, of whom one is an ad's, are in the deltas.
func wantSold(t *testing.T, out []record, sales ...string) {
	t.Helper()
	deltas := of(out, "shop.credit.deltas")
	if len(deltas) != len(sales) {
		t.Errorf("%d deltas, want %d", len(deltas), len(sales))
		return
	}
	for i, d := range deltas {
		if id, class := d.field(t, "conversion_id"), d.field(t, "class"); id != `"`+sales[i]+`"` || class != `"seen"` {
			t.Errorf("delta %d: sale %s of class %s, want %s of class seen", i, id, class, sales[i])
		}
	}
}

// All at once: nothing is lost, nothing comes twice, and the summary counts what the topics hold.
func TestReplayAccountsForEveryLine(t *testing.T) {
	var lines, sales []string
	reasons := map[string]int{}
	for name, bad := range badLines() {
		id := strings.ReplaceAll(name, " ", "-")
		lines = append(lines, ad("a-"+id, "u-"+id), bad.line, sale("s-"+id, "u-"+id), "")
		sales = append(sales, "s-"+id)
		reasons[bad.reason]++
	}
	// The late line must not be the first to be seen: until both streams have come there is no watermark.
	lines = append([]string{ad("a0", "u0"), sale("s0", "u0")}, lines...)
	sales = append([]string{"s0"}, sales...)
	r := command(t, strings.Join(lines, "\r\n"), "replay", file(t, "rules.yaml", shopRules), "-")
	r.want(t, exitOK,
		fmt.Sprintf("events      %d in ", 3*len(sales)-1),
		fmt.Sprintf("accepted    %d\n", 2*len(sales)),
		"duplicates  0\n",
		"late        1\n",
		fmt.Sprintf("rejected    %d\n", len(sales)-2))
	out := r.records(t)
	for _, rec := range append(of(out, "shop.rejected"), of(out, "shop.late")...) {
		reasons[rec.reason()]--
	}
	for reason, n := range reasons {
		if n != 0 {
			t.Errorf("%d records are missing (or too many) that should be refused as %s", n, reason)
		}
		if reason != "late" && !strings.Contains(r.stderr, fmt.Sprintf("  %-18s ", reason)) {
			t.Errorf("the summary does not mention %s:\n%s", reason, r.stderr)
		}
	}
	wantSold(t, out, sales...)
}

func TestBlankLinesAreNoRecords(t *testing.T) {
	text := "\n   \n\t\r\n" + strings.Repeat(" ", 1000) + "\n" + strings.Repeat(" ", 1000) + ad("a1", "u1") + "\n\n" + sale("s1", "u1") + "\n\n"
	r := command(t, text, "replay", file(t, "rules.yaml", shopRules), "-")
	r.want(t, exitOK, "events      2 in ", "accepted    2\n", "rejected    0\n")
	wantSold(t, r.records(t), "s1")
}

// Lines longer than any buffer come through whole.
func TestLongLinesAreRead(t *testing.T) {
	padded := strings.Replace(ad("a1", "u1"), `"tags"`, `"x":"`+strings.Repeat("y", 440<<10)+`","tags"`, 1)
	text := padded + "\n" + strings.Repeat(" ", 3<<20) + padded + "\n" + sale("s1", "u1")
	r := command(t, text, "replay", file(t, "rules.yaml", shopRules), "-")
	r.want(t, exitOK, "accepted    2\n", "duplicates  1\n", "rejected    0\n")
	wantSold(t, r.records(t), "s1")
}

// Whatever the bytes, replay says something of every line that is not blank, once.
func TestReplayAccountsForDamagedLines(t *testing.T) {
	var seeds []string
	for _, bad := range badLines() {
		if len(bad.line) < 1000 {
			seeds = append(seeds, bad.line, ad("a1", "u1"), sale("s1", "u1"))
		}
	}
	slices.Sort(seeds)
	rng := rand.New(rand.NewPCG(1, 1))
	var text bytes.Buffer
	lines := 0
	for range 20_000 {
		line := []byte(seeds[rng.IntN(len(seeds))])
		for range rng.IntN(4) {
			switch at := rng.IntN(len(line)); rng.IntN(4) {
			case 0:
				line[at] = byte(rng.IntN(256))
			case 1:
				line = line[:at+1]
			case 2:
				line = append(line[:at+1], line[rng.IntN(at+1):]...)
			default:
				line[at] = `{}[]":,0-e\`[rng.IntN(11)]
			}
		}
		line = bytes.ReplaceAll(line, []byte("\n"), []byte(" "))
		if len(bytes.TrimSpace(line)) > 0 {
			lines++
		}
		text.Write(append(line, '\n'))
	}
	r := command(t, text.String(), "replay", file(t, "rules.yaml", shopRules), "-")
	r.want(t, exitOK, fmt.Sprintf("events      %d in ", lines))
	wantAccounted(t, r, "shop", lines)
}

// wantAccounted checks that every event is accepted, a duplicate, late or rejected, and that the topics hold as many late
// and rejected records as the summary counts.
func wantAccounted(t *testing.T, r result, app string, events int) {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.Lines(r.stderr) {
		var name string
		var n int
		if _, err := fmt.Sscanf(line, "%s %d", &name, &n); err == nil && !strings.HasPrefix(line, " ") {
			counts[name] = n
		}
	}
	if sum := counts["accepted"] + counts["duplicates"] + counts["late"] + counts["rejected"]; sum != events {
		t.Errorf("%v add up to %d, want %d", counts, sum, events)
	}
	out := r.records(t)
	for _, topic := range []string{"rejected", "late"} {
		if n := len(of(out, app+"."+topic)); n != counts[topic] {
			t.Errorf("%d records in %s.%s, %d counted", n, app, topic, counts[topic])
		}
	}
}
