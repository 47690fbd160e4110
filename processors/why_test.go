package processors

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// An explanation agrees with the definition: who has credit is said to, whoever else would be a candidate loses to one, and every other
// touch is kept from it by something.
func TestExplanationsAgreeWithTheDefinition(t *testing.T) {
	alone(t)
	kept := []rules.Verdict{rules.AfterConversion, rules.NoParent, rules.JoinDiffers, rules.ParentGap, rules.TooSoon, rules.OutsideWindow,
		rules.ParentWindow, rules.JoinFalse, rules.Filtered, rules.Expired, rules.Invalidated}
	silent := []rules.Verdict{rules.Deduplicated, rules.OverBudget, rules.Replaced, rules.NotFirst}
	without := slices.Concat(kept, silent, []rules.Verdict{rules.Refused, rules.WinnerRefused, rules.WinnerSilent, rules.Retired, rules.OwnTouch, rules.OtherClass, rules.OfOneParent})
	seen := map[rules.Verdict]int{}
	for rule := range propertyRules {
		t.Run(rule, func(t *testing.T) {
			for seed := range uint64(10) {
				rng := rand.New(rand.NewPCG(seed, 17))
				plan := propertyPlan(t, rule, false)
				r := plan.Rules[0]
				e := newEngine(t, plan, tables.Options{})
				for range 60 {
					e.accept(randomRecord(rng, plan, 25))
				}
				for _, rows := range e.rows {
					for _, o := range rules.Naive(plan, r, rows) {
						why, ok := rules.Explain(plan, r, o.Conversion, rows)
						if !ok {
							t.Fatalf("seed %d: a conversion that counts is not explained", seed)
						}
						credited := map[string]bool{}
						for _, parts := range o.Parts {
							for _, p := range parts {
								credited[string(p.Tuple.Touch)] = true
							}
						}
						refused := 0
						for _, f := range why.Findings {
							seen[f.Verdict]++
							if (f.Verdict == rules.Credited) != credited[string(f.Touch)] {
								t.Fatalf("seed %d: %s has credit: %t, and is said to be %s: %s", seed, codecs.AppendText(nil, f.Touch.IDValue()), credited[string(f.Touch)], f.Verdict, f.Detail)
							}
							delete(credited, string(f.Touch))
							if f.Verdict == rules.Refused || slices.Contains(silent, f.Verdict) {
								refused++
							}
							if len(o.Parts[0]) == 0 && !slices.Contains(without, f.Verdict) {
								t.Fatalf("seed %d: nobody has credit, and a touch is said to be %s", seed, f.Verdict)
							}
							if f.Verdict != rules.Credited && f.Detail == "" {
								t.Fatalf("seed %d: %s without a word", seed, f.Verdict)
							}
						}
						if len(credited) > 0 || refused > 1 || o.Silent != "" && refused == 0 {
							t.Fatalf("seed %d: %d touches with credit are not explained, %d are refused", seed, len(credited), refused)
						}
					}
				}
			}
		})
	}
	for _, v := range append(slices.Concat(kept, silent), rules.Retired, rules.WinnerSilent, rules.OfOneParent, rules.Credited, rules.OtherClass, rules.OwnTouch, rules.LowerPriority, rules.Earlier, rules.NoWeight, rules.Refused, rules.WinnerRefused) {
		if seen[v] == 0 && v != rules.NoParent {
			t.Errorf("nothing was %s", v)
		}
	}
}
