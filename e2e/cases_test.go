package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/rules"
)

// One impression (i), one click (c) and one conversion (e) that join, with ample lags: six orders of event time, each in
// six orders of arrival.
var orders = []string{"ice", "iec", "cie", "cei", "eic", "eci"}

// schemes are the columns of the table of cases: what the conversion comes to by the order of event times, "" for nothing.
var schemes = []struct {
	rule    string
	options string
	table   map[string]string
}{
	{"default", "", map[string]string{"ice": "PC", "iec": "PV", "cie": "PV", "cei": "", "eic": "", "eci": ""}},
	{"mediamath", "preset: mediamath", map[string]string{"ice": "PC", "iec": "PV", "cie": "PV", "cei": "", "eic": "", "eci": ""}},
	{"mediamath_after", "preset: mediamath\n    click_after_conversion: allow",
		map[string]string{"ice": "PC", "iec": "PC", "cie": "PV", "cei": "", "eic": "", "eci": ""}},
}

// known is what the conversion comes to when only some of the three have arrived: without the click a view where the
// impression came first, and nothing without the impression or the conversion itself.
func known(table map[string]string, order, arrived string) string {
	switch {
	case len(arrived) == 3:
		return table[order]
	case strings.Contains(arrived, "i") && strings.Contains(arrived, "e") && strings.Index(order, "i") < strings.Index(order, "e"):
		return "PV"
	}
	return ""
}

// steps is what each arrival must emit.
func steps(table map[string]string, order, arrival string) [][]string {
	var all [][]string
	before := ""
	for n := range arrival {
		after := known(table, order, arrival[:n+1])
		var step []string
		if after != before && before != "" {
			step = append(step, before+" -1")
		}
		if after != before && after != "" {
			step = append(step, after+" +1")
		}
		all = append(all, step)
		before = after
	}
	return all
}

const caseStreams = `
app: @APP@
commit_interval: 20ms
topics: {partitions: 3, replication: 1}
streams:
  impression: {topic: @APP@.i, fields: {impression_id: string, event_ts: time, user_id: string, auction_id: string, pixel_id: string}, time: event_ts, id: impression_id, lateness: 30d}
  click: {topic: @APP@.c, fields: {click_id: string, event_ts: time, user_id: string, auction_id: string}, time: event_ts, id: click_id, lateness: 30d}
  conversion: {topic: @APP@.e, fields: {conversion_id: string, event_ts: time, user_id: string, pixel_id: string, value: decimal}, time: event_ts, id: conversion_id, lateness: 30d}
rules:
`

const caseRule = `
  - name: @RULE@
    attribute: conversion
    key: user_id
    lookback: 30d
    join: {impression: conversion.pixel_id == impression.pixel_id, click: click.auction_id == impression.auction_id}
    classes: {PC: {touch: click, within: 7d}, PV: {touch: impression, within: 1d}}
    measure: {revenue: conversion.value}
    into: @APP@.@RULE@
    @OPTIONS@
`

// caseRecord is one of the three events of a case; each case has a user of its own, and ids that are unique.
func caseRecord(app, user, order string, kind byte) record {
	at := 1_700_000_000 + 60*strings.IndexByte(order, kind)
	value := ""
	switch kind {
	case 'i':
		value = fmt.Sprintf(`{"impression_id":"i-%s","event_ts":%d,"user_id":%q,"auction_id":"x","pixel_id":"p"}`, user, at, user)
	case 'c':
		value = fmt.Sprintf(`{"click_id":"c-%s","event_ts":%d,"user_id":%q,"auction_id":"x"}`, user, at, user)
	case 'e':
		value = fmt.Sprintf(`{"conversion_id":%q,"event_ts":%d,"user_id":%q,"pixel_id":"p","value":12.5}`, user, at, user)
	}
	return record{topic: app + "." + string(kind), key: []byte(user), value: []byte(value)}
}

// caseOutputs is what has been read so far, by rule and conversion.
type caseOutputs struct {
	deltas map[string][]string
	final  map[string]string // class of the last upsert, "" where it deletes
}

func (r *rig) caseOutputs(plan *rules.Plan) caseOutputs {
	r.t.Helper()
	out := caseOutputs{map[string][]string{}, map[string]string{}}
	for _, m := range r.read(outputTopics(plan)...) {
		row := decode[struct {
			Rule         string
			ConversionID string `json:"conversion_id"`
			Class        string
			Credit       int64
			Sign         int64
			Revenue      json.Number
			Deleted      bool `json:"_deleted"`
		}](r.t, m.Value)
		id := row.Rule + " " + row.ConversionID
		if !strings.HasSuffix(m.Topic, ".deltas") {
			out.final[id] = row.Class
			if row.Deleted {
				out.final[id] = ""
			}
			continue
		}
		if row.Credit != row.Sign*1_000_000 || row.Revenue.String() != map[int64]string{1: "12.5", -1: "-12.5"}[row.Sign] {
			r.t.Errorf("credit and measure do not carry the sign: %s", m.Value)
		}
		out.deltas[id] = append(out.deltas[id], fmt.Sprintf("%s %+d", row.Class, row.Sign))
	}
	return out
}

func TestThirtySixCasesThroughTopics(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := caseStreams
		for _, s := range schemes {
			src += strings.NewReplacer("@RULE@", s.rule, "@OPTIONS@", s.options).Replace(caseRule)
		}
		plan := r.compile(strings.ReplaceAll(src, "@APP@", app))
		r.createTopics(app+".i", app+".c", app+".e")
		r.startReady(plan, app)

		want := map[string][]string{}
		for n := range 4 {
			// One event of every case, and only then the next: arrival keeps its order across topics. The fourth time all
			// of them come again, which must change nothing.
			var batch []record
			for _, order := range orders {
				for _, arrival := range orders {
					user := order + "-" + arrival
					if n < 3 {
						batch = append(batch, caseRecord(app, user, order, arrival[n]))
						continue
					}
					for k := range arrival {
						batch = append(batch, caseRecord(app, user, order, arrival[k]))
					}
				}
			}
			r.send(batch...)
			r.settle(plan)
			got := r.caseOutputs(plan)
			for _, s := range schemes {
				for _, order := range orders {
					for _, arrival := range orders {
						id := s.rule + " " + order + "-" + arrival
						if n < 3 {
							want[id] = append(want[id], steps(s.table, order, arrival)[n]...)
						}
						if !slices.Equal(got.deltas[id], want[id]) {
							t.Errorf("%s: event order %s, arrival %s: after %d events the deltas are %q, want %q", s.rule, order, arrival, n+1, got.deltas[id], want[id])
						}
						if final := known(s.table, order, arrival[:min(n+1, 3)]); got.final[id] != final {
							t.Errorf("%s: event order %s, arrival %s: after %d events the last upsert is %q, want %q", s.rule, order, arrival, n+1, got.final[id], final)
						}
					}
				}
			}
		}
		if got := want["default ice-iec"]; !slices.Equal(got, []string{"PV +1", "PV -1", "PC +1"}) {
			t.Errorf("arrival i, e, c of i < c < e is expected as %q", got)
		}
	})
}

// The table itself: how many of the 36 cases come to what.
func TestCaseTableCounts(t *testing.T) {
	for _, s := range schemes {
		counts := map[string]int{}
		for _, order := range orders {
			for _, arrival := range orders {
				net := map[string]int{}
				for _, step := range steps(s.table, order, arrival) {
					for _, word := range step {
						net[word[:2]] += map[string]int{"+1": 1, "-1": -1}[word[3:]]
					}
				}
				counts[fmt.Sprint(net["PC"], net["PV"])]++
			}
		}
		want := map[string]int{"1 0": 6, "0 1": 12, "0 0": 18}
		if s.rule == "mediamath_after" {
			want = map[string]int{"1 0": 12, "0 1": 6, "0 0": 18}
		}
		if fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("%s: %v cases by net PC and PV, want %v", s.rule, counts, want)
		}
	}
}
