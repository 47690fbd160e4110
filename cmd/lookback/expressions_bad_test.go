package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// An expression that fails on a pair counts as false, one of an output field as null. The event that brought it about
// still counts, and is told of in a record of its own.
func TestAnExpressionThatFailsOnAPairStopsNothing(t *testing.T) {
	const (
		byZero  = "runtime error: integer divide by zero"
		noIndex = "index out of range: 9 (array length is 3)"
	)
	for name, test := range map[string]struct {
		old, new string // the edit of the rules
		ad, sale string // edits of the records' members, old=new
		message  string // of the reject
		class    string // of the sale
		fields   map[string]string
	}{
		"class, division": {
			"touch: ad, within: 1d", "touch: ad, within: 1d, where: 100 % ad.weight >= 0", `"weight":4="weight":0`, "",
			`expression "100 % ad.weight >= 0": ` + byZero, "none", nil,
		},
		"class, index": {
			"touch: ad, within: 1d", `touch: ad, within: 1d, where: 'split(ad.tags, ",")[sale.nth] != ""'`, "", `"nth":0="nth":9`,
			`expression "split(ad.tags, \",\")[sale.nth] != \"\"": ` + noIndex, "none", nil,
		},
		"class, integer overflow": {
			"touch: ad, within: 1d", "touch: ad, within: 1d, where: ad.weight * 2 > 0", `"weight":4="weight":9223372036854775806`, "",
			`expression "ad.weight * 2 > 0": `, "none", nil,
		},
		"class, decimal overflow": {
			"touch: ad, within: 1d", "touch: ad, within: 1d, where: sale.price * sale.price > 0", "", `2.50=999999999999.5`,
			`expression "sale.price * sale.price > 0": decimal overflow`, "none", nil,
		},
		"join, division": {
			"ad: sale.product == ad.product", "ad: sale.product == ad.product and 7 % ad.weight == 3", `"weight":4="weight":0`, "",
			`expression "7 % ad.weight == 3": ` + byZero, "none", nil,
		},
		"join, index": {
			"ad: sale.product == ad.product", `ad: 'sale.product == ad.product and split(ad.tags, ",")[sale.nth] != ""'`, "", `"nth":0="nth":9`,
			noIndex, "none", nil,
		},
		"select, index": {
			"product: ad.product\n    measure", "product: ad.product\n      tag: 'split(ad.tags, \",\")[sale.nth]'\n    measure", "", `"nth":0="nth":9`,
			`tag: expression "split(ad.tags, \",\")[sale.nth]": ` + noIndex, "seen", map[string]string{"tag": "null", "product": `"p"`, "revenue": "2.5"},
		},
		"measure, decimal overflow": {
			"revenue: sale.price", "revenue: sale.price * sale.price", "", `2.50=999999999999.5`,
			`revenue: expression "sale.price * sale.price": decimal overflow: the exact result does not fit`, "seen", map[string]string{"product": `"p"`, "revenue": "0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			edit := func(text, change string) string {
				if old, new, ok := strings.Cut(change, "="); ok {
					return edited(t, text, old, new)
				}
				return text
			}
			rules := file(t, "rules.yaml", edited(t, shopRules, test.old, test.new))
			lines := []string{edit(ad("a1", "u1"), test.ad), edit(sale("s1", "u1"), test.sale), ad("a2", "u2"), sale("s2", "u2")}
			r := command(t, strings.Join(lines, "\n"), "replay", rules, "-")
			r.want(t, exitOK, "accepted    4\n", "rejected    1\n", "  expression_error   1\n")
			out := r.records(t)

			rejects := of(out, "shop.rejected")
			if len(rejects) != 1 {
				t.Fatalf("%d rejects, want 1", len(rejects))
			}
			got := rejects[0]
			if got.reason() != "expression_error" || !strings.Contains(got.message(), test.message) || got.Headers[codecs.HeaderRule] != "credit" {
				t.Errorf("rejected with %v, want expression_error of rule credit: %s", got.Headers, test.message)
			}
			if want := strings.TrimSuffix(strings.TrimPrefix(lines[1], `{"sale":`), "}"); string(got.Value) != want {
				t.Errorf("rejected %s, want the sale's bytes %s", got.Value, want)
			}
			deltas := of(out, "shop.credit.deltas")
			if len(deltas) != 2 {
				t.Fatalf("%d deltas, want one per sale", len(deltas))
			}
			if class := deltas[0].field(t, "class"); class != `"`+test.class+`"` {
				t.Errorf("the sale's class is %s, want %s", class, test.class)
			}
			for name, want := range test.fields {
				if got := deltas[0].field(t, name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if class := deltas[1].field(t, "class"); class != `"seen"` {
				t.Errorf("the other sale's class is %s, want seen", class)
			}
		})
	}
}

// A touch on which the condition fails is passed over; the one before it takes the credit.
func TestATouchThatFailsTheConditionLeavesTheOthers(t *testing.T) {
	rules := file(t, "rules.yaml", edited(t, shopRules, "touch: ad, within: 1d", "touch: ad, within: 1d, where: 100 % ad.weight >= 0"))
	broken := strings.Replace(edited(t, ad("a2", "u"), `"weight":4`, `"weight":0`), T, "2026-01-01T00:00:00.5Z", 1)
	for order := range 3 {
		lines := [][]string{
			{ad("a1", "u"), broken, sale("s1", "u")},
			{ad("a1", "u"), sale("s1", "u"), broken},
			{sale("s1", "u"), broken, ad("a1", "u")},
		}[order]
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			r := command(t, strings.Join(lines, "\n"), "replay", rules, "-", "--emit", "final")
			r.want(t, exitOK, "accepted    3\n", "expression_error")
			out := r.records(t)
			if len(out) != 1 || out[0].field(t, "touch_id") != `"a1"` {
				t.Errorf("the net is\n%s\nwant the credit with a1", r.stdout)
			}
		})
	}
}
