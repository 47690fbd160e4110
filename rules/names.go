package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// purpose says where an expression stands, which decides what an absent field means to it.
type purpose uint8

const (
	forEvent purpose = iota // a stream's `where`: fields by their bare names, an absent one reads as zero
	forJoin                 // false where a field is absent
	forClass                // a class's `where`: an absent field reads as zero, an absent record makes it false
	forValue                // `select` and `measure`: Null where a field is absent
)

// touchName is the name under which expressions read the winning touch, whatever its stream.
const touchName = "touch"

// names are what an expression may read.
type names struct {
	purpose purpose
	bare    *streamInfo            // forEvent: the stream
	streams map[string]*streamInfo // by name
	touches []*streamInfo          // streams that `touch` stands for; empty: not to be read here
	lets    []*let                 // of the rule
}

// ref is something that an event of a stream can hold: a declared field, or a column of the table row whose key it is.
type ref struct {
	field  int // index into Declared
	table  int // -1: the field itself
	column int
}

func fieldRef(field int) ref { return ref{field: field, table: -1} }

// source is a ref of one stream.
type source struct {
	stream *streamInfo
	ref    ref
}

// read is one thing that an expression reads. It is in each of from's streams for `touch`, else in one.
type read struct {
	kind   codecs.Kind
	of     *codecs.Shape
	path   []string // names within what the sources hold, which is then a record or a map
	touch  bool
	from   []source
	stream int   // rank of from's stream, once the streams are laid out; meaningless for `touch`
	slots  []int // by stream rank, likewise
}

func (r *read) typ() codecs.Field { return codecs.Field{Type: r.kind, Of: r.of} }

// field finds a field of one stream. A Null kind says that the fault has been reported already.
func (s *streamInfo) field(name string) (int, codecs.Kind, error) {
	if i, ok := s.fields[name]; ok {
		return i, s.stream.Declared[i].Type, nil
	}
	if s.broken {
		return -1, codecs.Null, nil
	}
	return -1, codecs.Null, fmt.Errorf("unknown field %q%s", name, suggestion(name, slices.Collect(maps.Keys(s.fields))))
}

// touchField finds a field that all touch streams have with one type.
func (n *names) touchField(name string) (read, error) {
	r := read{touch: true}
	for i, s := range n.touches {
		field, kind, err := s.field(name)
		switch {
		case err != nil:
			return r, fmt.Errorf("%s stands for every touch stream of the rule, and stream %q has no field %q", touchName, s.stream.Name, name)
		case kind == codecs.Null:
			return read{}, nil
		}
		declared := s.stream.Declared[field]
		if typ := r.typ(); i > 0 && !declared.SameType(typ) {
			return r, fmt.Errorf("%s.%s is %s in stream %q but %s in stream %q", touchName, name, typ.TypeName(), n.touches[0].stream.Name, declared.TypeName(), s.stream.Name)
		}
		r.kind, r.of = kind, declared.Of
		r.from = append(r.from, source{s, fieldRef(field)})
	}
	return r, nil
}

// readable lists what an expression may name, for messages.
func (n *names) readable() []string {
	if n.bare != nil {
		return slices.Collect(maps.Keys(n.bare.fields))
	}
	list := slices.Sorted(maps.Keys(n.streams))
	if len(n.touches) > 0 {
		list = append(list, touchName)
	}
	for _, l := range n.lets {
		list = append(list, l.name)
	}
	return list
}

// cannotRead says why a stream's fields are out of reach.
func (n *names) cannotRead(name string) error {
	if n.bare != nil {
		if name == n.bare.stream.Name {
			return fmt.Errorf("a stream's where reads its own fields by their bare names: write x for %s.x", name)
		}
		return fmt.Errorf("a stream's where cannot read stream %q, only its own fields", name)
	}
	return fmt.Errorf("stream %q cannot be read here, only %s", name, strings.Join(n.readable(), ", "))
}
