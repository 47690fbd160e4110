package rules

import (
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// TestNativeConditionsAgreeWithTheVM runs each condition both ways over all combinations of some values.
func TestNativeConditionsAgreeWithTheVM(t *testing.T) {
	strs := []codecs.Value{{}, codecs.StringValue(""), codecs.StringValue("a"), codecs.StringValue("ab"), codecs.StringValue("b")}
	ints := []codecs.Value{{}, codecs.IntValue(0), codecs.IntValue(-3), codecs.IntValue(3), codecs.IntValue(4)}
	bools := []codecs.Value{{}, codecs.BoolValue(false), codecs.BoolValue(true)}
	for condition, isNative := range map[string]bool{
		`s != ""`:                              true,
		`s == "a" or i > 3`:                    true,
		`s < "ab" and not (i <= 3 || b)`:       true,
		`"a" <= s && !b`:                       true,
		`s >= user`:                            true,
		`b == true and i != 3`:                 true,
		`b`:                                    true,
		`b != (i < 3)`:                         false,
		`i + 1 > 3`:                            false,
		`f > 1.0 and s == "a"`:                 false,
		`d > 1`:                                false,
		`s matches "^a"`:                       false,
		`let x = i; x > 3`:                     false,
		`3 < i and user == s and user != "ab"`: true,
	} {
		t.Run(condition, func(t *testing.T) {
			p := exprPlan(t, condition, "sale.s == view.s", "true")
			where, scope := p.Streams[0].Where, p.NewScope()
			if got := where.native != nil; got != isNative {
				t.Fatalf("native: %v, want %v", got, isNative)
			}
			if !isNative || where.plain {
				return
			}
			slow := *where
			slow.native = nil
			for _, s := range strs {
				for _, user := range strs {
					for _, i := range ints {
						for _, b := range bools {
							ev := event(t, p, "view", someID, 1, map[string]codecs.Value{"s": s, "user": user, "i": i, "b": b})
							got, err1 := where.BoolEvent(scope, ev)
							want, err2 := slow.BoolEvent(scope, ev)
							if err1 != nil || err2 != nil || got != want {
								t.Fatalf("%v: native %v, %v, VM %v, %v", ev.Fields, got, err1, want, err2)
							}
						}
					}
				}
			}
		})
	}
}
