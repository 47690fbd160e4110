package rules

import "strings"

// Patterns of single values, for both dialects of regular expressions: that of JSON Schema and Go's.
const (
	namePattern  = `[A-Za-z_][A-Za-z0-9_]*`
	topicPattern = `[A-Za-z0-9._-]+`
	hostPattern  = `\S+:[0-9]{1,5}`
	timePattern  = `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})`

	// variablePattern is a text with an environment variable in it, of which nothing is known before it is put in.
	variablePattern = `[\s\S]*\$\{` + namePattern + `(?::[-?][^}]*)?\}[\s\S]*`
)

// durationPattern and sizePattern know the units that the compiler knows.
var durationPattern = func() string {
	var names []string
	for _, u := range durationUnits {
		names = append(names, u.name)
	}
	return `(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:` + strings.Join(names, "|") + `))+`
}()

var sizePattern = func() string {
	var names []string
	for _, u := range sizeUnits {
		names = append(names, u.name)
	}
	return `[0-9]+ *(?:` + strings.Join(names, "|") + `)`
}()

// anchored anchors a pattern.
func anchored(pattern string) string { return "^(?:" + pattern + ")$" }

// types of single values that are used as they are written.
var scalarTypes = []string{"string", "number", "boolean"}

// matching is a single value whose text has a form, or an environment variable in it.
func matching(description, pattern, hint string, types ...string) *Schema {
	s := &Schema{Description: description, Type: "string", Pattern: anchored(pattern + "|" + variablePattern), ErrorMessage: hint}
	if len(types) > 0 {
		s.Type = append([]string{"string"}, types...)
	}
	return s
}

const durationHint = "Write a duration like 30d, 1d12h or 90m: the units are us, ms, s, m, h, d and w."

// lasting is a duration. A 0 needs no unit, and it alone may be a number in YAML.
func lasting(description string) *Schema {
	zero := &Schema{Enum: []any{0}, ErrorMessage: durationHint}
	return &Schema{Description: description, AnyOf: []*Schema{matching("", durationPattern+"|0", durationHint), zero}}
}

func sized(description string) *Schema {
	return matching(description, sizePattern, "Write a size like 256MB or 64KiB.")
}

// counted is a whole number.
func counted(description string, low, high int64) *Schema {
	return matching(description, `[0-9]+`, "Write a whole number.", "integer").between(low, high)
}

func topicName(description string) *Schema {
	return matching(description, topicPattern, "A topic is up to 249 letters, digits, '.', '_' and '-'.", "integer")
}

// nameOf is the name of something that the file declares.
func nameOf(description string) *Schema {
	return matching(description, namePattern, "A name is letters, digits and '_', and does not start with a digit.")
}

// expression is text in the expression language, which a number or a bool is, too.
func expression(description string) *Schema {
	return &Schema{Description: description, Type: scalarTypes, Pattern: `\S`, ErrorMessage: "The expression is empty.", MaxLength: maxExpression}
}

// anyText is a single value of which nothing is asked.
func anyText(description string) *Schema { return &Schema{Description: description, Type: scalarTypes} }

// filled is a single value that is not empty.
func filled(description string) *Schema {
	return &Schema{Description: description, Type: scalarTypes, Pattern: `\S`}
}

// choice is one of some words.
func choice[S ~[]string](description string, words S) *Schema {
	return &Schema{Description: description, AnyOf: []*Schema{{Enum: texts(words)}, anyVariable()}}
}

// yesOrNo is true or false.
func yesOrNo(description string) *Schema {
	return &Schema{Description: description, AnyOf: []*Schema{{Type: "boolean"}, matching("", "true|false", "Write true or false.")}}
}

// anyVariable is a text with an environment variable in it.
func anyVariable() *Schema {
	return &Schema{Type: "string", Pattern: anchored(variablePattern), ErrorMessage: "This is none of the words that may stand here."}
}

// oneOrList is a single value or a list of such.
func oneOrList(description string, item *Schema) *Schema {
	items := list("", item)
	items.UniqueItems = true
	return &Schema{Description: description, AnyOf: []*Schema{item, items}}
}

// declaredNames are those of streams and tables, which expressions read.
func declaredNames() *Schema {
	return &Schema{Pattern: anchored(namePattern), ErrorMessage: "A name is letters, digits and '_', and does not start with a digit.", MaxLength: maxTopic,
		Not: &Schema{Enum: texts(reservedNames)}}
}

// plainNames are those of fields and classes.
func plainNames(taken ...string) *Schema {
	s := &Schema{Pattern: anchored(namePattern), ErrorMessage: "A name is letters, digits and '_', and does not start with a digit.", MaxLength: maxTopic}
	if len(taken) > 0 {
		s.Not = &Schema{Enum: texts(taken)}
	}
	return s
}
