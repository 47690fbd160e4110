package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// What the compiler takes in a place the schema describes there, and nothing else: a key that is added to one of them alone fails here.
func TestSchemasSayWhatTheCompilerTakes(t *testing.T) {
	rulesFiles, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(rulesFiles) == 0 {
		t.Fatal(rulesFiles, err)
	}
	schema := RulesSchema()
	drift := newDrift(t, schema)
	for _, file := range rulesFiles {
		src := readFile(t, file)
		c := newCompiler(file, func(name string) (string, bool, error) {
			v, set := testEnv(name)
			return v, set, nil
		})
		c.told = drift.told
		_, _ = c.compile(src) // what a faulty file may say counts as well
		drift.judge(file)
	}
	drift.wantAllVisited(schema, "")

	tests := TestsSchema(nil)
	drift = newDrift(t, tests)
	for _, text := range []string{everyTestKey, strings.Replace(everyTestKey, "arrival: {duplicated: true, every_order: false, shuffled: 9, seed: 3}", "arrival: duplicated", 1)} {
		dir := t.TempDir()
		for name, content := range map[string]string{"rules.yaml": testedRules, "a_test.yaml": text} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := newTestCompiler(filepath.Join(dir, "a_test.yaml"), []byte(text), load)
		c.told = drift.told
		if _, err := c.compile([]byte(text)); err != nil {
			t.Fatal(err)
		}
		drift.streams = []string{"view", "sale"}
		drift.judge("a_test.yaml")
	}
	row := []string{"[]"}
	drift.visit(slices.Concat([]string{"tests", "[]", "expect", "final"}, row), slices.Clone(finalFields))
	drift.visit(slices.Concat([]string{"tests", "[]", "expect", "deltas", "[]"}, row), slices.Concat(finalFields, expectedDeltaFields))
	for _, name := range []string{"rejected", "late"} {
		drift.visit(slices.Concat([]string{"tests", "[]", "expect", name}, row), []string{RecordStream, RecordReason, RecordMessage})
	}
	drift.visit([]string{"tests", "[]", "expect", "deltas", "[]"}, []string{givenArrives})
	drift.wantAllVisited(tests, "")
}

// everyTestKey is a tests file with every mapping that one can have.
const everyTestKey = `env: {LATENESS: 5m}
start: 2026-01-01T00:00:00Z
tests:
  - name: a
    rule: r
    model: last
    given: [{at: 1h, arrives: 2h, view: {id: v1, u: u}}]
    arrival: {duplicated: true, every_order: false, shuffled: 9, seed: 3}
    expect: {final: [], rejected: []}
`

// drift holds a schema against what a compiler takes.
type drift struct {
	t       *testing.T
	schema  *Schema
	streams []string // that a test's record may be named by
	places  []place  // of the file in hand, in the order in which they were compiled
	visited map[*Schema]bool
	said    map[string]bool
}

// errorf reports a difference once, in however many places it shows.
func (d *drift) errorf(format string, args ...any) {
	d.t.Helper()
	if text := fmt.Sprintf(format, args...); !d.said[text] {
		d.said[text] = true
		d.t.Error(text)
	}
}

// place is something that the compiler has read.
type place struct {
	node *yaml.Node
	what allowed
}

func newDrift(t *testing.T, schema *Schema) *drift {
	return &drift{t: t, schema: schema, visited: map[*Schema]bool{}, said: map[string]bool{}}
}

func (d *drift) told(v value, what allowed) { d.places = append(d.places, place{v.node, what}) }

// judge compares what was compiled of a file.
func (d *drift) judge(file string) {
	d.t.Helper()
	if len(d.places) == 0 {
		return // it is no YAML
	}
	paths := map[*yaml.Node][]string{}
	nodePaths(d.places[0].node, nil, paths) // the first is the whole document
	for _, p := range d.places {
		path, ok := paths[p.node]
		where := file + ": " + strings.Join(path, ".")
		if !ok {
			d.errorf("%s: something was compiled that is not in the file", file)
			continue
		}
		of := d.schema.at(path)
		switch {
		case len(of) == 0:
			// A key that the compiler has refused before, or a kind of node that nothing takes.
		case p.what.keys != nil:
			d.visit(path, p.what.keys)
		case p.what.choices != nil:
			d.wantChoices(where, of, p.what.choices)
		case p.what.high > 0:
			if !slices.ContainsFunc(of, func(s *Schema) bool {
				return s.Minimum != nil && *s.Minimum == p.what.low && *s.Maximum == p.what.high
			}) {
				d.errorf("%s: the compiler takes numbers from %d to %d, the schema does not say so", where, p.what.low, p.what.high)
			}
		case p.what.duration:
			if !slices.ContainsFunc(of, func(s *Schema) bool { return strings.Contains(s.Pattern, durationPattern) }) {
				d.errorf("%s: the compiler takes a duration, the schema does not say so", where)
			}
		}
	}
	d.places = nil
}

// neverRight are keys that the compiler knows and refuses with whatever stands behind them.
var neverRight = map[string][]string{"model": {Last.String(), First.String(), Linear.String()}}

// visit compares the keys of a mapping.
func (d *drift) visit(path []string, keys []string) {
	d.t.Helper()
	known := func(key string) bool {
		return slices.Contains(d.streams, key) || slices.Contains(neverRight[path[len(path)-1]], key) ||
			len(path) > 1 && slices.Contains(neverRight[path[len(path)-2]], key)
	}
	for _, s := range d.schema.at(path) {
		if s.Properties == nil {
			continue
		}
		d.visited[s] = true
		for _, key := range keys {
			if s.Properties.find(key) == nil && (len(path) == 0 || !known(key)) {
				d.errorf("%s: the compiler takes the key %q and the schema does not: describe it in rules/schema_*.go", strings.Join(path, "."), key)
			}
		}
		for _, p := range s.Properties {
			if !slices.Contains(keys, p.name) {
				d.errorf("%s: the schema has the key %q and the compiler refuses it", strings.Join(path, "."), p.name)
			}
			if text := p.schema.Description; text == "" || !strings.HasSuffix(text, ".") || !regexp.MustCompile(`^[A-Z0-9.]`).MatchString(text) {
				d.errorf("%s.%s: a description is a sentence, not %q", strings.Join(path, "."), p.name, text)
			}
		}
	}
}

// wantChoices compares words.
func (d *drift) wantChoices(where string, of []*Schema, choices []string) {
	d.t.Helper()
	var words []string
	for _, s := range of {
		for _, word := range s.Enum {
			words = append(words, fmt.Sprint(word))
		}
		if s.Type == "boolean" {
			words = append(words, "true", "false")
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	var want []string
	for _, choice := range choices {
		if kind := slices.Index(modelNames[:], choice); kind < 0 || modelNeeds[kind] == "" {
			want = append(want, choice)
		}
	}
	if slices.Sort(want); !slices.Equal(words, want) {
		d.errorf("%s: the compiler takes %v, the schema %v", where, want, words)
	}
}

// wantAllVisited reports mappings of the schema that the compiler has met in no file.
func (d *drift) wantAllVisited(s *Schema, path string) {
	d.t.Helper()
	if s == nil {
		return
	}
	if s.Properties != nil && !d.visited[s] {
		d.t.Errorf("%s: no test file has this mapping: add it to testdata/good/everything.yaml", path)
	}
	for _, p := range s.Properties {
		d.wantAllVisited(p.schema, path+"."+p.name)
	}
	if of, ok := s.AdditionalProperties.(*Schema); ok {
		d.wantAllVisited(of, path+".*")
	}
	d.wantAllVisited(s.Items, path+"[]")
	for _, of := range s.AnyOf {
		d.wantAllVisited(of, path)
	}
}

// at returns what the schema says of a path: keys, and [] for items of lists.
func (s *Schema) at(path []string) []*Schema {
	all := []*Schema{s}
	for _, of := range s.AnyOf {
		all = append(all, of.at(nil)...)
	}
	if len(path) == 0 {
		return all
	}
	var found []*Schema
	for _, of := range all {
		next := of.Properties.find(path[0])
		if any, ok := of.AdditionalProperties.(*Schema); next == nil && ok {
			next = any
		}
		if path[0] == "[]" {
			next = of.Items
		}
		if next != nil {
			found = append(found, next.at(path[1:])...)
		}
	}
	return found
}

// nodePaths tells where nodes are in a document.
func nodePaths(n *yaml.Node, path []string, paths map[*yaml.Node][]string) {
	paths[n] = path
	for i, c := range n.Content {
		step := "[]"
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			step = n.Content[i-1].Value
		}
		nodePaths(c, append(slices.Clone(path), step), paths)
	}
}

// A default of the schema is what the compiler does where the key is missing.
func TestDefaultsOfTheSchemaAreThoseOfTheCompiler(t *testing.T) {
	const file = "testdata/good/minimal.yaml"
	src := readFile(t, file)
	compiled := func(src []byte) (*Plan, error) { return Compile(file, src, testEnv) }
	want, err := compiled(src)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	try := func(path ...string) {
		of := RulesSchema()
		for _, step := range path {
			found := of.at([]string{step})
			if _, err := strconv.Atoi(step); err == nil {
				found = of.at([]string{"[]"})
			}
			of = found[0]
		}
		for _, p := range of.Properties {
			if p.schema.Default == nil || p.name == "cache" || p.name == "click_after_conversion" {
				continue // the cache is sized when it is known how much memory there is; no click after a conversion needs a preset
			}
			tried++
			var root yaml.Node
			if err := yaml.Unmarshal(src, &root); err != nil {
				t.Fatal(err)
			}
			at := root.Content[0]
			for _, step := range path {
				at = descend(at, step)
			}
			at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: p.name}, &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(p.schema.Default)})
			text, err := yaml.Marshal(&root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := compiled(text)
			switch {
			case err != nil:
				t.Errorf("%s.%s: %v", strings.Join(path, "."), p.name, err)
			case got.Hash != want.Hash || fmt.Sprint(got.Settings) != fmt.Sprint(want.Settings) || got.Keys[0].MaxTouches != want.Keys[0].MaxTouches:
				t.Errorf("%s.%s: %v, which the schema calls the default, changes the rules", strings.Join(path, "."), p.name, p.schema.Default)
			}
		}
	}
	try()
	for _, name := range []string{"kafka", "topics", "state", "http"} {
		try(name)
	}
	try("streams", "view")
	try("rules", "0")
	try("rules", "0", "classes", "seen")
	if tried < 25 {
		t.Errorf("%d defaults were tried", tried)
	}
}

// descend returns the node at a step, which it adds where there is none.
func descend(n *yaml.Node, step string) *yaml.Node {
	if i, err := strconv.Atoi(step); err == nil {
		return n.Content[i]
	}
	if v := valueNode(n, step); v != n {
		return v
	}
	v := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: step}, v)
	return v
}

// The documentation has a line for each key, with the default that the schema has.
func TestTheDocumentationHasEveryKey(t *testing.T) {
	rows := map[string]map[string]string{} // by heading and key, what stands in the column `default`
	heading, table := "", false
	for line := range strings.Lines(string(readFile(t, "../docs/rules.md"))) {
		if title, ok := strings.CutPrefix(line, "#"); ok {
			heading = strings.TrimSpace(strings.TrimLeft(title, "#"))
		}
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			table = false
			continue
		}
		if strings.TrimSpace(cells[1]) == "key" {
			table = true
		}
		if !table {
			continue
		}
		if rows[heading] == nil {
			rows[heading] = map[string]string{}
		}
		rows[heading][strings.Trim(strings.TrimSpace(cells[1]), "`")] = strings.TrimSpace(cells[2])
	}
	elsewhere := []string{"click_after_conversion", "let.*", "join.*", "select.*", "measure.*"} // has a text of its own
	var keys func(heading, prefix string, s *Schema)
	keys = func(heading, prefix string, s *Schema) {
		for _, p := range s.Properties {
			cell, ok := rows[heading][prefix+p.name]
			switch {
			case slices.Contains(elsewhere, p.name):
				continue
			case !ok && p.schema.Properties != nil:
				keys(heading, p.name+".", p.schema)
				continue
			case !ok:
				t.Errorf("docs/rules.md, %s: no line for `%s%s`", heading, prefix, p.name)
				continue
			}
			if want, isDefault := strings.Trim(cell, "`"), cell != strings.Trim(cell, "`"); isDefault && p.schema.Default != nil && fmt.Sprint(p.schema.Default) != want ||
				p.schema.Default != nil && !isDefault && heading != "Tables" || p.required != (cell == "required") && heading != "Tables" {
				t.Errorf("docs/rules.md, %s: `%s%s` has the default %s, the schema %v, required %v", heading, prefix, p.name, cell, p.schema.Default, p.required)
			}
		}
	}
	top := RulesSchema()
	keys("Top level", "", top)
	keys("Streams", "", top.at([]string{"streams", "x"})[0])
	keys("Tables", "", top.at([]string{"tables", "x"})[0])
	keys("Rules", "", top.at([]string{"rules", "[]"})[0])
	keys("Classes", "", top.at([]string{"rules", "[]", "classes", "x"})[0])
}

// The reasons that a test may expect are those that the documentation has, but for those that no test sees.
func TestReasonsAreThoseOfTheDocumentation(t *testing.T) {
	_, section, _ := strings.Cut(string(readFile(t, "../docs/semantics.md")), "| reason | the record |\n")
	var documented []string
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			break
		}
		for _, word := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			documented = append(documented, word[1])
		}
	}
	unseen := []string{"malformed_shuffle", "other_layout", "malformed_line", "unknown_stream"}
	if got := slices.Sorted(slices.Values(slices.Concat(refusals, unseen))); !slices.Equal(got, slices.Sorted(slices.Values(documented))) {
		t.Errorf("the schema has the reasons %v, the documentation %v", got, documented)
	}
}

// Every field of a row has a description, in every form, and columns come between what rows begin and end with.
func TestRowsSchemaHasColumnsInTheirOrder(t *testing.T) {
	p, err := Compile("everything.yaml", readFile(t, "testdata/good/everything.yaml"), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range RowForms {
		definitions := RowsSchema(p, form).Definitions
		if len(definitions) != len(p.Rules) {
			t.Fatalf("%s: %d definitions of %d rules", form, len(definitions), len(p.Rules))
		}
		var names []string
		for _, field := range definitions[0].schema.Properties {
			names = append(names, field.name)
			if field.schema.Description == "" {
				t.Errorf("%s.%s is not described", form, field.name)
			}
		}
		own := map[string][]string{FormDeltas: deltaFields, FormUpserts: upsertFields}[form]
		if want := slices.Concat(finalFields, []string{"campaign", "winner", "hour", "expensive", "revenue", "doubled", "one"}, own); !slices.Equal(names, want) {
			t.Errorf("%s has the fields %v, want %v", form, names, want)
		}
	}
	// by_user writes deltas alone.
	var names []string
	for _, d := range RowsSchema(p, "").Definitions {
		names = append(names, d.name)
	}
	if want := "attributed.deltas by_user.deltas attributed.upserts attributed.final by_user.final"; strings.Join(names, " ") != want {
		t.Errorf("definitions %v, want %s", names, want)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
