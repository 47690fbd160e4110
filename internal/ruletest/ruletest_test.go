package ruletest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/rules"
)

func TestEveryOrderIsTriedOnce(t *testing.T) {
	for n, want := range []int{1, 1, 2, 6, 24, 120} {
		seen := map[string]bool{}
		first := true
		permute(n, func(order []int) bool {
			if first && !slices.IsSorted(order) {
				t.Errorf("the first order of %d is %v", n, order)
			}
			first = false
			seen[fmt.Sprint(order)] = true
			return true
		})
		if len(seen) != want {
			t.Errorf("%d events have %d orders, want %d", n, len(seen), want)
		}
	}
	permute(5, func([]int) bool { return false }) // ends
}

func TestOrdersOfATest(t *testing.T) {
	given := []rules.Arrival{{Stream: 0}, {Stream: 1}, {Stream: 0}}
	count := func(o rules.Order) (n int, each []int) {
		for order := range orders(&rules.Test{Given: given, Order: o}) {
			n++
			each = slices.Sorted(slices.Values(order))
		}
		return n, each
	}
	for _, test := range []struct {
		order rules.Order
		n     int
		each  []int
	}{
		{rules.Order{}, 1, []int{0, 1, 2}},
		{rules.Order{Duplicated: true}, 1, []int{0, 0, 1, 1, 2, 2}},
		{rules.Order{Every: true}, 6, []int{0, 1, 2}},
		{rules.Order{Every: true, Duplicated: true}, 6, []int{0, 0, 1, 1, 2, 2}},
		{rules.Order{Shuffled: 10, Duplicated: true}, 11, []int{0, 0, 1, 1, 2, 2}},
	} {
		if n, each := count(test.order); n != test.n || !slices.Equal(each, test.each) {
			t.Errorf("%+v gives %d orders of %v, want %d of %v", test.order, n, each, test.n, test.each)
		}
	}
}

func field(name, text string) rules.ExpectedField {
	return rules.ExpectedField{Name: name, JSON: []byte(text)}
}

// A row that many expected rows match must not be taken by the first of them.
func TestPairingLeavesAsFewAsCanBe(t *testing.T) {
	got := []row{{"class": "PC", "id": "a"}, {"class": "PC", "id": "b"}}
	loose, strict := rules.ExpectedRow{Fields: []rules.ExpectedField{field("class", `"PC"`)}}, rules.ExpectedRow{Fields: []rules.ExpectedField{field("id", `"a"`)}}
	if missing, extra := pair([]rules.ExpectedRow{loose, strict}, got); len(missing)+len(extra) > 0 {
		t.Errorf("missing %v, extra %v", missing, extra)
	}
	if missing, extra := pair([]rules.ExpectedRow{strict, strict}, got); !slices.Equal(missing, []int{1}) || !slices.Equal(extra, []int{1}) {
		t.Errorf("missing %v, extra %v", missing, extra)
	}
}

func TestValuesAreEqualByWorth(t *testing.T) {
	for _, test := range []struct {
		want, got string
		equal     bool
	}{
		{`12.50`, `12.5`, true}, {`1e2`, `100`, true}, {`0.1`, `0.10000000000000001`, false}, {`9007199254740993`, `9007199254740992`, false},
		{`"1"`, `1`, false}, {`null`, `null`, true}, {`null`, `0`, false}, {`true`, `true`, true}, {`1e999`, `2e999`, false},
		{`[1.0, {"a": 2}]`, `[1, {"a": 2.0}]`, true}, {`[1]`, `[1, 2]`, false}, {`{"a": 1}`, `{"b": 1}`, false},
	} {
		var got any
		d := json.NewDecoder(strings.NewReader(test.got))
		d.UseNumber()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		r := row{"x": got}
		if is := r.matches(rules.ExpectedRow{Fields: []rules.ExpectedField{field("x", test.want)}}); is != test.equal {
			t.Errorf("%s equals %s: %v", test.want, test.got, is)
		}
	}
	if !(row{}).matches(rules.ExpectedRow{Fields: []rules.ExpectedField{field("x", "null")}}) {
		t.Error("what is not there is not null")
	}
}

// thousand writes a file of a thousand tests and loads it.
func thousand(tb testing.TB) *rules.TestFile {
	shipped, err := filepath.Abs("../../rules.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rules: %s\nenv: {LATENESS: 1h}\ntests:\n", shipped)
	for i := range 1000 {
		fmt.Fprintf(&b, `
  - name: test %d
    given:
      - {at: 0s, impression: {impression_id: i1, user_id: u, advertiser_id: a, auction_id: x, pixel_id: p, campaign_id: c%d}}
      - {at: 2h, conversion: {conversion_id: e1, user_id: u, advertiser_id: a, pixel_id: p, value: %d.5}}
      - {at: 1h, click: {click_id: c1, user_id: u, advertiser_id: a, auction_id: x}, arrives: 3h}
    arrival: {every_order: true}
    expect:
      final: [{conversion_id: e1, class: PC, touch_id: c1, campaign_id: c%d, revenue: %d.50}]
`, i, i, i, i, i)
	}
	path := filepath.Join(tb.TempDir(), "thousand_test.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	file, err := rules.LoadTests(path)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// BenchmarkThousandTests loads and runs a file of a thousand tests, each in six orders of arrival.
func BenchmarkThousandTests(b *testing.B) {
	for b.Loop() {
		file := thousand(b)
		runner := NewRunner(file, nil)
		for _, t := range file.Tests {
			result, err := runner.Run(b.Context(), t)
			if err != nil || len(result.Failures) > 0 {
				b.Fatal(err, result.Failures)
			}
		}
	}
}
