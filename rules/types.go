package rules

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// fieldTypes are the types of a single value, by what a rules file writes for them.
var fieldTypes = map[string]codecs.Field{
	"string": {Type: codecs.String}, "bool": {Type: codecs.Bool}, "int": {Type: codecs.Int}, "float": {Type: codecs.Float},
	"decimal": {Type: codecs.Decimal}, "bytes": {Type: codecs.Bytes}, "time": {Type: codecs.Time},
	"time_s": {Type: codecs.Time, Unit: codecs.Seconds}, "time_ms": {Type: codecs.Time, Unit: codecs.Milliseconds},
	"time_us": {Type: codecs.Time, Unit: codecs.Microseconds},
}

// otherNames are what other systems call lists, maps and records.
var otherNames = map[string]string{
	"array": "list<string>", "list": "list<string>", "map": "map<string>", "row": "{name: string}", "struct": "{name: string}",
	"record": "{name: string}", "object": "{name: string}", "tuple": "{name: string}", "multiset": "list<string>", "set": "list<string>",
}

// fieldType reads a type: a word, list<word> or map<word>, a mapping of names to types for a record, or a list with one
// type in it. It has no type where that failed. depth counts what is around it.
func (v value) fieldType(depth int) (t codecs.Field) {
	if v.node.Kind != yaml.ScalarNode && depth == codecs.MaxNesting {
		v.errorf("lists, maps and records are more than %d deep in one another", codecs.MaxNesting)
		return t
	}
	switch v.node.Kind {
	case yaml.MappingNode:
		return v.recordType(depth + 1)
	case yaml.SequenceNode:
		if len(v.node.Content) != 1 {
			v.errorf("a list is written with the one type of its elements, like list<string> or [{name: string}]")
			return t
		}
		inner := v.child("[]", v.node.Content[0])
		if inner.node.Kind == yaml.SequenceNode {
			inner.errorf("a list of lists is not supported; put a record between them: [{items: list<string>}]")
			return t
		}
		elem := inner.fieldType(depth + 1)
		if elem.Type != codecs.Null && elem.Type != codecs.Struct && elem.Of != nil {
			inner.errorf("a list of type %s is not supported; its elements are single values or records", elem.TypeName())
			return codecs.Field{}
		}
		return listOf(codecs.ListOf, elem)
	}
	s, ok := v.text()
	if !ok {
		return t
	}
	return s.typeOf(s.text, depth)
}

// listOf returns a list or a map, or no type where the element has none.
func listOf(of func(codecs.Field) codecs.Field, elem codecs.Field) codecs.Field {
	if elem.Type == codecs.Null {
		return codecs.Field{}
	}
	return of(elem)
}

// typeOf reads a type that is written as a text.
func (s scalar) typeOf(text string, depth int) (t codecs.Field) {
	text = strings.TrimSpace(text)
	if t, ok := fieldTypes[text]; ok {
		return t
	}
	name, inner, nested := strings.Cut(text, "<")
	name = strings.TrimSpace(name)
	inner, closed := strings.CutSuffix(inner, ">")
	switch {
	case nested && !closed:
		s.errorf("type %q has no closing '>': within {} a comma ends it, where a map is written without its string: map<int>", s.shown)
	case nested && depth == codecs.MaxNesting:
		s.errorf("lists, maps and records are more than %d deep in one another", codecs.MaxNesting)
	case nested && name == "list":
		if elem, ok := s.single(inner, "elements of a list are single values; records are written as [{name: string}]"); ok {
			return codecs.ListOf(elem)
		}
	case nested && name == "map":
		if key, rest, pair := strings.Cut(inner, ","); pair {
			if strings.TrimSpace(key) != "string" {
				s.errorf("the keys of a map are strings: map<string, %s>", strings.TrimSpace(rest))
				return t
			}
			inner = rest
		}
		if elem, ok := s.single(inner, "values of a map are single values"); ok {
			return codecs.MapOf(elem)
		}
	default:
		word := strings.ToLower(name)
		if i := strings.IndexAny(word, "({["); i >= 0 {
			word = word[:i]
		}
		if like, ok := otherNames[strings.TrimSpace(word)]; ok {
			s.errorf("unknown type %q; write it like %s", s.shown, like)
			return t
		}
		s.errorf("unknown type %q%s", s.shown, suggestion(s.shown, append(sortedKeys(fieldTypes), "list<string>", "map<string>")))
	}
	return t
}

// single reads the type of a single value within another.
func (s scalar) single(text, otherwise string) (codecs.Field, bool) {
	text = strings.TrimSpace(text)
	t, ok := fieldTypes[text]
	switch {
	case ok:
	case strings.ContainsAny(text, "<{[") || slices.Contains([]string{"list", "map", "record"}, text):
		s.errorf("type %q: %s", s.shown, otherwise)
	default:
		shown := text
		if s.outside {
			shown = s.shown
		}
		s.errorf("unknown type %q%s", shown, suggestion(shown, sortedKeys(fieldTypes)))
	}
	return t, ok
}

// recordType reads a mapping of names to types.
func (v value) recordType(depth int) codecs.Field {
	entries := v.entries()
	var fields []codecs.Field
	broken := false
	for _, e := range entries {
		if !isName(e.name) {
			e.errorAt(positionOf(e.key), "%q is not a name: letters, digits and '_', not starting with a digit", e.name)
			broken = true
			continue
		}
		f := e.value.fieldType(depth)
		f.Name = e.name
		fields = append(fields, f)
		broken = broken || f.Type == codecs.Null
	}
	switch {
	case len(entries) == 0:
		v.errorf("a record has fields, like {name: string}")
		return codecs.Field{}
	case len(entries) > codecs.MaxMembers:
		v.errorf("a record has at most %d fields; name those that expressions read", codecs.MaxMembers)
		return codecs.Field{}
	case broken:
		return codecs.Field{}
	}
	return codecs.RecordOf(fields...)
}
