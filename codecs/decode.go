package codecs

import (
	"unicode/utf8"
)

// DefaultMaxBytes bounds a record where DecodeSpec does not.
const DefaultMaxBytes = 1 << 20

// DecodeSpec says which fields of a stream's records to decode, and where to.
type DecodeSpec struct {
	Stream   int     // the stream's rank, copied to the events
	Slots    []Field // one per slot of Event.Fields; one without a name stays Null, for the caller to fill
	ID       Field   // without a name: records have no id (rows of a table)
	Time     Field   // of type Time; without a name: records have no time
	MaxBytes int     // of a record; 0: DefaultMaxBytes
}

// Decoder turns JSON records of one stream into events. It is not safe for concurrent use.
//
// It reads a record in one pass of a scanner of its own. The libraries were measured on the impression of the benchmark
// beside this file. Those that are as fast (valyala/fastjson, buger/jsonparser) accept texts that are not JSON; those that
// are strict take 1.8 times as long (go-json-experiment/json/jsontext) or 6 times (encoding/json).
type Decoder struct {
	spec    DecodeSpec
	targets []target
	byName  map[string]int // into targets
	follow  []int          // by target + 1: the target that came after it last time; [0]: the one that came first
	record  uint64         // counts records, to tell which targets the current one has had
	scratch []byte
	nest    nest // a list, a map or a record in the making
	id      Value
	time    Value
}

// target is a declared field that is of use, and where its value goes.
type target struct {
	field Field
	slots []int
	id    bool
	time  bool
	seen  uint64 // the last record that had it
}

// NewDecoder returns a decoder for records of a stream.
func NewDecoder(spec DecodeSpec) *Decoder {
	if spec.MaxBytes == 0 {
		spec.MaxBytes = DefaultMaxBytes
	}
	d := &Decoder{spec: spec, byName: map[string]int{}}
	for slot, f := range spec.Slots {
		if f.Name != "" {
			t := d.target(f)
			t.slots = append(t.slots, slot)
		}
	}
	if spec.ID.Name != "" {
		d.target(spec.ID).id = true
	}
	if spec.Time.Name != "" {
		d.target(spec.Time).time = true
	}
	d.follow = make([]int, len(d.targets)+1)
	return d
}

func (d *Decoder) target(f Field) *target {
	i, ok := d.byName[f.Name]
	if !ok {
		i = len(d.targets)
		d.byName[f.Name] = i
		d.targets = append(d.targets, target{field: f})
	}
	return &d.targets[i]
}

// Decode reads one record into ev: its Stream, Time, ID and Fields, whose slice is reused; Origin is left
// alone. The event's strings share one copy of the record and do not alias data. A nil record is a tombstone.
//
// An absent field and a null are Null. What no slot asks for is skipped, but the record must be valid JSON throughout.
// The error is a *Reject, after which the event's contents mean nothing; a record that is malformed is called so,
// whatever else is wrong with it, and of several fields with a problem the record's first is reported.
func (d *Decoder) Decode(data []byte, ev *Event) error {
	if r := d.decode(data, ev); r != nil {
		return r
	}
	return nil
}

func (d *Decoder) decode(data []byte, ev *Event) *Reject {
	switch {
	case data == nil:
		return Rejectf(ReasonTombstone, "the record has no value")
	case len(data) > d.spec.MaxBytes:
		return Rejectf(ReasonTooLarge, "%d bytes, more than the limit of %d", len(data), d.spec.MaxBytes)
	case !utf8.Valid(data):
		return Rejectf(ReasonMalformedJSON, "not UTF-8")
	}
	s := scanner{b: data}
	switch s.space() {
	case '{':
	case 0:
		if s.at == len(data) {
			return Rejectf(ReasonEmpty, "the record is empty")
		}
		fallthrough
	default:
		return Rejectf(ReasonMalformedJSON, "offset %d: expected an object", s.at)
	}
	if cap(ev.Fields) < len(d.spec.Slots) {
		ev.Fields = make([]Value, len(d.spec.Slots))
	}
	ev.Fields = ev.Fields[:len(d.spec.Slots)]
	clear(ev.Fields)
	d.id, d.time = Value{}, Value{}
	d.record++
	refused, ok := d.members(&s, ev.Fields)
	if ok && s.space() != 0 || ok && s.at < len(data) {
		ok = s.fail("more text after the object")
	}
	if !ok {
		return Rejectf(ReasonMalformedJSON, "offset %d: %s", s.at, s.problem)
	}
	if refused != nil {
		return refused
	}
	if d.spec.ID.Name != "" && (d.id.Kind == Null || d.id.Kind == String && d.id.Str == "") {
		return Rejectf(ReasonMissingID, "field %q, the id, is missing", d.spec.ID.Name)
	}
	if d.spec.Time.Name != "" && d.time.Kind != Time {
		return Rejectf(ReasonMissingTime, "field %q, the event time, is missing", d.spec.Time.Name)
	}
	ev.Stream, ev.ID, ev.Time = d.spec.Stream, d.id, d.time.Num
	return nil
}

// members reads the object at s. It goes on after a field that it must refuse, because only its end tells whether the
// record is well formed.
func (d *Decoder) members(s *scanner, fields []Value) (refused *Reject, ok bool) {
	s.at++
	if s.space() == '}' {
		s.at++
		return nil, true
	}
	text := ""   // the one copy, made when the first string asks for it
	before := -1 // the last member's target, of those that are of use
	for {
		s.space()
		at := s.at
		start, end, escaped, ok := s.str()
		if !ok || !s.colon() {
			return refused, false
		}
		name := s.b[start:end]
		if escaped {
			d.scratch = appendUnescaped(d.scratch[:0], name)
			name = d.scratch
		}
		if i := d.lookup(name, before); i < 0 {
			if !s.skip(1) {
				return refused, false
			}
		} else {
			before = i
			t := &d.targets[i]
			if t.seen == d.record {
				s.at = at
				return refused, s.fail("field \"" + t.field.Name + "\" is given twice")
			}
			t.seen = d.record
			v, p, ok := d.value(s, t.field, &text)
			if !ok {
				return refused, false
			}
			if p != nil && refused == nil {
				refused = p
			}
			for _, slot := range t.slots {
				fields[slot] = v
			}
			if t.id {
				d.id = v
			}
			if t.time {
				d.time = v
			}
		}
		more, ok := s.next('}')
		if !more {
			return refused, ok
		}
	}
}

// lookup returns the target with that name, -1 if there is none. Records of a stream mostly have their members in the
// same order, so the one that followed last time on the target before is tried first.
func (d *Decoder) lookup(name []byte, before int) int {
	guess := d.follow[before+1]
	if guess < len(d.targets) && string(name) == d.targets[guess].field.Name {
		return guess
	}
	i, ok := d.byName[string(name)]
	if !ok {
		return -1
	}
	d.follow[before+1] = i
	return i
}

// value reads the value of a field. ok is false where it is not valid JSON.
func (d *Decoder) value(s *scanner, f Field, text *string) (v Value, refused *Reject, ok bool) {
	c := s.space()
	at := s.at
	p := notOfType
	switch {
	case c == '"':
		start, end, escaped, ok := s.str()
		if !ok {
			return v, nil, false
		}
		if f.Type == String && !escaped {
			if *text == "" {
				*text = string(s.b)
			}
			return StringValue((*text)[start:end]), nil, true
		}
		raw := s.b[start:end]
		if escaped {
			d.scratch = appendUnescaped(d.scratch[:0], raw)
			raw = d.scratch
		}
		switch f.Type {
		case String:
			return StringValue(string(raw)), nil, true
		case Decimal, Bytes:
			v, p = parseTyped(raw, f)
		case Time:
			v, p = timeOfText(raw)
		}
	case c == '-' || '0' <= c && c <= '9':
		integer, ok := s.number()
		if !ok {
			return v, nil, false
		}
		switch number := s.b[at:s.at]; f.Type {
		case Int:
			v, p = intOf(number, integer)
		case Float:
			v, p = floatOf(number)
		case Decimal:
			v, p = decimalOf(number)
		case Time:
			v, p = timeOfNumber(number, integer, f.Unit)
		}
	case c == 'n':
		return v, nil, s.literal("null")
	case f.Of != nil && (c == '[' && f.Type == List || c == '{' && f.Type != List):
		return d.nested(s, f, text)
	default:
		if !s.skip(1) {
			return v, nil, false
		}
		if f.Type == Bool && (c == 't' || c == 'f') {
			return BoolValue(c == 't'), nil, true
		}
	}
	if p == noProblem {
		return v, nil, true
	}
	return Value{}, mismatch(f, p, describe(s.b[at:s.at])), true
}

// describe names the kind of a JSON value and shows it, as far as it is short.
func describe(raw []byte) string {
	switch raw[0] {
	case '"':
		return "string " + abbreviate(string(raw))
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "bool " + string(raw)
	}
	return "number " + abbreviate(string(raw))
}
