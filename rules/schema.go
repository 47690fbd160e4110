package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// schemaDraft is the draft of JSON Schema that editors know best.
const schemaDraft = "http://json-schema.org/draft-07/schema#"

// Schema is a JSON Schema, as far as Lookback's files and rows need it.
type Schema struct {
	Draft                string         `json:"$schema,omitempty"`
	Ref                  string         `json:"$ref,omitempty"`
	Title                string         `json:"title,omitempty"`
	Description          string         `json:"description,omitempty"`
	Type                 any            `json:"type,omitempty"` // a name or a list of them
	Default              any            `json:"default,omitempty"`
	Enum                 []any          `json:"enum,omitempty"`
	Format               string         `json:"format,omitempty"`
	Pattern              string         `json:"pattern,omitempty"`
	ErrorMessage         string         `json:"errorMessage,omitempty"` // of editors; validators pass over it
	MinLength            int            `json:"minLength,omitempty"`
	MaxLength            int            `json:"maxLength,omitempty"`
	Minimum              *int64         `json:"minimum,omitempty"`
	Maximum              *int64         `json:"maximum,omitempty"`
	Items                *Schema        `json:"items,omitempty"`
	MinItems             int            `json:"minItems,omitempty"`
	MaxItems             int            `json:"maxItems,omitempty"`
	UniqueItems          bool           `json:"uniqueItems,omitempty"`
	MinProperties        int            `json:"minProperties,omitempty"`
	MaxProperties        int            `json:"maxProperties,omitempty"`
	PropertyNames        *Schema        `json:"propertyNames,omitempty"`
	Required             []string       `json:"required,omitempty"`
	Properties           properties     `json:"properties,omitempty"`
	AdditionalProperties any            `json:"additionalProperties,omitempty"` // false or a *Schema
	Dependencies         map[string]any `json:"dependencies,omitempty"`         // names or a *Schema
	AnyOf                []*Schema      `json:"anyOf,omitempty"`
	OneOf                []*Schema      `json:"oneOf,omitempty"`
	Not                  *Schema        `json:"not,omitempty"`
	Definitions          properties     `json:"definitions,omitempty"`
}

// property is a key and what stands behind it.
type property struct {
	name     string
	schema   *Schema
	required bool
}

func required(name string, s *Schema) property { return property{name, s, true} }
func optional(name string, s *Schema) property { return property{name, s, false} }

// properties are keys in an order, which editors offer them in.
type properties []property

// MarshalJSON writes an object.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, entry := range p {
		b.WriteByte("{,"[min(i, 1)])
		if err := e.Encode(entry.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(entry.schema); err != nil {
			return nil, fmt.Errorf("%s: %w", entry.name, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// find returns what is said of a key, nil where nothing is.
func (p properties) find(name string) *Schema {
	for _, entry := range p {
		if entry.name == name {
			return entry.schema
		}
	}
	return nil
}

// section is a mapping whose keys are fixed.
func section(description string, keys ...property) *Schema {
	s := &Schema{Description: description, Type: "object", Properties: keys, AdditionalProperties: false}
	for _, k := range keys {
		if k.required {
			s.Required = append(s.Required, k.name)
		}
	}
	return s
}

// mapping is a mapping from names that the file chooses.
func mapping(description string, names, values *Schema) *Schema {
	return &Schema{Description: description, Type: "object", PropertyNames: names, AdditionalProperties: values}
}

// list is a list that is not empty.
func list(description string, items *Schema) *Schema {
	return &Schema{Description: description, Type: "array", Items: items, MinItems: 1}
}

// or says what holds where the key is missing.
func (s *Schema) or(value any) *Schema {
	s.Default = value
	return s
}

// between bounds a number.
func (s *Schema) between(low, high int64) *Schema {
	s.Minimum, s.Maximum = &low, &high
	return s
}

// texts are strings as an enum has them.
func texts[S ~[]string](list S) []any {
	values := make([]any, len(list))
	for i, text := range list {
		values[i] = text
	}
	return values
}
