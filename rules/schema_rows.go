package rules

import (
	"fmt"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// The forms of a rule's rows: signed changes, the current rows, and rows without anything of their way there.
const (
	FormDeltas  = "deltas"
	FormUpserts = "upserts"
	FormFinal   = "final"
)

// RowForms are all forms of rows.
var RowForms = []string{FormDeltas, FormUpserts, FormFinal}

// RowsSchema describes rows: those of a plan's rules, with their columns, or those of any rule where plan is nil; in a form, or, where form
// is "", in all that there are. Where there is more than one kind each is a definition of its own, named by rule and form.
func RowsSchema(plan *Plan, form string) *Schema {
	var kinds properties
	for _, each := range RowForms {
		switch {
		case form != "" && form != each:
		case plan == nil:
			kinds = append(kinds, optional(each, (&rowSchema{form: each}).schema()))
		default:
			for _, r := range plan.Rules {
				written := each == FormFinal || each == FormDeltas && r.Deltas || each == FormUpserts && r.Upserts
				if written || each == form {
					kinds = append(kinds, optional(r.Name+"."+each, (&rowSchema{form: each, plan: plan, rule: r}).schema()))
				}
			}
		}
	}
	if len(kinds) == 1 {
		s := kinds[0].schema
		s.Draft, s.Title = schemaDraft, "Lookback row"
		return s
	}
	s := &Schema{Draft: schemaDraft, Title: "Lookback rows", Description: "A row of an output topic.", Definitions: kinds}
	for _, k := range kinds {
		s.AnyOf = append(s.AnyOf, &Schema{Ref: "#/definitions/" + k.name})
	}
	return s
}

// rowSchema describes rows of one form.
type rowSchema struct {
	form string
	plan *Plan
	rule *Rule // nil: any
}

func (x *rowSchema) schema() *Schema {
	fields := slices.Clone(finalFields)
	what := "A row as it is at the end, as replay --emit final prints it."
	var own []string
	switch x.form {
	case FormDeltas:
		what, own = "A signed change of a row.", deltaFields
	case FormUpserts:
		what, own = "The current row of a conversion: the largest _version of a key is valid.", upsertFields
	}
	if x.rule != nil {
		what = fmt.Sprintf("Rule %s: %s", x.rule.Name, what)
	}
	s := section(what)
	add := func(name string, field *Schema) {
		s.Properties = append(s.Properties, required(name, field))
		s.Required = append(s.Required, name)
	}
	for _, name := range fields {
		add(name, x.field(name))
	}
	if x.rule == nil {
		s.AdditionalProperties = &Schema{Description: "A column of the rule: a dimension or a measure.", Type: orNull("string", "number", "boolean", "array", "object")}
		others := slices.DeleteFunc(slices.Concat(deltaFields, upsertFields), func(name string) bool { return slices.Contains(own, name) })
		s.PropertyNames = &Schema{Not: &Schema{Enum: texts(others)}}
	} else {
		for _, c := range x.rule.Select {
			column := schemaOf(c.Expr.typ())
			column.Description, column.Type = "select: "+c.Expr.String()+".", orNull(column.Type.(string))
			add(c.Name, column)
		}
		for _, c := range x.rule.Measure {
			add(c.Name, x.measure(c))
		}
	}
	for _, name := range own {
		add(name, x.field(name))
	}
	return s
}

// measure describes a measure, which is never null. Of an int, a touch may have a part, which is a decimal.
func (x *rowSchema) measure(c Column) *Schema {
	kind := jsonType(c.Expr.kind)
	if slices.ContainsFunc(x.rule.Models, (*Model).PerTouch) {
		kind = "number"
	}
	return &Schema{Description: "measure: " + c.Expr.String() + ".", Type: kind}
}

// field describes a field that all rows of the form have.
func (x *rowSchema) field(name string) *Schema {
	switch name {
	case "rule":
		return x.oneOf("The rule's name.", func(r *Rule) []string { return []string{r.Name} })
	case "model":
		return x.oneOf("The model's name.", func(r *Rule) (names []string) {
			for _, m := range r.Models {
				names = append(names, m.Name)
			}
			return names
		})
	case "conversion_id":
		return &Schema{Description: "The conversion's id.", Type: x.ids(func(r *Rule) []int { return []int{r.Conversion} })}
	case "touch_id":
		return &Schema{Description: "The touch's id; null where the conversion is unattributed.", Type: append(x.ids((*Rule).touchRanks), "null")}
	case "touch":
		s := x.oneOf("The stream of the touch; null where the conversion is unattributed.", func(r *Rule) (names []string) {
			for _, rank := range r.touchRanks() {
				names = append(names, x.plan.Streams[rank].Name)
			}
			return names
		})
		if s.Type = orNull("string"); s.Enum != nil {
			s.Enum = append(s.Enum, nil)
		}
		return s
	case "class":
		return x.oneOf("The class, or none.", func(r *Rule) (names []string) {
			for _, c := range r.Classes {
				names = append(names, c.Name)
			}
			if r.Unattributed {
				names = append(names, noClass)
			}
			return names
		})
	case "credit":
		s := &Schema{Description: "Micro-credits, 1,000,000 for the whole.", Type: "integer"}
		if x.form == FormDeltas {
			s.Description = "Micro-credits, 1,000,000 for the whole, with the sign."
			return s.between(-1_000_000, 1_000_000)
		}
		return s.between(0, 1_000_000)
	case "event_time":
		return &Schema{Description: "The conversion's time, RFC 3339 in UTC.", Type: "string", Format: "date-time"}
	case "sign":
		return &Schema{Description: "1 adds the row, -1 takes it back.", Type: "integer", Enum: []any{1, -1}}
	case "reason":
		return &Schema{Description: "Attributed or unattributed for a conversion's first row, corrected for both halves of a change, refund or invalidated where it takes something back.",
			Enum: []any{"attributed", "unattributed", "corrected", "refund", "invalidated"}}
	case "delta_id":
		return &Schema{Description: "A UUID: the same change of the same events has the same in every run.", Type: "string", Pattern: `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`}
	case "_op":
		return &Schema{Description: "Whether the row is there, or there no more.", Enum: []any{codecs.OpUpsert, codecs.OpDelete}}
	case "_version":
		return (&Schema{Description: "The larger one replaces the smaller one of the same key.", Type: "integer"}).between(0, 1<<53-1)
	case "_deleted":
		return &Schema{Description: "True with the operation delete.", Type: "boolean"}
	case "rule_hash":
		return &Schema{Description: "Which text of the rule made the row.", Type: "string"}
	}
	panic("no schema of the row's field " + name)
}

// oneOf is a text, and for a known rule one of some.
func (x *rowSchema) oneOf(description string, values func(r *Rule) []string) *Schema {
	s := &Schema{Description: description, Type: "string"}
	if x.rule != nil {
		s.Enum = texts(values(x.rule))
	}
	return s
}

// ids are the types of ids of some streams.
func (x *rowSchema) ids(of func(r *Rule) []int) []string {
	if x.rule == nil {
		return []string{"string", "integer"}
	}
	var types []string
	for _, rank := range of(x.rule) {
		s := x.plan.Streams[rank]
		types = append(types, jsonType(s.Declared[s.ID].Type))
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// touchRanks are the streams of the rule's touches, in their order.
func (r *Rule) touchRanks() []int {
	var ranks []int
	for _, c := range r.Classes {
		ranks = append(ranks, c.Touch...)
	}
	slices.Sort(ranks)
	return slices.Compact(ranks)
}

func orNull(types ...string) []string { return append(types, "null") }

// schemaOf describes values of a type, as AppendJSON writes them. A record has those of its fields that are there.
func schemaOf(f codecs.Field) *Schema {
	s := &Schema{Type: jsonType(f.Type), Format: jsonFormat(f.Type)}
	switch f.Type {
	case codecs.List:
		s.Type, s.Items = "array", schemaOf(f.Of.Elem)
	case codecs.Map:
		s.Type, s.AdditionalProperties = "object", schemaOf(f.Of.Elem)
	case codecs.Struct:
		s.Type, s.AdditionalProperties = "object", false
		for _, m := range f.Of.Fields {
			s.Properties = append(s.Properties, optional(m.Name, schemaOf(m)))
		}
	}
	return s
}

// jsonType is what a value of a kind is in a row.
func jsonType(k codecs.Kind) string {
	switch k {
	case codecs.Bool:
		return "boolean"
	case codecs.Int:
		return "integer"
	case codecs.Float, codecs.Decimal:
		return "number"
	}
	return "string"
}

func jsonFormat(k codecs.Kind) string {
	if k == codecs.Time {
		return "date-time"
	}
	return ""
}
