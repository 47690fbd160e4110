package rules

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

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
	unseen := []string{"skipped", "malformed_shuffle", "other_layout", "malformed_line", "unknown_stream"}
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
