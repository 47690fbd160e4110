package codecs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// A List holds its elements, one encoded value after the other. A Map and a Struct (a record) hold names and values in turn, each an
// encoded value, ordered by the names; nothing in them is Null: what is absent is not there. So equal lists, maps and
// records are equal bytes, and what is in one is read without knowing its type.

// Bounds of lists, maps and records.
const (
	MaxNesting  = 4      // how many are within one another, the outermost included
	MaxElements = 10_000 // of a list or a map
	MaxMembers  = 64     // of a record's type
)

// Shape is the part of a type that says what is in a list, a map or a record.
type Shape struct {
	Elem   Field   // of a List or a Map; it has no name
	Fields []Field // of a Struct, by name
}

// ListOf returns the type of lists of an element.
func ListOf(elem Field) Field { return Field{Type: List, Of: &Shape{Elem: elem}} }

// MapOf returns the type of maps from strings to values.
func MapOf(elem Field) Field { return Field{Type: Map, Of: &Shape{Elem: elem}} }

// RecordOf returns the type of records with fields, in whatever order these are given.
func RecordOf(fields ...Field) Field {
	fields = slices.SortedFunc(slices.Values(fields), func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return Field{Type: Struct, Of: &Shape{Fields: fields}}
}

// SameType tells whether two fields have values of one type, however numbers of times are written in their records.
func (f Field) SameType(o Field) bool {
	if f.Type != o.Type || (f.Of == nil) != (o.Of == nil) {
		return false
	}
	if f.Of == nil || f.Of == o.Of {
		return true
	}
	same := func(a, b Field) bool { return a.Name == b.Name && a.SameType(b) }
	return f.Of.Elem.SameType(o.Of.Elem) && slices.EqualFunc(f.Of.Fields, o.Of.Fields, same)
}

// TypeName is the type as messages have it.
func (f Field) TypeName() string { return f.typeName(false) }

// WrittenType is the type with the units of its times, as a rules file has it.
func (f Field) WrittenType() string { return f.typeName(true) }

var unitSuffixes = [...]string{Seconds: "_s", Milliseconds: "_ms", Microseconds: "_us"}

func (f Field) typeName(units bool) string {
	switch {
	case f.Of == nil && units && f.Type == Time:
		return "time" + unitSuffixes[f.Unit]
	case f.Of == nil:
		return f.Type.String()
	case f.Type != Struct:
		return f.Type.String() + "<" + f.Of.Elem.typeName(units) + ">"
	}
	var fields []string
	for _, m := range f.Of.Fields {
		fields = append(fields, m.Name+": "+m.typeName(units))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// Field returns the field of a Struct with that name, and its place among them.
func (s *Shape) Field(name string) (f Field, index int, ok bool) {
	index, ok = slices.BinarySearchFunc(s.Fields, name, func(f Field, name string) int { return cmp.Compare(f.Name, name) })
	if ok {
		f = s.Fields[index]
	}
	return f, index, ok
}

// Member is an entry of a Map, or a field of a Struct.
type Member struct {
	Name  string
	Value Value
}

// ListValue returns a list.
func ListValue(elems ...Value) Value {
	var b []byte
	for _, v := range elems {
		b = AppendValue(b, v)
	}
	return Value{Kind: List, Str: string(b)}
}

// MapValue returns a map. No two members have one name; what is Null is left out.
func MapValue(members ...Member) Value { return membersValue(Map, members) }

// RecordValue returns a record, likewise.
func RecordValue(members ...Member) Value { return membersValue(Struct, members) }

func membersValue(kind Kind, members []Member) Value {
	var b []byte
	for _, m := range slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) }) {
		if !m.Value.IsNull() {
			b = AppendValue(AppendValue(b, StringValue(m.Name)), m.Value)
		}
	}
	return Value{Kind: kind, Str: string(b)}
}

// Elements returns the elements of a List; none of another value.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind != List {
			return
		}
		for b := []byte(v.Str); len(b) > 0; b = b[valueLen(b):] {
			if !yield(decodeValue(b)) {
				return
			}
		}
	}
}

// Members returns the entries of a Map, or the fields of a Struct that are not absent, by name; none of another value.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind != Map && v.Kind != Struct {
			return
		}
		for b := []byte(v.Str); len(b) > 0; {
			name := decodeValue(b).Str
			b = b[valueLen(b):]
			if !yield(name, decodeValue(b)) {
				return
			}
			b = b[valueLen(b):]
		}
	}
}

// At returns what a path of names leads to within a record or a map: Null where there is nothing.
func (v Value) At(path []string) Value {
	if len(path) == 0 {
		return v
	}
	return at(AppendValue(nil, v), path)
}

// At returns what a path of names leads to within a slot; see Value.At.
func (r Row) At(slot int, path []string) Value {
	if slot < 0 || len(path) == 0 {
		return r.Value(slot)
	}
	return at(r.Field(slot), path)
}

func at(b []byte, path []string) Value {
	var buf [80]byte
	for _, name := range path {
		if b[0] != tagMap && b[0] != tagRecord {
			return Value{}
		}
		wanted := AppendValue(buf[:0], StringValue(name))
		for b = payload(b); ; {
			if len(b) == 0 {
				return Value{}
			}
			n := valueLen(b)
			found := bytes.Equal(b[:n], wanted)
			if b = b[n:]; found {
				break
			}
			b = b[valueLen(b):]
		}
	}
	return decodeValue(b)
}

// payload is what is in the encoded list, map or record at the start of b.
func payload(b []byte) []byte {
	n, w := binary.Uvarint(b[1:])
	return b[1+w : 1+w+int(n)]
}

// checkNested is CheckValue of a list, a map or a record, which is the depth-th of those around it.
func checkNested(b []byte, depth int) (int, error) {
	l, w := binary.Uvarint(b[1:])
	// The length is in its shortest form, and no longer than what there is.
	if depth > MaxNesting || w <= 0 || l > uint64(len(b)-1-w) || w > 1 && b[w] == 0 {
		return 0, errCorruptRow
	}
	size, isList := 1+w+int(l), b[0] == tagList
	last, first := "", true
	for b = b[1+w : size]; len(b) > 0; first = false {
		if !isList {
			n, err := CheckValue(b)
			if err != nil || b[0] < tagShort && b[0] != tagString && b[0] != tagUUID {
				return 0, errCorruptRow
			}
			name := decodeValue(b).Str
			if !first && name <= last {
				return 0, errCorruptRow
			}
			last, b = name, b[n:]
		}
		if len(b) == 0 || b[0] == tagNull {
			return 0, errCorruptRow
		}
		check := CheckValue
		if b[0] >= tagList && b[0] <= tagRecord {
			check = func(b []byte) (int, error) { return checkNested(b, depth+1) }
		}
		n, err := check(b)
		if err != nil {
			return 0, err
		}
		b = b[n:]
	}
	return size, nil
}

func appendNestedJSON(dst []byte, v Value) []byte {
	if v.Kind == List {
		dst = append(dst, '[')
		from := len(dst)
		for e := range v.Elements() {
			if len(dst) > from {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, e)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	from := len(dst)
	for name, m := range v.Members() {
		if len(dst) > from {
			dst = append(dst, ',')
		}
		dst = AppendJSON(append(AppendJSONString(dst, name), ':'), m)
	}
	return append(dst, '}')
}
