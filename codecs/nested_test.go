package codecs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomNested returns a list, a map or a record at random: its type, the value, and the value as a record may have it,
// with members in any order, nulls and names that the type does not know.
func randomNested(r *rand.Rand, depth int) (typ Field, v Value, text string) {
	inner := func() (Field, func() (Value, string)) {
		if depth == MaxNesting || r.IntN(3) > 0 {
			return randomScalar(r)
		}
		typ, v, text := randomNested(r, depth+1)
		return typ, func() (Value, string) { return v, text }
	}
	switch r.IntN(3) {
	case 0:
		elem, next := inner()
		var values []Value
		var texts []string
		for range r.IntN(5) {
			v, text := next()
			values, texts = append(values, v), append(texts, text)
		}
		return ListOf(elem), ListValue(values...), "[" + strings.Join(texts, " , ") + "]"
	case 1:
		elem, next := inner()
		var members []Member
		var texts []string
		for _, i := range r.Perm(len(sampleTexts))[:r.IntN(4)] {
			v, text := next()
			if r.IntN(4) == 0 {
				v, text = Value{}, "null"
			}
			members = append(members, Member{sampleTexts[i], v})
			texts = append(texts, string(AppendJSONString(nil, sampleTexts[i]))+" : "+text)
		}
		return MapOf(elem), MapValue(members...), "{" + strings.Join(texts, ",") + "}"
	}
	var fields []Field
	var members []Member
	texts := []string{`"unknown":[{}]`, `"unknown":1`}[:r.IntN(3)]
	for _, i := range r.Perm(6)[:1+r.IntN(5)] {
		f, next := inner()
		f.Name = fmt.Sprintf("f%d", i)
		fields = append(fields, f)
		if r.IntN(4) == 0 {
			continue
		}
		v, text := next()
		members = append(members, Member{f.Name, v})
		texts = append(texts, `"`+f.Name+`":`+text)
	}
	r.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return RecordOf(fields...), RecordValue(members...), "{" + strings.Join(texts, ",") + "}"
}

func randomScalar(r *rand.Rand) (Field, func() (Value, string)) {
	switch r.IntN(4) {
	case 0:
		return Field{Type: Int}, func() (Value, string) {
			n := r.Int64() >> r.IntN(64)
			return IntValue(n), fmt.Sprint(n)
		}
	case 1:
		return Field{Type: Decimal}, func() (Value, string) {
			n, zeros := r.IntN(1000), strings.Repeat("0", r.IntN(3))
			return DecimalValue(int64(n), 2), fmt.Sprintf("%d.%02d%s", n/100, n%100, zeros)
		}
	case 2:
		return Field{Type: Time, Unit: Milliseconds}, func() (Value, string) {
			n := r.Int64N(1e12)
			return TimeValue(n * 1000), fmt.Sprint(n)
		}
	}
	return Field{Type: String}, func() (Value, string) {
		s := sampleTexts[r.IntN(len(sampleTexts))]
		return StringValue(s), string(AppendJSONString(nil, s))
	}
}

// TestNestedRoundTrip: what is decoded is the value, whatever the order of members; it makes a valid row, is written as
// JSON that decodes to the same, and each of its parts is found.
func TestNestedRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		typ, want, text := randomNested(r, 1)
		typ.Name = "v"
		d := NewDecoder(DecodeSpec{Slots: []Field{typ}})
		var ev Event
		if err := d.Decode([]byte(`{"v":`+text+`}`), &ev); err != nil {
			t.Fatalf("%s: %s: %v", typ.TypeName(), text, err)
		}
		got := ev.Fields[0]
		if got != want {
			t.Fatalf("%s: %s is\n%+v, want\n%+v", typ.TypeName(), text, got, want)
		}
		ev.ID = IntValue(1)
		row := AppendRow(nil, &ev, 1)
		if err := CheckRow(row, 1); err != nil || row.Value(0) != want {
			t.Fatalf("%s: row: %v, %+v", text, err, row.Value(0))
		}
		for cut := range len(row) {
			if CheckRow(row[:cut], 1) == nil {
				t.Fatalf("%s: the row is accepted when cut to %d of %d bytes", text, cut, len(row))
			}
		}
		again := AppendJSON(nil, got)
		if err := d.Decode([]byte(`{"v":`+string(again)+`}`), &ev); err != nil || ev.Fields[0] != want {
			t.Fatalf("%s is written as %s: %v", text, again, err)
		}
		for name, v := range got.Members() {
			if got.At([]string{name}) != v || row.At(0, []string{name}) != v {
				t.Fatalf("%s: %q is %+v, want %+v", text, name, got.At([]string{name}), v)
			}
			for inner, w := range v.Members() {
				if path := []string{name, inner}; got.At(path) != w || row.At(0, path) != w {
					t.Fatalf("%s: %q is %+v, want %+v", text, path, got.At(path), w)
				}
			}
		}
		if v := got.At([]string{"none", "of these"}); !v.IsNull() {
			t.Fatalf("%s: what is not there is %+v", text, v)
		}
	}
}

// TestCorruptNestedNeverPanics changes bytes of rows: what CheckRow accepts can be read to its end.
func TestCorruptNestedNeverPanics(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	accepted := 0
	for range 20000 {
		_, v, _ := randomNested(r, 1)
		row := AppendRow(nil, &Event{ID: IntValue(1), Fields: []Value{v}}, 1)
		for range 1 + r.IntN(2) {
			row[r.IntN(len(row))] = byte(r.IntN(256))
		}
		if CheckRow(row, 1) != nil {
			continue
		}
		accepted++
		got := row.Value(0)
		AppendJSON(nil, got)
		got.At([]string{"f1", "f2", "f3"})
		if again := AppendValue(nil, got); !bytes.Equal(again, row.Field(0)) {
			t.Fatalf("%x encodes to %x", row.Field(0), again)
		}
	}
	if accepted == 0 {
		t.Fatal("no row was accepted")
	}
}

func TestNestedRejects(t *testing.T) {
	list, dict := ListOf(Field{Type: Int}), MapOf(Field{Type: Decimal})
	items := ListOf(RecordOf(Field{Name: "p", Type: String}, Field{Name: "n", Type: List, Of: list.Of}))
	many := "[" + strings.Repeat("1,", MaxElements) + "1]"
	entries := "{"
	for i := range MaxElements + 1 {
		entries += fmt.Sprintf(`"%d":1,`, i)
	}
	entries = entries[:len(entries)-1] + "}"
	for _, c := range []struct {
		typ               Field
		text, reason, why string
	}{
		{list, `{}`, ReasonWrongType, "expected list<int>, found an object"},
		{list, `1`, ReasonWrongType, "expected list<int>, found number 1"},
		{list, `[1,[2]]`, ReasonWrongType, "element 2: expected int, found a list"},
		{list, `[1,true,"x"]`, ReasonWrongType, "element 2: expected int, found bool true"},
		{list, `[1,null]`, ReasonWrongType, "element 2: expected int, found null"},
		{list, `[1e30]`, ReasonOutOfRange, "element 1: number 1e30 does not fit an int of 64 bits"},
		{list, many, ReasonTooLarge, "more than 10000 elements"},
		{list, `[1,]`, ReasonMalformedJSON, "expected a value"},
		{list, `["x",}`, ReasonMalformedJSON, "expected a value"},
		{list, strings.Repeat("[", 70), ReasonMalformedJSON, "nested too deep"},
		{dict, `[]`, ReasonWrongType, "expected map<decimal>, found a list"},
		{dict, `{"a":{}}`, ReasonWrongType, `"a": expected decimal, found an object`},
		{dict, `{"a":1,"\u0061":2}`, ReasonMalformedJSON, `field "a" is given twice`},
		{dict, `{"a":null,"a":null}`, ReasonMalformedJSON, `field "a" is given twice`},
		{dict, `{"b":"x","a":1,"a":1}`, ReasonMalformedJSON, `field "a" is given twice`},
		{dict, entries, ReasonTooLarge, "more than 10000 entries"},
		{items, `[{"p":"x"},{"n":[1,"x"],"p":1}]`, ReasonWrongType, `element 2: "n": element 2: expected int, found string "x"`},
		{items, `[{"p":"x","p":"y"}]`, ReasonMalformedJSON, `field "p" is given twice`},
		{items, `[{"p":1,"x":{]}]`, ReasonMalformedJSON, "expected a string"},
		{items, `[{"p":1 "x":1}]`, ReasonMalformedJSON, "expected a comma or the end"},
	} {
		c.typ.Name = "v"
		d := NewDecoder(DecodeSpec{Slots: []Field{c.typ}})
		var r *Reject
		if err := d.Decode([]byte(`{"v":`+c.text+`}`), new(Event)); !errors.As(err, &r) || r.Reason != c.reason || !strings.HasSuffix(r.Message, c.why) {
			t.Errorf("%.40s: %v, want %s: %s", c.text, err, c.reason, c.why)
		}
		var ev Event
		if err := d.Decode([]byte(`{"v":null}`), &ev); err != nil || !ev.Fields[0].IsNull() {
			t.Errorf("after %.40s: %v, %+v", c.text, err, ev.Fields)
		}
	}
}

func TestLayoutsTellNestedTypesApart(t *testing.T) {
	types := []Field{{Type: String}, ListOf(Field{Type: String}), ListOf(Field{Type: Int}), MapOf(Field{Type: String}), MapOf(Field{Type: Int}),
		RecordOf(Field{Name: "a", Type: String}), RecordOf(Field{Name: "b", Type: String}), ListOf(RecordOf(Field{Name: "a", Type: String}))}
	var seen []uint32
	for i, f := range types {
		f.Name = "v"
		n := LayoutOf("s", []Field{f}).Fingerprint
		if slices.Contains(seen, n) {
			t.Errorf("%s has the fingerprint of another type", f.TypeName())
		}
		seen = append(seen, n)
		for j, o := range types {
			if f.SameType(o) != (i == j) {
				t.Errorf("%s and %s: the same is %v", f.TypeName(), o.TypeName(), i != j)
			}
		}
	}
	s, ms := ListOf(Field{Type: Time, Unit: Seconds}), ListOf(Field{Type: Time, Unit: Milliseconds})
	if !s.SameType(ms) || s.WrittenType() != "list<time_s>" || s.TypeName() != "list<time>" {
		t.Errorf("%s and %s are lists of times", s.WrittenType(), ms.WrittenType())
	}
}

func BenchmarkDecodeNested(b *testing.B) {
	tags := ListOf(Field{Type: String})
	tags.Name = "tags"
	items := ListOf(RecordOf(Field{Name: "product", Type: String}, Field{Name: "price", Type: Decimal}))
	items.Name = "items"
	d := NewDecoder(DecodeSpec{Slots: []Field{tags, items}})
	data := []byte(`{"tags":["sports","news","de"],"items":[{"product":"p-1","price":1.37},{"product":"p-2","price":20}]}`)
	var ev Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(data, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
