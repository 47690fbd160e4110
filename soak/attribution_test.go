package main

import (
	"fmt"
	"testing"
)

// The six orders of an impression, its click and a conversion, as docs/semantics.md lists them for both schemes.
func TestAnswersOfTheSixOrders(t *testing.T) {
	for _, test := range []struct{ order, want, decided string }{
		{"ice", "PC", "PC"},
		{"iec", "PV", "PC"},
		{"cie", "PV", "PV"},
		{"cei", "none", ""},
		{"eic", "none", ""},
		{"eci", "none", ""},
	} {
		for rule, want := range []string{test.want, test.decided} {
			h := &history{shown: map[string]*event{}, clicked: map[string]*event{}, converted: map[string]*event{}}
			for i, c := range test.order {
				e := &event{id: string(c), at: int64(1+i) * minute, auction: "x", pixel: "p"}
				switch c {
				case 'i':
					e.stream, h.shown["i"] = streamOf(rule, shown), e
				case 'c':
					e.stream, h.clicked["c"] = streamOf(rule, clicked), e
				case 'e':
					e.stream, h.converted["e"] = streamOf(rule, converted), e
				}
			}
			if got := schemes[rule].answers(h)["e"].class; got != want {
				t.Errorf("%s under rule %s: got %q, want %q", test.order, schemes[rule].rule, got, want)
			}
		}
	}
}

// The bounds of windows are included, and a touch at the conversion's own time is not before it.
func TestWindows(t *testing.T) {
	const at = 10 * hour
	for _, test := range []struct {
		rule           int
		shown, clicked int64 // before the conversion; 0: there is none
		want           string
	}{
		{0, hour, 0, "PV"},
		{0, hour + 1, 0, "none"},
		{0, 5 * hour, 2 * hour, "PC"},
		{0, 5*hour + 1, 2 * hour, "none"}, // max_gap
		{0, 3 * hour, 2*hour + 1, "none"},
		{0, hour, 2 * hour, "PV"}, // the click is before its impression
		{0, hour, hour, "PC"},
		{1, 45 * minute, minute, "PC"},
		{1, 45*minute + 1, minute, "PV"},
		{1, hour + 1, minute, ""},
		{1, 30 * minute, -60 * minute, "PC"},
		{1, 30 * minute, -60*minute - 1, "PV"},
	} {
		h := &history{shown: map[string]*event{}, clicked: map[string]*event{}, converted: map[string]*event{}}
		h.shown["i"] = &event{stream: streamOf(test.rule, shown), id: "i", at: at - test.shown, auction: "x", pixel: "p"}
		if test.clicked != 0 {
			h.clicked["c"] = &event{stream: streamOf(test.rule, clicked), id: "c", at: at - test.clicked, auction: "x"}
		}
		h.converted["e"] = &event{stream: streamOf(test.rule, converted), id: "e", at: at, pixel: "p"}
		if got := schemes[test.rule].answers(h)["e"].class; got != test.want {
			t.Errorf("rule %s, %d s and %d s: got %q, want %q", schemes[test.rule].rule, test.shown/second, test.clicked/second, got, test.want)
		}
	}
}

func TestRecordsThatAreNoEvents(t *testing.T) {
	conversions := streamOf(0, converted)
	const sent = 1_700_000_000_000_000
	for _, test := range []struct{ value, want string }{
		{"", "empty"},
		{" \n", "empty"},
		{`{"conversion_id":"e"`, "malformed_json"},
		{`{"conversion_id":1,"user_id":"u","advertiser_id":"a","event_ts":1700000000000}`, "wrong_type"},
		{`{"user_id":"u","advertiser_id":"a","event_ts":1700000000000}`, "missing_id"},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a"}`, "missing_time"},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a","event_ts":1699978399999}`, "over_age"},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a","event_ts":1699978400000}`, ""},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a","event_ts":1700001800000}`, ""},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a","event_ts":1700001800001}`, "future_time"},
		{`{"conversion_id":"e","user_id":"","advertiser_id":"a","event_ts":1700000000000}`, "filtered"},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":null,"event_ts":1700000000000}`, "missing_key"},
		{`{"conversion_id":"e","user_id":"u","advertiser_id":"a","event_ts":"2023-11-14T22:13:20Z","value":"1.250"}`, ""},
	} {
		e, reason, err := read(conversions, []byte(test.value), sent)
		if err != nil || reason != test.want || (e == nil) != (test.want != "") {
			t.Errorf("%s: got %v, %q, %v, want %q", test.value, e, reason, err, test.want)
		}
	}
	if _, reason, _ := read(conversions, nil, sent); reason != "tombstone" {
		t.Errorf("no value: got %q", reason)
	}
}

func TestExactNumbers(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "12": 12_000_000, "0.25": 250_000, "-3.5": -3_500_000, "-0.000001": -1, "1.500": 1_500_000} {
		if got, err := millionths(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	if _, err := millionths("0.0000001"); err == nil {
		t.Error("a seventh decimal was dropped")
	}
}

// One seed makes one load, and it has everything in it that the oracle tells apart.
func TestLoad(t *testing.T) {
	const n = 50_000
	step := 3 * hour / n
	seed := seedOf(t)
	play := func() []message {
		l := newLoad(seed, began, 0)
		l.step = step
		return l.take(n, nil)
	}
	first, second := play(), play()
	if len(first) != len(second) {
		t.Fatalf("%d and %d records of one seed", len(first), len(second))
	}
	kinds := map[string]int{}
	for i, m := range first {
		if o := second[i]; fmt.Sprint(m.at, m.stream.topic, string(m.key), string(m.value)) != fmt.Sprint(o.at, o.stream.topic, string(o.key), string(o.value)) {
			t.Fatalf("record %d of one seed: %s and %s", i, m.value, o.value)
		}
		e, reason, err := read(m.stream, m.value, m.at)
		switch {
		case err != nil:
			t.Fatalf("%s: %v", m.value, err)
		case e == nil:
			kinds[reason]++
		case e.sent < e.at:
			t.Fatalf("%s is sent before it happens", m.value)
		case e.sent-e.at > lateness:
			kinds["straggler"]++
		default:
			kinds[m.stream.name]++
		}
	}
	for _, kind := range []string{
		"tombstone", "empty", "malformed_json", "wrong_type", "missing_id", "missing_time", "missing_key", "over_age", "future_time", "filtered",
		"straggler", "impression", "click", "conversion", "view", "tap", "order",
	} {
		if kinds[kind] == 0 {
			t.Errorf("no %s among %d records: %v", kind, len(first), kinds)
		}
	}
}
