package infer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// manyNames is from how many names on records whose names differ are taken for a map.
const manyNames = 8

// as is the type that the draft declares.
func (d *declared) as() codecs.Field {
	if d.typ.Of != nil {
		return d.typ
	}
	return kinds[d.kind]
}

// within is a field for what is in the lists or records of another.
func (f *field) within(name string) *field {
	inner := newField(name)
	inner.depth = f.depth + 1
	return inner
}

// tooDeep tells whether the field is in as many lists and records as there may be.
func (d *declared) tooDeep() bool {
	if d.depth < codecs.MaxNesting {
		return false
	}
	d.kind = ""
	d.note("lists and records more than %d deep in one another", codecs.MaxNesting)
	return true
}

// ofLists chooses the type of lists by all their elements.
func (d *declared) ofLists() {
	if d.tooDeep() {
		return
	}
	elem, n := d.within(d.name), 0
	for _, raw := range d.raw {
		var elems []json.RawMessage
		if shapeOf(raw) != list || json.Unmarshal(raw, &elems) != nil {
			continue
		}
		for _, e := range elems {
			elem.take(n, e)
			n++
		}
	}
	d.kind = ""
	if elem.filled() == 0 {
		d.note("lists without elements, whose type is not known")
		return
	}
	e := elem.declare()
	switch t := e.as(); {
	case e.kind == "" || t.Type == codecs.List || t.Type == codecs.Map:
		d.note("lists of what a list cannot have: its elements are single values or records")
		return
	case t.Type == codecs.Struct:
		d.kind = "[" + e.kind + "]"
		d.typ = codecs.ListOf(t)
	default:
		d.kind = "list<" + e.kind + ">"
		d.typ = codecs.ListOf(t)
	}
	d.noteUnread(list)
}

// noteUnread says how many of the lists or records the type does not read.
func (d *declared) noteUnread(s shape) {
	if n := d.counts[s] - d.reads(d.typ, s); n > 0 {
		d.note("%s have something else in them, and are rejected where something reads the field", share(n, d.filled()))
	}
}

// ofRecords chooses between a record and a map, by names and values.
func (d *declared) ofRecords() {
	if d.tooDeep() {
		return
	}
	all := d.within(d.name)
	var members []*field
	byName := map[string]*field{}
	n, values := 0, 0
	for i, raw := range d.raw {
		if shapeOf(raw) != record {
			continue
		}
		names, inner, err := Members(raw)
		if err != nil {
			continue
		}
		for j, name := range names {
			m := byName[name]
			if m == nil {
				m = d.within(name)
				byName[name] = m
				members = append(members, m)
			}
			m.take(i, inner[j])
			all.take(n, inner[j])
			n++
		}
		values += len(names)
	}
	d.kind = ""
	if all.filled() == 0 {
		d.note("records without anything in them")
		return
	}
	rare := len(members) > manyNames && 2*values < len(members)*d.counts[record]
	named := 0
	for _, m := range members {
		if rules.IsName(m.name) {
			named++
		}
	}
	if rare || named < len(members) || len(members) > codecs.MaxMembers {
		if e := all.declare(); e.kind != "" && e.as().Of == nil {
			d.kind, d.typ = "map<"+e.kind+">", codecs.MapOf(e.as())
			d.note("a map, as the names differ: %s in all", plural(len(members), "name"))
			d.noteUnread(record)
			return
		}
	}
	d.asRecord(members)
}

func (d *declared) asRecord(members []*field) {
	var fields []codecs.Field
	var texts, left []string
	for _, m := range members {
		e := m.declare()
		if e.kind == "" || len(fields) == codecs.MaxMembers {
			left = append(left, shortened(json.RawMessage(m.name)))
			continue
		}
		f := e.as()
		f.Name = m.name
		fields = append(fields, f)
		texts = append(texts, fmt.Sprintf("%s: %s", quoted(m.name), e.kind))
	}
	if len(fields) == 0 {
		d.note("records without a field that has a type")
		return
	}
	d.kind, d.typ = "{"+strings.Join(texts, ", ")+"}", codecs.RecordOf(fields...)
	if len(left) > 0 {
		d.note("without %s, of no type", strings.Join(left, ", "))
	}
	d.noteUnread(record)
}
