package rules

import "slices"

// TestsSchema describes tests files, for editors: those of any rules where plan is nil, or of its rules, with their streams, fields, classes
// and columns. A tests file takes nothing from the environment.
func TestsSchema(plan *Plan) *Schema {
	x := &testsSchema{plan: plan}
	tables := mapping("The files that stand for tables, by name, relative to the tests file; a table that comes from a topic needs one.", declaredNames(), filled("A file."))
	if plan != nil {
		var names properties
		for _, t := range plan.Tables {
			names = append(names, optional(t.Name, filled("A file.")))
		}
		tables = section(tables.Description, names...)
	}
	s := section("",
		optional("rules", filled("The rules file, relative to the tests file.").or("rules.yaml")),
		optional("env", mapping("Values in place of environment variables that the rules file reads, by name.", &Schema{}, anyText("The variable's value."))),
		optional("start", moment("Time 0 of the tests, RFC 3339.", timePattern, "Write a time like 2026-01-01T00:00:00Z.").or("2026-01-01T00:00:00Z")),
		optional("tables", tables),
		required("tests", list("The tests.", x.test())),
	)
	s.Draft, s.Title = schemaDraft, "Lookback tests"
	s.Description = "Which rows follow from events that arrive at given times."
	return s
}

// testsSchema describes tests of rules.
type testsSchema struct{ plan *Plan }

// moment is a time in a form.
func moment(description, pattern, hint string) *Schema {
	return (&Schema{Description: description, Type: []string{"string", "integer"}, Pattern: anchored(pattern), ErrorMessage: hint}).between(0, 0)
}

// since is a time since the start, or RFC 3339.
func since(description string) *Schema {
	return moment(description, `-?(?:`+durationPattern+`|0)|`+timePattern, "Write a time like 1h30m or -5m after the start, or 2026-01-01T00:00:00Z.")
}

func (x *testsSchema) test() *Schema {
	rule, model := filled("Look at rows of this rule only."), filled("Look at rows of this model only.")
	if x.plan != nil {
		rule.Enum = texts(x.each(func(r *Rule) []string { return []string{r.Name} }))
		model.Enum = texts(x.each(func(r *Rule) (names []string) {
			for _, m := range r.Models {
				names = append(names, m.Name)
			}
			return names
		}))
	}
	return section("A test.",
		required("name", filled("The test's name, unique in the file.")),
		optional("rule", rule),
		optional("model", model),
		required("given", list("What happens, in order of arrival.", x.given())),
		optional("arrival", arrivalSchema()),
		required("expect", x.expect()),
	)
}

func (x *testsSchema) given() *Schema {
	s := section("A record: its stream's name and its fields; or a watermark.",
		optional(givenAt, since("The event time, since the start or RFC 3339; it becomes the field that the stream declares as its time.")),
		optional(givenArrives, since("When the record arrives, which is its Kafka timestamp; with its event time, or the line above, where it is missing.")),
		optional(givenWatermark, since("Raises the watermark, as other traffic would; it stands alone.")),
	)
	s.MinProperties = 1
	s.Dependencies = map[string]any{givenWatermark: &Schema{MaxProperties: 1}}
	const what = "The record's fields; a text is the record's bytes, and nothing is a tombstone."
	types := []string{"object", "string", "number", "boolean", "null"}
	if x.plan == nil {
		s.PropertyNames, s.AdditionalProperties = plainNames(), &Schema{Description: what, Type: types}
		return s
	}
	for _, stream := range x.plan.Streams {
		record := section(what)
		record.Type = types
		for _, f := range stream.Declared {
			record.Properties = append(record.Properties, optional(f.Name, &Schema{Description: "A field of type " + f.TypeName() + "."}))
		}
		if s.Properties.find(stream.Name) == nil {
			s.Properties = append(s.Properties, optional(stream.Name, record))
		}
	}
	return s
}

func arrivalSchema() *Schema {
	number := func(description string, low, high int64) *Schema {
		return (&Schema{Description: description, Type: []string{"integer", "string"}, Pattern: `^[0-9]+$`}).between(low, high)
	}
	truth := func(description string) *Schema {
		return &Schema{Description: description, Enum: []any{true, false, "true", "false"}}
	}
	several := section("Orders of arrival that go together.",
		optional("every_order", truth("Every permutation, of at most 8 events.")),
		optional("shuffled", number("The written order and so many random ones.", 1, 1_000_000)),
		optional("seed", number("Chooses which random orders.", 0, 1<<62).or(1)),
		optional("duplicated", truth("Each event comes twice.")),
	)
	several.Dependencies = map[string]any{"seed": []string{"shuffled"}}
	s := &Schema{Description: "Orders of arrival to try: that of the lines, every permutation of at most 8 events, random ones, each event twice.",
		AnyOf: []*Schema{{Enum: []any{"as_written", "every_order", "duplicated"}}, several}}
	return s.or("as_written")
}

func (x *testsSchema) expect() *Schema {
	items := func(description string, item *Schema) *Schema {
		return &Schema{Description: description, Type: "array", Items: item}
	}
	record := x.record()
	s := section("What must follow.",
		optional("deltas", items("For each arrival that changes something, in order: the sums of the signs by class, or a list of rows.", x.step())),
		optional("final", items("The rows that remain, in any order.", x.row(false))),
		optional("rejected", items("The records that are refused, in any order; none where the key is missing.", record)),
		optional("late", items("The records that are late, in any order; none where the key is missing.", record)),
	)
	s.MinProperties = 1
	return s
}

// step describes what one arrival changes.
func (x *testsSchema) step() *Schema {
	sum := func() *Schema {
		return (&Schema{Description: "The sum of the signs of the class.", Type: "integer"}).between(-1_000_000, 1_000_000)
	}
	classes := section("The sums of the signs by class.", optional(givenArrives, since("When it arrives.")))
	classes.MinProperties = 1
	if x.plan == nil {
		classes.PropertyNames, classes.AdditionalProperties = plainNames(), sum()
	}
	for _, class := range x.classes() {
		if classes.Properties.find(class) == nil {
			classes.Properties = append(classes.Properties, optional(class, sum()))
		}
	}
	return &Schema{AnyOf: []*Schema{classes, {Type: "array", Items: x.row(true)}}}
}

// row describes some fields of a row.
func (x *testsSchema) row(delta bool) *Schema {
	s := section("The fields of a row that matter.")
	s.MinProperties = 1
	fields := finalFields
	if delta {
		fields = slices.Concat(finalFields, expectedDeltaFields)
	}
	described := &rowSchema{form: FormDeltas}
	for _, name := range fields {
		field := described.field(name)
		switch name {
		case "conversion_id", "touch_id":
			field.Type = orNull(scalarTypes...)
		case "event_time":
			field = since(field.Description)
		case "class":
			field.Enum = texts(x.classes())
		}
		s.Properties = append(s.Properties, optional(name, field))
	}
	column := func(description string) *Schema { return &Schema{Description: description} }
	if x.plan == nil {
		s.AdditionalProperties = column("A column of the row: a dimension or a measure.")
		return s
	}
	for _, r := range x.plan.Rules {
		for _, c := range slices.Concat(r.Select, r.Measure) {
			if s.Properties.find(c.Name) == nil {
				s.Properties = append(s.Properties, optional(c.Name, column("A column of rule "+r.Name+": "+c.Expr.String()+".")))
			}
		}
	}
	return s
}

// record describes some fields of a record that is rejected or late.
func (x *testsSchema) record() *Schema {
	stream := nameOf("The record's stream.")
	stream.Pattern = anchored(namePattern)
	s := section("The fields of a record that matter, and what is said of it.",
		optional(RecordStream, stream),
		optional(RecordReason, &Schema{Description: "Why it was refused.", Type: "string", Enum: texts(refusals)}),
		optional(RecordMessage, filled("A part of what is said of it.")),
	)
	s.MinProperties = 1
	if x.plan == nil {
		s.AdditionalProperties = &Schema{Description: "A field of the record."}
		return s
	}
	stream.Enum = []any{}
	for _, of := range x.plan.Streams {
		stream.Enum = append(stream.Enum, of.Name)
		for _, f := range of.Declared {
			if s.Properties.find(f.Name) == nil {
				s.Properties = append(s.Properties, optional(f.Name, &Schema{Description: "A field of type " + f.TypeName() + "."}))
			}
		}
	}
	return s
}

// classes are those that rows of the rules may have.
func (x *testsSchema) classes() []string {
	return x.each(func(r *Rule) (names []string) {
		for _, c := range r.Classes {
			names = append(names, c.Name)
		}
		if r.Unattributed {
			names = append(names, noClass)
		}
		return names
	})
}

// each collects what rules have, in their order.
func (x *testsSchema) each(of func(r *Rule) []string) []string {
	var all []string
	if x.plan == nil {
		return nil
	}
	for _, r := range x.plan.Rules {
		for _, name := range of(r) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// refusals are the reasons of records that a test may see rejected or late, in the order of docs/semantics.md.
var refusals = []string{"tombstone", "empty", "too_large", "malformed_json", "wrong_type", "out_of_range", "missing_id", "missing_time", "over_age",
	"future_time", "filtered", "expression_error", "missing_key", "key_too_long", "max_touches", "invalid_refund",
	"no_such_event", "refund_excess", "late", "output_too_large"}
