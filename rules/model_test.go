package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// shares returns what a model, as a rules file has it, gives to touches of the given ages, oldest first, in micro-credits. Touch number n has
// n of weights as its field i, and the string "lead" as its field s where lead says so.
func shares(t *testing.T, model string, ages []int64, weights []codecs.Value, lead int) ([]uint64, error) {
	t.Helper()
	p := modelPlan(t, model)
	var found []Candidate
	now := ages[0] + 1
	for n, age := range ages {
		fields := map[string]codecs.Value{}
		if n < len(weights) {
			fields["d"] = weights[n]
		}
		if n == lead {
			fields["s"] = codecs.StringValue("lead")
		}
		touch := row(t, p, "view", codecs.StringValue(fmt.Sprint(n)), now-age, fields)
		found = append(found, Candidate{Class: p.Rules[0].Classes[0], Anchor: now - age, Tuple: Tuple{Touch: touch}})
	}
	parts, err := NewEvaluator(p).Parts(p.Rules[0].Models[0], found)
	given := make([]uint64, len(ages))
	var of []int
	var raw []uint64
	for _, part := range parts {
		at := slices.IndexFunc(found, func(c Candidate) bool { return c.Touch.Compare(part.Tuple.Touch) == 0 })
		of, raw = append(of, at), append(raw, part.Weight)
	}
	for i, share := range codecs.Split(codecs.WholeCredit, raw) {
		given[of[i]] = share
	}
	return given, err
}

func modelPlan(t *testing.T, model string) *Plan {
	t.Helper()
	return mustCompile(t, `
app: ads
streams:
  view: {topic: views, fields: {id: string, ts: time, user: string, s: string, d: decimal}, time: ts, id: id}
  sale: {topic: sales, fields: {id: string, ts: time, user: string}, time: ts, id: id}
rules:
  - name: r
    attribute: sale
    key: user
    lookback: 90d
    classes: {seen: {touch: view}}
    into: out
    model: `+model+"\n")
}

func TestModelsWithKnownAnswers(t *testing.T) {
	ages := func(n int) (a []int64) {
		for i := range n {
			a = append(a, int64(n-i)*day)
		}
		return a
	}
	for _, c := range []struct {
		model string
		ages  []int64
		lead  int
		want  []uint64
	}{
		{"last", ages(3), -1, []uint64{0, 0, 1_000_000}},
		{"first", ages(3), -1, []uint64{1_000_000, 0, 0}},
		{"linear", ages(1), -1, []uint64{1_000_000}},
		{"linear", ages(3), -1, []uint64{333_334, 333_333, 333_333}},
		{"linear", ages(7), -1, []uint64{142_858, 142_857, 142_857, 142_857, 142_857, 142_857, 142_857}},
		// The classic cases.
		{"position", ages(1), -1, []uint64{1_000_000}},
		{"position", ages(2), -1, []uint64{500_000, 500_000}},
		{"position", ages(3), -1, []uint64{400_000, 200_000, 400_000}},
		{"position", ages(4), -1, []uint64{400_000, 100_000, 100_000, 400_000}},
		{"position", ages(5), -1, []uint64{400_000, 66_667, 66_667, 66_666, 400_000}},
		{"{position: [30, 40, 30]}", ages(4), -1, []uint64{300_000, 200_000, 200_000, 300_000}},
		{"{position: [3, 0, 1]}", ages(2), -1, []uint64{750_000, 250_000}},
		{"{position: [3, 0, 1]}", ages(4), -1, []uint64{750_000, 0, 0, 250_000}},
		{"{position: [0, 1, 0]}", ages(2), -1, []uint64{500_000, 500_000}},
		{"{position: [0, 1, 0]}", ages(3), -1, []uint64{0, 1_000_000, 0}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(1), 0, []uint64{1_000_000}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(2), -1, []uint64{500_000, 500_000}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(2), 0, []uint64{666_667, 333_333}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(3), 1, []uint64{333_334, 333_333, 333_333}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(3), -1, []uint64{428_572, 142_857, 428_571}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(5), 2, []uint64{300_000, 50_000, 300_000, 50_000, 300_000}},
		{"{w_shaped: 'view.s == \"lead\"'}", ages(5), 4, []uint64{300_000, 33_334, 33_333, 33_333, 600_000}},
	} {
		got, err := shares(t, c.model, c.ages, nil, c.lead)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s over %d touches, lead %d: %v, %v; want %v", c.model, len(c.ages), c.lead, got, err, c.want)
		}
	}
}

func TestTimeDecayIsTheFormula(t *testing.T) {
	for _, ages := range [][]int64{
		{14 * day, 7 * day, 0},
		{30 * day, 21*day + 1, 3*day + 77, 1, 0},
		{90 * day, 89 * day, 88 * day},
		{day, day, day},
	} {
		got, err := shares(t, "{time_decay: 7d}", ages, nil, -1)
		if err != nil {
			t.Fatal(err)
		}
		total := 0.0
		for _, age := range ages {
			total += math.Exp2(-float64(age) / float64(7*day))
		}
		sum := uint64(0)
		for i, age := range ages {
			sum += got[i]
			if want := 1e6 * math.Exp2(-float64(age)/float64(7*day)) / total; math.Abs(want-float64(got[i])) > 1 {
				t.Errorf("ages %v: touch %d gets %d, the formula says %f", ages, i, got[i], want)
			}
		}
		if sum != codecs.WholeCredit {
			t.Errorf("ages %v: %v sums to %d", ages, got, sum)
		}
	}
	// 2 : 1 with each half-life.
	if got, _ := shares(t, "{time_decay: 7d}", []int64{7 * day, 0}, nil, -1); !slices.Equal(got, []uint64{333_333, 666_667}) {
		t.Errorf("a half-life apart: %v", got)
	}
	const unit = 1 << decayBits
	for _, age := range []int64{0, 1, 12345, 7 * day, 7*day - 1, 100 * day, math.MaxInt64} {
		want := unit * math.Exp2(-float64(age)/float64(7*day))
		if got := float64(decay(age, 7*day)); math.Abs(got-want) > 64+want*1e-12 {
			t.Errorf("decay of age %d: %f, want %f", age, got, want)
		}
	}
}

func TestWeightsByExpression(t *testing.T) {
	dec := codecs.DecimalValue
	for name, c := range map[string]struct {
		weights []codecs.Value
		want    []uint64
		err     string
	}{
		"scales":              {[]codecs.Value{dec(5, 1), dec(15, 1), dec(2, 0)}, []uint64{125_000, 375_000, 500_000}, ""},
		"absent":              {[]codecs.Value{dec(1, 0), {}, dec(3, 0)}, []uint64{250_000, 0, 750_000}, ""},
		"negative":            {[]codecs.Value{dec(1, 0), dec(-5, 0), dec(3, 0)}, []uint64{250_000, 0, 750_000}, "model weights: a weight of -5 is below 0"},
		"all zero":            {[]codecs.Value{dec(0, 0), dec(0, 0), dec(0, 0)}, []uint64{333_334, 333_333, 333_333}, "no touch has a weight above 0; each gets the same"},
		"large beside small":  {[]codecs.Value{dec(999_999_999_999_999_999, 0), dec(1, 18), dec(999_999_999_999_999_999, 0)}, []uint64{500_000, 0, 500_000}, ""},
		"many digits, finely": {[]codecs.Value{dec(999_999_999_999_999_999, 18), dec(1, 0), {}}, []uint64{500_000, 500_000, 0}, ""},
	} {
		got, err := shares(t, "{weights: view.d}", []int64{3, 2, 1}, c.weights, -1)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}
