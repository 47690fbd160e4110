package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// row is what was written, by field; numbers are json.Number.
type row map[string]any

func decode(value []byte) (row, error) {
	v, err := decodeAny(value)
	if err != nil {
		return nil, fmt.Errorf("row %q: %w", value, err)
	}
	fields, _ := v.(map[string]any)
	return fields, nil
}

func decodeAny(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return v, d.Decode(&v)
}

// recordRow is a rejected or late record: its own fields, as far as they can be read, and what its headers say.
func (r *Runner) recordRow(rec codecs.Record) row {
	fields, _ := decode(rec.Value)
	fields = maps.Clone(fields)
	if fields == nil {
		fields = row{}
	}
	for _, h := range rec.Headers {
		switch value := string(h.Value); h.Key {
		case codecs.HeaderException:
			fields[rules.RecordReason] = value
		case codecs.HeaderMessage:
			fields[rules.RecordMessage] = value
		case codecs.HeaderTopic:
			for _, s := range r.plan.Streams {
				if s.Topic == value {
					fields[rules.RecordStream] = s.Name
				}
			}
		}
	}
	return fields
}

// concerns tells whether a row is of the rule and model that a test is about.
func (r row) concerns(t *rules.Test) bool {
	return (t.Rule == "" || r["rule"] == t.Rule) && (t.Model == "" || r["model"] == t.Model)
}

// bare is the row without what only its topic adds.
func (r row) bare() row {
	bare := maps.Clone(r)
	for _, name := range []string{"_op", "_version", "_deleted", "rule_hash"} {
		delete(bare, name)
	}
	return bare
}

// text returns a field as people read it.
func (r row) text(name string) string {
	v, ok := r[name]
	if !ok {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// all is the row with all its fields, by name.
func (r row) all() string {
	if r == nil {
		return "no row"
	}
	return r.show(slices.Sorted(maps.Keys(r)))
}

// show writes some fields, as YAML has them on one line.
func (r row) show(names []string) string {
	var out strings.Builder
	for _, name := range names {
		if _, ok := r[name]; !ok {
			continue
		}
		if out.Len() > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "%s: %s", name, r.text(name))
	}
	return "{" + out.String() + "}"
}

// showExpected writes an expected row likewise.
func showExpected(want rules.ExpectedRow) string {
	fields := row{}
	var names []string
	for _, f := range want.Fields {
		v, err := decodeAny(f.JSON)
		if err != nil {
			v = string(f.JSON)
		}
		fields[f.Name] = v
		names = append(names, f.Name)
	}
	return fields.show(names)
}

// matches tells whether the row has every field that is expected, with the same value.
func (r row) matches(want rules.ExpectedRow) bool {
	for _, f := range want.Fields {
		w, err := decodeAny(f.JSON)
		if err != nil {
			return false
		}
		got, ok := r[f.Name]
		if f.Name == rules.RecordMessage {
			part, isText := w.(string)
			if !ok || !isText || !strings.Contains(r.text(f.Name), part) {
				return false
			}
			continue
		}
		if !ok && w != nil || !equal(w, got) {
			return false
		}
	}
	return true
}

// equal compares JSON values, numbers by what they are worth.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		n, ok := b.(json.Number)
		return ok && equalNumbers(string(a), string(n))
	case []any:
		list, ok := b.([]any)
		if !ok || len(a) != len(list) {
			return false
		}
		for i := range a {
			if !equal(a[i], list[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		fields, ok := b.(map[string]any)
		if !ok || len(a) != len(fields) {
			return false
		}
		for name := range a {
			if other, ok := fields[name]; !ok || !equal(a[name], other) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

func equalNumbers(a, b string) bool {
	if a == b {
		return true
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err != nil || err2 != nil || x != y {
		return false // also what is too large for a float, and so for any row
	}
	if strings.ContainsAny(a+b, "eE") {
		return true // no row has more digits than a float tells apart where it has an exponent
	}
	p, ok := new(big.Rat).SetString(a)
	q, ok2 := new(big.Rat).SetString(b)
	return ok && ok2 && p.Cmp(q) == 0
}
