package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/rules"
)

// schema compiles what `lookback schema` prints.
func schema(t *testing.T, args ...string) *jsonschema.Schema {
	t.Helper()
	r := command(t, "", append([]string{"schema"}, args...)...)
	r.want(t, exitOK)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.stdout))
	if err != nil {
		t.Fatalf("%v is no JSON: %v", args, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v is no schema: %v", args, err)
	}
	return compiled
}

// document reads YAML as editors do: numbers, booleans and null where they stand without quotes, else text.
func document(t *testing.T, path string) (any, *yaml.Node) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if yaml.Unmarshal(src, &doc) != nil || len(doc.Content) == 0 {
		return nil, nil
	}
	return jsonOf(doc.Content[0]), doc.Content[0]
}

func jsonOf(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = jsonOf(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, jsonOf(c))
		}
		return list
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// Every file that is shipped fits the schema of its kind, tests also that of their own rules.
func TestShippedFilesFitTheirSchemas(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	ofRules, ofTests := schema(t), schema(t, "tests")
	files := []string{"../../rules.yaml", "../../rules_test.yaml", "../../soak/rules.yaml", "../../bench/job.yaml",
		"testdata/options/rules.yaml", "testdata/options/options_test.yaml", "testdata/options/lists.yaml", "testdata/ruletests/failing_test.yaml",
		file(t, "rules.yaml", shopRules), file(t, "rules.yaml", tabledRules)}
	for _, pattern := range []string{"../../examples/*/*.yaml", "../../rules/testdata/good/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		doc, _ := document(t, name)
		of := ofRules
		if strings.HasSuffix(name, "_test.yaml") {
			of = ofTests
			own := filepath.Join(filepath.Dir(name), "rules.yaml")
			if strings.Contains(name, "ruletests") {
				own = "../../rules.yaml"
			}
			if err := schema(t, "tests", own).Validate(doc); err != nil {
				t.Errorf("%s does not fit the schema of tests of its rules: %v", name, err)
			}
		}
		if err := of.Validate(doc); err != nil {
			t.Errorf("%s does not fit: %v", name, err)
		}
	}
}

// structural are the faults that a schema can find: those of a place alone, whatever else the file says.
var structural = regexp.MustCompile(`unknown key|is missing$|is missing: it names|must be a (mapping|list|single value)|must be .* or .*, not "|is not supported yet$|` +
	`has no unit|the units are|never negative|whole number from|is not a name|cannot name a class|unknown type|linear takes nothing|needs its half-life|` +
	`needs a condition for|needs an expression for|needs three parts|no model is named|the list is empty|no streams|is not a size|a broker is|an address is|either file or topic|` +
	`is not a topic name|means something else|every row has a field|a table is a`)

// What is wrong in a place alone the schema refuses there, as the compiler does.
func TestTheSchemaRefusesWhatTheCompilerRefuses(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	files, err := filepath.Glob("../../rules/testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	of := schema(t)
	refused, judged := 0, map[string]bool{}
	for _, name := range files {
		doc, root := document(t, name)
		_, err := rules.Load(name)
		var faults rules.Errors
		if doc == nil || !errors.As(err, &faults) {
			continue // it is no YAML
		}
		found := places(of.Validate(doc))
		paths := map[[2]int][]string{}
		pathsAt(root, "", paths)
		for _, f := range faults {
			if !structural.MatchString(f.Msg) || strings.Contains(f.Snippet, "${") {
				continue
			}
			refused++
			judged[structural.FindString(f.Msg)] = true
			if !slices.ContainsFunc(paths[[2]int{f.Line, f.Col}], func(path string) bool {
				return slices.Contains(found, path) || slices.Contains(found, path[strings.LastIndexByte(path, '/')+1:])
			}) {
				t.Errorf("%s:%d:%d: %s: the schema does not refuse %v, only %v", filepath.Base(name), f.Line, f.Col, f.Msg, paths[[2]int{f.Line, f.Col}], found)
			}
		}
	}
	if refused < 100 || len(judged) < 25 {
		t.Errorf("only %d faults of %d kinds were judged", refused, len(judged))
	}
	for name, text := range map[string]string{
		"a variable in a key": edited(t, shopRules, "lookback: 7d", "${LOOKBACK}: 7d"),
		"a broken variable":   edited(t, shopRules, "lookback: 7d", "lookback: ${LOOK-BACK}"),
	} {
		doc, _ := document(t, file(t, "rules.yaml", text))
		if of.Validate(doc) == nil {
			t.Errorf("%s is not refused", name)
		}
	}
	tests := schema(t, "tests")
	for _, text := range []string{"tests: []", "tests: [{name: a, given: [], expect: {final: []}}]", "tests: [{name: a, given: [{at: soon, x: {}}], expect: {final: []}}]",
		"tests: [{name: a, given: [{watermark: 1h, x: {}}], expect: {final: []}}]", "tests: [{name: a, given: [{at: 1h, x: {}}], expect: {}}]",
		"tests: [{name: a, given: [{at: 1h, x: {}}], arrival: backwards, expect: {final: []}}]", "tests: [{name: a, given: [{at: 1h, x: {}}], arrival: {seed: 1}, expect: {final: []}}]",
		"tests: [{name: a, given: [{at: 1h, x: {}}], expect: {deltas: [{PV: many}]}}]", "tests: [{name: a, given: [{at: 1h, x: {}}], expect: {rejected: [{reason: late_}]}}]",
		"tests: [{name: a, given: [{at: 1h, x: {}}], expect: {final: [{}]}}]", "tests: [{nme: a, given: [{at: 1h, x: {}}], expect: {final: [{class: x}]}}]"} {
		doc, _ := document(t, file(t, "a_test.yaml", text))
		if tests.Validate(doc) == nil {
			t.Errorf("the schema of tests takes %s", text)
		}
	}
	if doc, _ := document(t, "testdata/ruletests/broken_test.yaml"); tests.Validate(doc) == nil {
		t.Error("the schema of tests takes broken_test.yaml")
	}
}

// places are where a document does not fit.
func places(err error) (found []string) {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	path := strings.Join(invalid.InstanceLocation, "/")
	switch k := invalid.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			found = append(found, strings.TrimPrefix(path+"/"+key, "/"))
		}
	case *kind.PropertyNames:
		found = append(found, k.Property) // the library does not say where
	case *kind.Schema, *kind.Group, *kind.Reference:
	default:
		found = append(found, path)
	}
	for _, cause := range invalid.Causes {
		found = append(found, places(cause)...)
	}
	return found
}

// pathsAt tells what stands at each position of a file; a key stands for its value.
func pathsAt(n *yaml.Node, path string, paths map[[2]int][]string) {
	add := func(n *yaml.Node, path string) {
		at := [2]int{n.Line, n.Column}
		paths[at] = append(paths[at], path)
	}
	add(n, path)
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			pathsAt(c, strings.TrimPrefix(path+"/"+strconv.Itoa(i), "/"), paths)
		case i%2 == 1:
			below := strings.TrimPrefix(path+"/"+n.Content[i-1].Value, "/")
			add(n.Content[i-1], below)
			pathsAt(c, below, paths)
		}
	}
}

// takenBackEvents are orders, one with a refund and a click that is fraud, one that is cancelled.
const takenBackEvents = `{"click": {"click_id": "c1", "ts": "2026-01-01T00:00:00Z", "customer": "k", "campaign": "spring"}}
{"click": {"click_id": "c2", "ts": "2026-01-01T01:00:00Z", "customer": "k", "campaign": "fake"}}
{"order": {"order_id": "o1", "ts": "2026-01-02T00:00:00Z", "customer": "k", "total": 100}}
{"refund": {"refund_id": "r1", "ts": "2026-01-03T00:00:00Z", "customer": "k", "order_id": "o1", "amount": 30}}
{"fraud": {"report_id": "f1", "ts": "2026-01-03T00:00:00Z", "customer": "k", "click_id": "c2"}}
{"order": {"order_id": "o2", "ts": "2026-01-02T00:00:00Z", "customer": "k", "total": 100}}
{"cancelled": {"cancel_id": "x1", "ts": "2026-01-03T00:00:00Z", "customer": "k", "order_id": "o2"}}
`

// Rows that replay prints fit the schema of their form, and no other, for rules with every model.
func TestRowsFitTheirSchema(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	generated := file(t, "events.jsonl", command(t, "", "gen", "--events", "20000", "--users", "300").stdout)
	for name, test := range map[string]struct{ rules, events, tables string }{
		"shipped":    {"../../rules.yaml", generated, ""},
		"all models": {file(t, "rules.yaml", everyModel(t)), generated, ""},
		"mediamath":  {"../../examples/mediamath/rules.yaml", file(t, "events.jsonl", mediamathEvents), ""},
		"lists":      {"testdata/options/lists.yaml", "testdata/options/lists.jsonl", ""},
		"refunds":    {"../../examples/refunds/rules.yaml", file(t, "events.jsonl", takenBackEvents), ""},
		"a table":    {file(t, "rules.yaml", strings.ReplaceAll(tabledRules, "    partitioned_by: user\n", "")), file(t, "events.jsonl", tabledEvents), "catalog=" + file(t, "catalog.csv", "product,title\nball,Red ball\n")},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := rules.Load(test.rules)
			if err != nil {
				t.Fatal(err)
			}
			anyRow, ofRules := schema(t, "rows"), schema(t, "rows", test.rules)
			for _, form := range rules.RowForms {
				args := []string{"replay", test.rules, test.events, "--emit", form}
				if test.tables != "" {
					args = append(args, "--table", test.tables)
				}
				r := command(t, "", args...)
				r.want(t, exitOK)
				other := schema(t, "rows", "--emit", rules.RowForms[(slices.Index(rules.RowForms, form)+1)%3])
				own := map[string]*jsonschema.Schema{}
				rows := map[string]int{}
				for _, rule := range plan.Rules {
					own[rule.Name] = schema(t, "rows", test.rules, "--rule", rule.Name, "--emit", form)
				}
				for _, rec := range r.records(t) {
					if rec.reason() != "" {
						continue
					}
					row, err := jsonschema.UnmarshalJSON(strings.NewReader(string(rec.Value)))
					if err != nil {
						t.Fatal(err)
					}
					rule := row.(map[string]any)["rule"].(string)
					if rows[rule]++; rows[rule] > 300 {
						continue
					}
					if err := own[rule].Validate(row); err != nil {
						t.Fatalf("%s does not fit: %v", rec.Value, err)
					}
					if err := anyRow.Validate(row); err != nil {
						t.Fatalf("%s does not fit the schema of any row: %v", rec.Value, err)
					}
					if i := slices.IndexFunc(plan.Rules, func(r *rules.Rule) bool { return r.Name == rule }); form == "final" || form == "deltas" && plan.Rules[i].Deltas || form == "upserts" && plan.Rules[i].Upserts {
						if err := ofRules.Validate(row); err != nil {
							t.Fatalf("%s does not fit that of the rules: %v", rec.Value, err)
						}
					}
					if other.Validate(row) == nil {
						t.Fatalf("%s fits another form", rec.Value)
					}
					row.(map[string]any)["class"] = "PX"
					if own[rule].Validate(row) == nil {
						t.Fatalf("a class that the rule does not have fits")
					}
				}
				for _, rule := range plan.Rules {
					if rows[rule.Name] == 0 {
						t.Errorf("rule %s has no %s", rule.Name, form)
					}
				}
			}
		})
	}
}

// everyModel has all models, columns of all types, and a measure of whole numbers that is divided.
func everyModel(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"    model: last ", "    across: all\n    model: [last, first, linear, {time_decay: 7d}, position, {position: [1, 2, 3], name: late}, {w_shaped: impression.price > 2.5}, {weights: impression.price}] #",
		"      campaign_id: impression.campaign_id", "      campaign_id: impression.campaign_id\n      seen: touch.event_ts\n      long: conversion.event_ts - touch.event_ts > duration(\"24h\")\n      rounded: float(conversion.value)\n      cents: conversion.value * 100\n      ten: 10",
		"      revenue: conversion.value", "      revenue: conversion.value\n      orders: 1",
		"click.auction_id == impression.auction_id", "conversion.user_id == click.user_id",
	).Replace(string(text))
}

const tabledEvents = `{"ad": {"ad_id": "a1", "at": "2026-01-01T10:00:00Z", "user": "u1", "product": "ball", "until": "2026-02-01T00:00:00Z"}}
{"ad": {"ad_id": "a2", "at": "2026-01-01T11:00:00Z", "user": "u1", "product": "ball", "until": "2026-02-01T00:00:00Z"}}
{"sale": {"sale_id": "s1", "at": "2026-01-01T12:00:00Z", "user": "u1", "product": "ball", "price": 5}}
{"ad": {"ad_id": "a3", "at": "2026-01-01T11:30:00Z", "user": "u1", "product": "ball", "until": "2026-02-01T00:00:00Z"}}
`

const mediamathEvents = `{"impression": {"impression_id": "i1", "ts": 1767225600, "user_id": "u1", "advertiser_id": "a1", "auction_id": "x1", "pixel_id": "p1", "campaign_id": "c1"}}
{"conversion": {"conversion_id": "e1", "ts": 1767229200, "user_id": "u1", "advertiser_id": "a1", "pixel_id": "p1"}}
{"click": {"click_id": "k1", "ts": 1767227400, "user_id": "u1", "advertiser_id": "a1", "auction_id": "x1"}}
`

func TestSchemaRefusesWhatThereIsNot(t *testing.T) {
	t.Parallel()
	file := file(t, "rules.yaml", shopRules)
	for line, want := range map[string]string{
		"schema table":                    `there are schemas of rules, tests and rows`,
		"schema rules $":                  "the schema of rules files is one for all",
		"schema rows $ $":                 "unexpected argument",
		"schema rules --rule credit":      "they choose among rows",
		"schema tests $ --emit deltas":    "they choose among rows",
		"schema rows --emit both":         "use deltas, upserts or final",
		"schema rows --rule credit":       "of which rules file?",
		"schema rows $ --rule attributed": "no such rule",
	} {
		command(t, "", strings.Fields(strings.ReplaceAll(line, "$", file))...).want(t, exitUsage, want)
	}
	command(t, "", "schema", "rows", file+".gone").want(t, exitFailed, "read the rules file")
}
