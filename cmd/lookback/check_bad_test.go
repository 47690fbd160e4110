package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// shopRules is a rules file without fault, one line per thing that tests spoil.
const shopRules = `app: shop
commit_interval: 20ms
watermark_interval: 50ms
idle_timeout: 200ms
topics: {partitions: 3}
streams:
  ad:
    topic: shop.ads
    fields: {ad_id: string, at: time, user: string, product: string, tags: string, weight: int}
    time: at
    id: ad_id
    where: 'tags != "internal" and 100 % (weight + 1) >= 0'
    max_age: 48h
    lateness: 1m
  sale:
    topic: shop.sales
    fields: {sale_id: string, at: time, user: string, product: string, nth: int, price: decimal}
    time: at
    id: sale_id
    lateness: 1m
rules:
  - name: credit
    attribute: sale
    key: user
    lookback: 7d
    join:
      ad: sale.product == ad.product
    classes:
      seen: {touch: ad, within: 1d}
    select:
      product: ad.product
    measure:
      revenue: sale.price
    unattributed: emit
    into: shop.credit
`

func TestCheckExplainsFaultsOfTheFile(t *testing.T) {
	t.Setenv("SHOP_SECRET", "hunter2")
	for name, test := range map[string]struct {
		text string
		want []string // of standard error, without the file's name
	}{
		"empty":               {"", []string{":1:1: the file is empty\n"}},
		"blank":               {" \n\n", []string{":1:1: the file is empty\n"}},
		"comments":            {"# later\n", []string{":1:1: the file has no content but comments\n"}},
		"truncated":           {shopRules[:strings.Index(shopRules, "product: string, tags")], []string{":9:1: not YAML: did not find expected node content\n", "    fields: {ad_id: string, at: time, user: string,\n  ^\n"}},
		"not UTF-8":           {"app: sh\xffop\n", []string{":1:8: the byte 0xff is not UTF-8\n"}},
		"UTF-16":              {"\xff\xfea\x00", []string{":1:1: the file is UTF-16; save it as UTF-8\n"}},
		"50 MB":               {strings.Repeat("# filler\n", 50<<20/9), []string{":1:1: the file has ", " bytes; a rules file has at most 1048576\n"}},
		"nested":              {"app: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), []string{":1:106: nested more than 100 levels deep\n"}},
		"nested, as text":     {"app: " + strings.Repeat("{a: ", 200_000), []string{":1:1: not YAML: "}},
		"bomb of anchors":     {"a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n", []string{":1:4: anchors are not supported", ":2:4: anchors", ":3:4: anchors"}},
		"two documents":       {shopRules + "---\napp: other\n", []string{":36:1: a second YAML document; a rules file has one\n"}},
		"a list":              {"- app: shop\n", []string{":1:1: a rules file is a mapping with app, streams and rules, not a list\n"}},
		"unknown key":         {edited(t, shopRules, "lookback: 7d", "lookbak: 7d"), []string{`:25:5: rule "credit": unknown key "lookbak" (did you mean "lookback"?)`, "\n      lookbak: 7d\n      ^\n"}},
		"duplicate key":       {edited(t, shopRules, "    lookback: 7d\n", "    lookback: 7d\n    lookback: 1d\n"), []string{`:26:5: rule "credit": "lookback" is given twice, first in line 25`, "\n      lookback: 1d\n      ^\n"}},
		"window too long":     {edited(t, shopRules, "within: 1d", "within: 30d"), []string{`rule "credit": classes.seen.within: 30d is longer than the rule's lookback of 7d`, "^"}},
		"not boolean":         {edited(t, shopRules, "ad: sale.product == ad.product", "ad: ad.product"), []string{`:27:11: rule "credit": join.ad: must be true or false, but "ad.product" is string`, "^"}},
		"where not boolean":   {edited(t, shopRules, `'tags != "internal" and 100 % (weight + 1) >= 0'`, "weight + 1"), []string{`:12:12: stream "ad": where: must be true or false, but "weight + 1" is int`}},
		"unknown field":       {edited(t, shopRules, "== ad.product", "== ad.prodct"), []string{`unknown field "prodct" (did you mean "product"?)`}},
		"unknown stream":      {edited(t, shopRules, "attribute: sale", "attribute: sales"), []string{`unknown stream "sales" (did you mean "sale"?)`}},
		"missing variable":    {edited(t, shopRules, "topic: shop.ads", "topic: ${SHOP_NO_SUCH}"), []string{`:8:12: stream "ad": topic: environment variable SHOP_NO_SUCH is not set; ${SHOP_NO_SUCH:-default} gives it a default`}},
		"required variable":   {edited(t, shopRules, "topic: shop.ads", `topic: "${SHOP_NO_SUCH:?name the topic}"`), []string{`environment variable SHOP_NO_SUCH: name the topic`}},
		"secret in a fault":   {edited(t, shopRules, "lookback: 7d", "lookback: ${SHOP_SECRET}"), []string{`"${SHOP_SECRET}" is not valid here once environment variables are put in`}},
		"chain":               {edited(t, shopRules, "attribute: sale", "chain: [ad, sale]"), []string{`rule "credit": chain is not supported yet`}},
		"union":               {edited(t, shopRules, "attribute: sale", "union: [a, b]"), []string{`union is not supported yet`}},
		"window":              {edited(t, shopRules, "lookback: 7d", "window: {tumbling: 1m}"), []string{`window is not supported yet`}},
		"model":               {edited(t, shopRules, "lookback: 7d", "lookback: 7d\n    model: time_decay"), []string{`time_decay needs its half-life: {time_decay: 7d}`}},
		"several models":      {edited(t, shopRules, "lookback: 7d", "lookback: 7d\n    model: [last, last]"), []string{`a model of this rule is named "last" already`}},
		"lists of lists":      {edited(t, shopRules, "tags: string", "tags: list<list<string>>"), []string{`fields.tags: type "list<list<string>>": elements of a list are single values`, "^"}},
		"a list and a text":   {edited(t, shopRules, "tags: string", "tags: list<string>"), []string{`:12:18: stream "ad": where: != between list<string> and string; in tells whether a list has an element`, "^"}},
		"clock":               {edited(t, shopRules, "product: ad.product\n    measure", "product: string(now())\n    measure"), []string{`now() sees the clock`}},
		"constant zero":       {edited(t, shopRules, "100 % (weight + 1) >= 0", "1 % 0 > 0"), []string{`stream "ad": where: `, "divide by zero"}},
		"two writers":         {shopRules + strings.ReplaceAll(shopRules[strings.Index(shopRules, "  - name"):], "name: credit", "name: other"), []string{`rule "other": into: topic "shop.credit" is already written by rule "credit"`}},
		"same name":           {shopRules + strings.ReplaceAll(shopRules[strings.Index(shopRules, "  - name"):], "into: shop.credit", "into: shop.other"), []string{`:36:11: rule 2: name: a rule of this name is in line 22`}},
		"writes what it read": {edited(t, shopRules, "into: shop.credit", "into: shop.ads"), []string{`rule "credit": into: topic "shop.ads" is already the topic of stream "ad"`}},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "rules.yaml", test.text)
			r := command(t, "", "check", path)
			texts := test.want
			if strings.HasPrefix(texts[0], ":") {
				texts = append([]string{path + texts[0]}, texts[1:]...)
			}
			r.want(t, exitFailed, texts...)
			if t.Failed() {
				return // what is no fault would run for good
			}
			if r.stdout != "" {
				t.Errorf("standard output has %q", r.stdout)
			}
			if strings.Contains(r.stderr, "hunter2") {
				t.Errorf("the value of an environment variable is shown:\n%s", r.stderr)
			}
			for _, args := range [][]string{{"replay", path, "-"}, {"run", path}, {"dev", path}} {
				if again := command(t, "", args...); again.code != exitFailed || again.stderr != r.stderr {
					t.Errorf("%s exits with %d and says\n%s\nbut check says\n%s", args[0], again.code, shorten(again.stderr), shorten(r.stderr))
				}
			}
		})
	}
}

// Every fault has its position and its line with a caret, in the order of the file, and none hides another.
func TestCheckReportsAllFaultsAtOnce(t *testing.T) {
	text := shopRules
	for old, new := range map[string]string{
		"max_age: 48h": "max_age: soon", "key: user": "key: usr", "within: 1d": "within: 8d", "unattributed: emit": "unatributed: emit",
	} {
		text = edited(t, text, old, new)
	}
	path := file(t, "rules.yaml", text)
	command(t, "", "check", path).want(t, exitFailed,
		path+`:13:14: stream "ad": max_age: `, "\n      max_age: soon\n               ^\n",
		path+`:24:10: rule "credit": key: `, "\n      key: usr\n           ^\n",
		path+`:29:33: rule "credit": classes.seen.within: 8d is longer`, "\n        seen: {touch: ad, within: 8d}\n                                  ^\n",
		path+`:34:5: rule "credit": unknown key "unatributed" (did you mean "unattributed"?)`, "\n      unatributed: emit\n      ^\n")
}

func TestCheckOfSeveralFiles(t *testing.T) {
	good := file(t, "good.yaml", shopRules+"delivery: at_least_once\n")
	clean := file(t, "clean.yaml", edited(t, shopRules, "unattributed: emit", "emit: upserts"))
	bad := file(t, "bad.yaml", "app: shop\n")
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	for name, test := range map[string]struct {
		args []string
		code int
		out  []string // what the lines of standard output begin with
		errs []string // what standard error has
	}{
		"good":                     {[]string{good}, exitOK, []string{good + ": ok: app shop, 2 streams, 0 tables, 1 rules, hash "}, []string{good + `: warning: rule "credit": deltas under at_least_once`}},
		"warnings may be fatal":    {[]string{"--lint-fatal", good}, exitFindings, []string{good + ": ok"}, []string{": warning: "}},
		"without warnings":         {[]string{"--lint-fatal", clean}, exitOK, []string{clean + ": ok"}, nil},
		"failed is not just found": {[]string{"--lint-fatal", good, bad}, exitFailed, []string{good + ": ok"}, []string{bad + ":1:1: streams is missing"}},
		"good behind bad":          {[]string{bad, good}, exitFailed, []string{good + ": ok"}, []string{bad + ":1:1: rules is missing", good + ": warning"}},
		"missing":                  {[]string{missing}, exitFailed, nil, []string{missing + ": no such file or directory"}},
		"directory":                {[]string{t.TempDir()}, exitFailed, nil, []string{"is a directory"}},
		"bad format":               {[]string{"--format", "xml", good}, exitUsage, nil, []string{"--format xml: use text or json", "Run 'lookback check --help' for usage."}},
		"bad brokers":              {[]string{"--connect", "--brokers", "kafka", good}, exitUsage, nil, []string{`brokers "kafka": a broker is host:port`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, "", append([]string{"check"}, test.args...)...)
			r.want(t, test.code, test.errs...)
			lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
			if r.stdout == "" {
				lines = nil
			}
			if len(lines) != len(test.out) {
				t.Fatalf("standard output has\n%s", r.stdout)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, test.out[i]) {
					t.Errorf("line %q does not begin with %q", line, test.out[i])
				}
			}
		})
	}
}

func TestCheckAsJSON(t *testing.T) {
	good := file(t, "good.yaml", shopRules+"delivery: at_least_once\n")
	bad := file(t, "bad.yaml", edited(t, edited(t, shopRules, "key: user", "key: usr"), "lookback: 7d", "lookback: 0s"))
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	r := command(t, "", "check", "--format", "json", good, bad, missing)
	if r.code != exitFailed || r.stderr != "" {
		t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
	}
	var got []checked
	for line := range strings.Lines(r.stdout) {
		var c checked
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, c)
	}
	if len(got) != 3 {
		t.Fatalf("%d lines, want one per file", len(got))
	}
	if g := got[0]; !g.OK || g.File != good || g.Hash == "" || len(g.Errors) > 0 || len(g.Warnings) != 1 {
		t.Errorf("the good file: %+v", g)
	}
	if g := got[1]; g.OK || g.File != bad || len(g.Errors) != 2 || g.Errors[0].Line != 24 || g.Errors[0].Column != 10 ||
		g.Errors[1].Line != 25 || g.Errors[1].Message != `rule "credit": lookback: must be longer than 0` {
		t.Errorf("the bad file: %+v", g)
	}
	if g := got[2]; g.OK || g.File != missing || len(g.Errors) != 1 || g.Errors[0].Line != 0 {
		t.Errorf("the missing file: %+v", g)
	}
}

func TestCheckWithoutArgumentsTakesRulesYAML(t *testing.T) {
	t.Chdir(t.TempDir())
	command(t, "", "check").want(t, exitFailed, "open rules.yaml: no such file or directory")
	writeFile(t, "rules.yaml", shopRules)
	if r := command(t, "", "check"); r.code != exitOK || !strings.HasPrefix(r.stdout, "rules.yaml: ok: ") {
		t.Errorf("exit code %d, output %q", r.code, r.stdout)
	}
}
