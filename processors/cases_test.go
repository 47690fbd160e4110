package processors

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// The 36 cases are one impression, one click and one conversion that join, with ample lags, in six orders of event time,
// each in six orders of arrival.

const caseStreams = `
app: ads
streams:
  impression: {topic: ads.impressions, fields: {impression_id: string, event_ts: time, user_id: string, auction_id: string, pixel_id: string}, time: event_ts, id: impression_id, lateness: 30d}
  click: {topic: ads.clicks, fields: {click_id: string, event_ts: time, user_id: string, auction_id: string}, time: event_ts, id: click_id, lateness: 30d}
  conversion: {topic: ads.conversions, fields: {conversion_id: string, event_ts: time, user_id: string, pixel_id: string, value: decimal}, time: event_ts, id: conversion_id, lateness: 30d}
rules:
  - name: attributed
    attribute: conversion
    key: user_id
    lookback: 30d
    join: {impression: conversion.pixel_id == impression.pixel_id, click: click.auction_id == impression.auction_id}
    classes: {PC: {touch: click, within: 7d}, PV: {touch: impression, within: 1d}}
    measure: {revenue: conversion.value}
    into: ads.attributed
`

// caseRules are the schemes that the table of cases has a column for.
var caseRules = map[string]string{
	"default":                     caseStreams,
	"mediamath":                   caseStreams + "    preset: mediamath\n",
	"mediamath, clicks after too": caseStreams + "    preset: mediamath\n    click_after_conversion: allow\n",
}

// caseRecords are the three events; i, c and e are their ranks in event time.
func caseRecords(order string) map[byte]string {
	at := func(kind string) int { return 1_700_000_000 + 60*strings.Index(order, kind) }
	return map[byte]string{
		'i': fmt.Sprintf(`{"impression_id":"i1","event_ts":%d,"user_id":"u","auction_id":"x","pixel_id":"p"}`, at("i")),
		'c': fmt.Sprintf(`{"click_id":"c1","event_ts":%d,"user_id":"u","auction_id":"x"}`, at("c")),
		'e': fmt.Sprintf(`{"conversion_id":"e1","event_ts":%d,"user_id":"u","pixel_id":"p","value":12.5}`, at("e")),
	}
}

// caseDeltas is the answer by definition: what each event in turn changes, in words like "PV+1".
func caseDeltas(scheme, order, arrival string) [][]string {
	class := func(present string) string {
		i, c, e := strings.IndexByte(order, 'i'), strings.IndexByte(order, 'c'), strings.IndexByte(order, 'e')
		has := func(k string) bool { return strings.Contains(present, k) }
		switch {
		case !has("i") || !has("e") || i > e:
			return ""
		case has("c") && i < c && (c < e || strings.Contains(scheme, "after")):
			return "PC"
		}
		return "PV"
	}
	var steps [][]string
	for n := range arrival {
		before, after := class(arrival[:n]), class(arrival[:n+1])
		var step []string
		if before != after && before != "" {
			step = append(step, before+"-1")
		}
		if before != after && after != "" {
			step = append(step, after+"+1")
		}
		steps = append(steps, step)
	}
	return steps
}

var orders = []string{"ice", "iec", "cie", "cei", "eic", "eci"}

var caseStream = map[byte]int{'i': 0, 'c': 1, 'e': 2}

func mustCompile(t testing.TB, src string) *rules.Plan {
	t.Helper()
	plan, err := rules.Compile("rules.yaml", []byte(src), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// summary renders delta records as words like "PV+1".
func summary(t testing.TB, records []codecs.Record) []string {
	t.Helper()
	var words []string
	for _, r := range records {
		if !strings.HasSuffix(r.Topic, ".deltas") {
			continue
		}
		var row struct {
			Class   string
			Sign    int
			Credit  int
			Revenue json.Number
		}
		if err := json.Unmarshal(r.Value, &row); err != nil {
			t.Fatal(err)
		}
		if row.Credit != row.Sign*codecs.WholeCredit || row.Revenue.String() != map[int]string{1: "12.5", -1: "-12.5"}[row.Sign] {
			t.Errorf("credit and measure do not carry the sign: %s", r.Value)
		}
		words = append(words, fmt.Sprintf("%s%+d", row.Class, row.Sign))
	}
	return words
}

func TestThirtySixCases(t *testing.T) {
	for scheme, src := range caseRules {
		nets := map[string]int{}
		for _, order := range orders {
			records := caseRecords(order)
			for _, arrival := range orders {
				plan := mustCompile(t, src)
				var out []codecs.Record
				replay, err := NewReplay(plan, nil, func(r codecs.Record) { out = append(out, r) }, NewStats(plan), ReplayOptions{})
				if err != nil {
					t.Fatal(err)
				}
				net := map[string]int{}
				for n, want := range caseDeltas(scheme, order, arrival) {
					out = out[:0]
					if err := replay.Record(caseStream[arrival[n]], &Raw{Value: []byte(records[arrival[n]])}); err != nil {
						t.Fatal(err)
					}
					got := summary(t, out)
					if !slices.Equal(got, want) {
						t.Errorf("%s: event order %s, arrival %s, step %d: %v, want %v", scheme, order, arrival, n+1, got, want)
					}
					for _, w := range got {
						net[w[:2]] += map[byte]int{'+': 1, '-': -1}[w[2]]
					}
				}
				nets[fmt.Sprint(net["PC"], net["PV"])]++
			}
		}
		want := map[string]int{"1 0": 6, "0 1": 12, "0 0": 18}
		if strings.Contains(scheme, "after") {
			want = map[string]int{"1 0": 12, "0 1": 6, "0 0": 18}
		}
		if fmt.Sprint(nets) != fmt.Sprint(want) {
			t.Errorf("%s: nets (PC PV) %v, want %v", scheme, nets, want)
		}
	}
}
