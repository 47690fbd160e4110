package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// catalogRules is shopRules with a table whose source is a placeholder.
func catalogRules(t *testing.T, source string) string {
	text := edited(t, shopRules, "rules:\n", "tables:\n  catalog: {"+source+", key: product, fields: {product: string, title: string, rank: int}}\nrules:\n")
	return edited(t, text, "      product: ad.product\n", "      title: catalog[ad.product].title\n")
}

func TestBadTableFilesAreExplained(t *testing.T) {
	for name, test := range map[string]struct {
		file, text string
		want       []string // in this order; $ is the file's path
	}{
		"duplicate keys":  {"c.csv", "product,title,rank\np,P,1\nq,Q,2\np,R,3\n", []string{`$:4: duplicate key "p" (first on line 2)`}},
		"wrong type":      {"c.csv", "product,title,rank\np,P,first\nq,Q,2\nr,R,1.5\n", []string{`$:2: field "rank": expected int`, `$:4: field "rank": expected int`}},
		"missing column":  {"c.csv", "product,rank\np,1\n", []string{`$:1: there is no column "title": the header has product, rank`}},
		"columns twice":   {"c.csv", "product,title,title,rank\n", []string{`$:1: columns 2 and 3 are both named "title"`}},
		"short row":       {"c.csv", "product,title,rank\np,P\n", []string{`$:2: wrong number of fields`}},
		"stray quote":     {"c.csv", "product,title,rank\np,\"P,1\n", []string{`$:2: `, `quote`}},
		"empty key":       {"c.csv", "product,title,rank\n,P,1\n", []string{`$:2: empty key "product"`}},
		"empty file":      {"c.csv", "", []string{`$:1: the file is empty: the first line must name the columns`}},
		"not UTF-8":       {"c.csv", "product,title,rank\np,\xff,1\n", []string{`$:2: `, `UTF-8`}},
		"JSON, truncated": {"c.jsonl", `{"product":"p"` + "\n", []string{`$:1: `, `unexpected end`}},
		"JSON, twice":     {"c.jsonl", `{"product":"p"}` + "\n\n" + `{"product":"p","title":"P"}` + "\n", []string{`$:3: duplicate key "p" (first on line 1)`}},
		"JSON, type":      {"c.jsonl", `{"product":"p","rank":"1"}` + "\n", []string{`$:1: field "rank": expected int, found string "1"`}},
		"JSON, no key":    {"c.jsonl", `{"title":"P"}` + "\n", []string{`$:1: empty key "product"`}},
	} {
		t.Run(name, func(t *testing.T) {
			table := file(t, test.file, test.text)
			rules := file(t, "rules.yaml", catalogRules(t, fmt.Sprintf("file: %q", table)))
			want := make([]string, len(test.want))
			for i, text := range test.want {
				want[i] = strings.ReplaceAll(text, "$", table)
			}
			command(t, "", "check", rules).want(t, exitFailed, want...)
			r := command(t, ad("a1", "u")+"\n"+sale("s1", "u"), "replay", rules, "-")
			r.want(t, exitFailed, want...)
			if r.stdout != "" {
				t.Errorf("replay goes on without its table:\n%s", r.stdout)
			}
		})
	}
}

func TestAMissingTableFileIsExplained(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "catalog.csv")
	rules := file(t, "rules.yaml", catalogRules(t, fmt.Sprintf("file: %q", missing)))
	const want = ": there is no such file: create it, or correct the table's file in the rules"
	command(t, "", "check", rules).want(t, exitFailed, missing, want)
	command(t, "", "replay", rules, "-").want(t, exitFailed, missing, want)
	command(t, "", "replay", rules, "-", "--table", "catalog="+missing+".jsonl").want(t, exitFailed, missing+".jsonl", want)
	command(t, "", "replay", rules, "-", "--table", "catalog="+t.TempDir()).want(t, exitFailed, "unknown file type")
}

// --table names a file in the place of the table's own, and for a table that comes from a topic.
func TestTablesCanBeReadFromOtherFiles(t *testing.T) {
	own := file(t, "own.csv", "product,title,rank\np,own,1\n")
	other := file(t, "other.jsonl", `{"product":"p","title":"other"}`+"\n")
	events := ad("a1", "u") + "\n" + sale("s1", "u")
	for name, test := range map[string]struct {
		source string
		args   []string
		title  string
	}{
		"own":     {fmt.Sprintf("file: %q", own), nil, `"own"`},
		"other":   {fmt.Sprintf("file: %q", own), []string{"--table", "catalog=" + other}, `"other"`},
		"missing": {fmt.Sprintf("file: %q", own+".csv"), []string{"--table", "catalog=" + own}, `"own"`},
		"topic":   {"topic: shop.catalog", []string{"--table", "catalog=" + other}, `"other"`},
	} {
		t.Run(name, func(t *testing.T) {
			rules := file(t, "rules.yaml", catalogRules(t, test.source))
			r := command(t, events, append([]string{"replay", rules, "-", "--emit", "final"}, test.args...)...)
			r.want(t, exitOK)
			if out := r.records(t); len(out) != 1 || out[0].field(t, "title") != test.title {
				t.Errorf("the net is\n%s\nwant title %s", r.stdout, test.title)
			}
		})
	}
}

func TestATableWithoutAFileIsAUsageError(t *testing.T) {
	rules := file(t, "rules.yaml", catalogRules(t, "topic: shop.catalog"))
	command(t, "", "check", rules).want(t, exitOK)
	command(t, "", "replay", rules, "-").want(t, exitUsage, `table "catalog" comes from a topic: give it as a file, --table catalog=FILE`)
	command(t, "", "replay", rules, "-", "--table", "catalogue=x.csv").want(t, exitUsage, "--table catalogue: no such table in the rules")
}
