package fbpcs

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
)

// cells returns a file's rows by column name.
func cells(t *testing.T, name string) []map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]int
	for _, line := range lines[1:] {
		row := map[string]int{}
		for i, cell := range line {
			if row[lines[0][i]], err = strconv.Atoi(cell); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// bruteForce applies the rule as the set's README says it, every conversion against every touch.
func bruteForce(t *testing.T) Result {
	touches := cells(t, "touches.csv")
	got := Result{Rule: "last_touch_1d", ByAd: map[string]Total{}, ByClass: map[string]int64{}}
	for _, conversion := range cells(t, "conversions.csv") {
		var best map[string]int
		for _, touch := range touches {
			lag := conversion["conversion_timestamp"] - touch["timestamp"]
			if touch["id_"] != conversion["id_"] || touch["ad_id"] <= 0 || touch["timestamp"] <= 0 || lag <= 0 || lag > 24*60*60 {
				continue
			}
			switch {
			case best == nil, touch["is_click"] > best["is_click"]:
				best = touch
			case touch["is_click"] == best["is_click"] && touch["timestamp"] == best["timestamp"] && touch["ad_id"] != best["ad_id"]:
				t.Fatalf("the winner of %v is a matter of ties: %v or %v", conversion, best, touch)
			case touch["is_click"] == best["is_click"] && touch["timestamp"] > best["timestamp"]:
				best = touch
			}
		}
		if best == nil {
			got.ByClass["none"]++
			continue
		}
		got.ByClass[[]string{"view", "click"}[best["is_click"]]]++
		ad := strconv.Itoa(best["ad_id"])
		total := got.ByAd[ad]
		total.Conversions++
		total.Value += int64(conversion["conversion_value"])
		got.ByAd[ad] = total
	}
	return got
}

// The expected result follows from the rows by the rule, independently of the product.
func TestExpectedIsTheRuleAppliedToTheRows(t *testing.T) {
	want, err := LoadExpected(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := bruteForce(t); !reflect.DeepEqual(got, want) {
		t.Errorf("by brute force %+v, expected.json says %+v", got, want)
	}
}

// The reading of the set agrees with its publisher's own result, where that is not suppressed.
func TestExpectedAgreesWithUpstream(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(dir, "expected_upstream.json"))
	if err != nil {
		t.Fatal(err)
	}
	var upstream map[string]struct {
		Measurement map[string]struct{ Sales, Convs int64 }
	}
	if err := json.Unmarshal(b, &upstream); err != nil {
		t.Fatal(err)
	}
	want, err := LoadExpected(dir)
	if err != nil {
		t.Fatal(err)
	}
	const suppressed = -1
	compared := 0
	for ad, total := range upstream[want.Rule].Measurement {
		if total.Convs == suppressed {
			continue
		}
		compared++
		if got := want.ByAd[ad]; got.Conversions != total.Convs || got.Value != total.Sales {
			t.Errorf("ad %s: expected.json has %+v, upstream %+v", ad, got, total)
		}
	}
	if compared != len(want.ByAd) {
		t.Errorf("%d of %d ads are in upstream's result", compared, len(want.ByAd))
	}
}
