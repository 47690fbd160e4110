package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
