package codecs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// nest is the memory in which a decoder makes lists, maps and records.
type nest struct {
	b       []byte  // encoded so far
	entries []entry // of the maps and records that are open, the innermost last
	sorted  []byte
}

// entry is a member of a map or a record that is being read.
type entry struct {
	name     string
	at       int // where the record has it
	from, to int // its name and value, encoded
}

// nested reads the list, map or record at s. What does not fit the type is refused, but read to its end. ok is false
// where it is not valid JSON, or gives a name twice.
func (d *Decoder) nested(s *scanner, f Field, text *string) (v Value, refused *Reject, ok bool) {
	d.nest.b, d.nest.entries = d.nest.b[:0], d.nest.entries[:0]
	refused, ok = d.contents(s, f, text, 1)
	if refused != nil {
		refused.Message = fmt.Sprintf("field %q: %s", f.Name, refused.Message)
		return Value{}, refused, ok
	}
	return Value{Kind: f.Type, Str: string(d.nest.b)}, nil, ok
}

// contents appends what is in the list, map or record at s. The message of the reject does not say of what. open counts
// the objects and lists around it.
func (d *Decoder) contents(s *scanner, f Field, text *string, open int) (refused *Reject, ok bool) {
	if open >= maxDepth {
		return nil, s.fail("nested too deep")
	}
	if f.Type == List {
		return d.elements(s, f.Of.Elem, text, open+1)
	}
	return d.entries(s, f, text, open+1)
}

func (d *Decoder) elements(s *scanner, elem Field, text *string, open int) (refused *Reject, ok bool) {
	s.at++
	if s.space() == ']' {
		s.at++
		return nil, true
	}
	for n := 1; ; n++ {
		from := len(d.nest.b)
		r, ok := d.inner(s, elem, text, open)
		switch {
		case !ok:
			return nil, false
		case refused != nil:
		case r != nil:
			r.Message = fmt.Sprintf("element %d: %s", n, r.Message)
			refused = r
		case d.nest.b[from] == tagNull:
			refused = Rejectf(ReasonWrongType, "element %d: expected %s, found null", n, elem.TypeName())
		case n > MaxElements:
			refused = Rejectf(ReasonTooLarge, "more than %d elements", MaxElements)
		}
		if more, ok := s.next(']'); !more {
			return refused, ok
		}
	}
}

// entries reads a map or a record. Of a record it leaves out what the type does not have.
func (d *Decoder) entries(s *scanner, f Field, text *string, open int) (refused *Reject, ok bool) {
	start, base := len(d.nest.b), len(d.nest.entries)
	s.at++
	more := s.space() != '}'
	if !more {
		s.at++
	}
	for more {
		s.space()
		at := s.at
		from, to, escaped, ok := s.str()
		if !ok || !s.colon() {
			return nil, false
		}
		raw := s.b[from:to]
		if escaped {
			d.scratch = appendUnescaped(d.scratch[:0], raw)
			raw = d.scratch
		}
		name, elem, known := "", f.Of.Elem, true
		if f.Type == Map {
			name = string(raw)
		} else if elem, _, known = f.Of.Field(string(raw)); known {
			name, elem.Name = elem.Name, ""
		}
		if !known {
			ok = s.skip(open)
		} else {
			e := entry{name: name, at: at, from: len(d.nest.b)}
			d.nest.b = AppendValue(d.nest.b, StringValue(name))
			value := len(d.nest.b)
			var r *Reject
			if r, ok = d.inner(s, elem, text, open); ok {
				// An absent one takes no room, but its name is not to come again.
				if e.to = len(d.nest.b); d.nest.b[value] == tagNull {
					d.nest.b, e.to = d.nest.b[:e.from], e.from
				}
				d.nest.entries = append(d.nest.entries, e)
			}
			if r != nil && refused == nil {
				r.Message = fmt.Sprintf("%q: %s", abbreviate(name), r.Message)
				refused = r
			}
		}
		if !ok {
			return nil, false
		}
		if more, ok = s.next('}'); !ok {
			return nil, false
		}
	}
	entries := d.nest.entries[base:]
	d.nest.entries = d.nest.entries[:base]
	if refused == nil && f.Type == Map && len(entries) > MaxElements {
		refused = Rejectf(ReasonTooLarge, "more than %d entries", MaxElements)
	}
	return refused, d.sort(s, entries, start)
}

// sort puts the entries that start at start in order. It fails where one comes twice.
func (d *Decoder) sort(s *scanner, entries []entry, start int) bool {
	byName := func(a, b entry) int { return cmp.Or(strings.Compare(a.name, b.name), a.at-b.at) }
	if inOrder := slices.IsSortedFunc(entries, byName); !inOrder {
		slices.SortFunc(entries, byName)
		d.nest.sorted = d.nest.sorted[:0]
		for _, e := range entries {
			d.nest.sorted = append(d.nest.sorted, d.nest.b[e.from:e.to]...)
		}
		d.nest.b = append(d.nest.b[:start], d.nest.sorted...)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].name == entries[i-1].name {
			s.at = entries[i].at
			return s.fail("field \"" + abbreviate(entries[i].name) + "\" is given twice")
		}
	}
	return true
}

// inner appends the value at s, which is within a list, a map or a record.
func (d *Decoder) inner(s *scanner, f Field, text *string, open int) (refused *Reject, ok bool) {
	c := s.space()
	from := len(d.nest.b)
	if f.Of != nil && (c == '[' && f.Type == List || c == '{' && f.Type != List) {
		if refused, ok = d.contents(s, f, text, open); !ok || refused != nil {
			d.nest.b = append(d.nest.b[:from], tagNull)
			return refused, ok
		}
		var header [binary.MaxVarintLen64 + 1]byte
		head := binary.AppendUvarint(append(header[:0], tagList+byte(f.Type-List)), uint64(len(d.nest.b)-from))
		d.nest.b = slices.Insert(d.nest.b, from, head...)
		return nil, true
	}
	if c == '[' || c == '{' {
		at := s.at
		if !s.skip(open) {
			return nil, false
		}
		d.nest.b = append(d.nest.b, tagNull)
		return Rejectf(ReasonWrongType, "expected %s, found %s", f.TypeName(), describe(s.b[at:s.at])), true
	}
	v, refused, ok := d.value(s, f, text)
	if refused != nil {
		refused.Message = strings.TrimPrefix(refused.Message, `field "": `)
	}
	d.nest.b = AppendValue(d.nest.b, v)
	return refused, ok
}
