package codecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// everyType has a slot of every type, one for a stamp, and an id and a time.
func everyType() DecodeSpec {
	return DecodeSpec{
		Stream: 2,
		Slots: []Field{
			{Name: "s", Type: String}, {Name: "b", Type: Bool}, {Name: "i", Type: Int}, {Name: "f", Type: Float},
			{Name: "d", Type: Decimal}, {}, {Name: "t", Type: Time, Unit: Milliseconds}, {Name: "y", Type: Bytes},
		},
		ID:   Field{Name: "id", Type: String},
		Time: Field{Name: "ts", Type: Time},
	}
}

func TestDecode(t *testing.T) {
	for record, want := range map[string][]Value{
		`{"id":"e1","ts":1700000000}`: make([]Value, 8),
		`{"id":"e1","ts":1700000000,"s":null,"b":null,"i":null,"f":null,"d":null,"t":null,"y":null}`: make([]Value, 8),
		`{"s":"x","b":true,"i":-5,"f":1.5,"d":1.50,"t":1500,"y":"aGk=","id":"e1","ts":"2023-11-14T22:13:20Z"}`: {
			StringValue("x"), BoolValue(true), IntValue(-5), FloatValue(1.5), DecimalValue(15, 1), {}, TimeValue(1500000), BytesValue("hi"),
		},
		" \t\r\n{ \"b\" : false , \"i\" : 1e3 , \"f\" : -0 , \"d\" : \"-2.500\" ,\n\"ts\" : 1700000000000 , \"id\" : \"e1\" } ": {
			{}, BoolValue(false), IntValue(1000), FloatValue(0), DecimalValue(-25, 1), {}, {}, {},
		},
		`{"other":{"s":"no","id":[1,{"ts":[]}]},"i":9223372036854775807,"more":[],"s":"","id":"e1","ts":1700000000,"f":7}`: {
			StringValue(""), {}, IntValue(9223372036854775807), FloatValue(7), {}, {}, {}, {},
		},
		`{"i":-9223372036854775808.000,"\u0073":"\ud83d\ude00\"\\\/\b\f\n\r\té€","\u0069d":"e1","ts":1700000000}`: {
			StringValue("😀\"\\/\b\f\n\r\té€"), {}, IntValue(-9223372036854775808), {}, {}, {}, {}, {},
		},
		`{"":1," s":2,"S":3,"unknown\ud83d\ude00":4,"id":"e1","ts":1.7e9,"d":"\u0031\u002e5"}`: {
			{}, {}, {}, {}, DecimalValue(15, 1), {}, {}, {},
		},
	} {
		ev := Event{Fields: []Value{StringValue("left over")}}
		if err := NewDecoder(everyType()).Decode([]byte(record), &ev); err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		if ev.Stream != 2 || ev.ID != StringValue("e1") || ev.Time != 1700000000_000000 {
			t.Errorf("%s: stream %d, id %+v, time %d", record, ev.Stream, ev.ID, ev.Time)
		}
		for slot, v := range want {
			if ev.Fields[slot] != v {
				t.Errorf("%s: slot %d is %+v, want %+v", record, slot, ev.Fields[slot], v)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	nested := func(depth int) string {
		return `{"id":"e","ts":1,"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
	}
	for _, c := range []struct{ name, record, reason string }{
		{"empty", "", ReasonEmpty},
		{"white space", " \n\t", ReasonEmpty},
		{"truncated at every kind of place", `{"id":"e","ts":1`, ReasonMalformedJSON},
		{"truncated in a skipped value", `{"id":"e","ts":1,"x":{"y":[1,2`, ReasonMalformedJSON},
		{"truncated in a string", `{"id":"e`, ReasonMalformedJSON},
		{"truncated in an escape", `{"id":"e\`, ReasonMalformedJSON},
		{"truncated behind a refused field", `{"id":5,"ts":1`, ReasonMalformedJSON},
		{"more behind the object", `{"id":"e","ts":1}{}`, ReasonMalformedJSON},
		{"a zero byte behind the object", "{\"id\":\"e\",\"ts\":1}\x00", ReasonMalformedJSON},
		{"a zero byte first", "\x00", ReasonMalformedJSON},
		{"byte order mark", "\ufeff{\"id\":\"e\",\"ts\":1}", ReasonMalformedJSON},
		{"list", `[{"id":"e","ts":1}]`, ReasonMalformedJSON},
		{"string", `"e"`, ReasonMalformedJSON},
		{"null", `null`, ReasonMalformedJSON},
		{"not JSON", `hello`, ReasonMalformedJSON},
		{"invalid UTF-8 in a value", "{\"id\":\"\xff\",\"ts\":1}", ReasonMalformedJSON},
		{"invalid UTF-8 in a skipped value", "{\"id\":\"e\",\"ts\":1,\"x\":\"\xed\xa0\x80\"}", ReasonMalformedJSON},
		{"lone high surrogate", `{"id":"\ud800","ts":1}`, ReasonMalformedJSON},
		{"lone low surrogate", `{"id":"\udc00","ts":1}`, ReasonMalformedJSON},
		{"high surrogate and a letter", `{"id":"\ud800\u0041","ts":1}`, ReasonMalformedJSON},
		{"lone surrogate, skipped", `{"id":"e","ts":1,"x":"\ud800"}`, ReasonMalformedJSON},
		{"unknown escape", `{"id":"\q","ts":1}`, ReasonMalformedJSON},
		{"short escape", `{"id":"\u12","ts":1}`, ReasonMalformedJSON},
		{"control character", "{\"id\":\"a\nb\",\"ts\":1}", ReasonMalformedJSON},
		{"id twice", `{"id":"e","ts":1,"id":"e"}`, ReasonMalformedJSON},
		{"field twice, once with escapes", `{"id":"e","ts":1,"s":"a","\u0073":"b"}`, ReasonMalformedJSON},
		{"field twice, once null", `{"id":"e","ts":1,"s":null,"s":"b"}`, ReasonMalformedJSON},
		{"64 levels and one", nested(64), ReasonMalformedJSON},
		{"10,000 levels", nested(10_000), ReasonMalformedJSON},
		{"10,000 levels, truncated", strings.Repeat(`{"a":`, 10_000), ReasonMalformedJSON},
		{"10,000 levels in a declared field", `{"s":` + strings.Repeat("[", 10_000), ReasonMalformedJSON},
		{"comma too many", `{"id":"e","ts":1,}`, ReasonMalformedJSON},
		{"comma too many, skipped", `{"id":"e","ts":1,"x":[1,]}`, ReasonMalformedJSON},
		{"no comma", `{"id":"e" "ts":1}`, ReasonMalformedJSON},
		{"no colon", `{"id" "e"}`, ReasonMalformedJSON},
		{"key without quotes", `{id:"e"}`, ReasonMalformedJSON},
		{"wrong bracket", `{"x":[1}}`, ReasonMalformedJSON},
		{"comment", `{"id":"e",/* */"ts":1}`, ReasonMalformedJSON},
		{"leading zero", `{"id":"e","ts":01}`, ReasonMalformedJSON},
		{"leading plus", `{"id":"e","ts":+1}`, ReasonMalformedJSON},
		{"hexadecimal", `{"id":"e","ts":1,"i":0x10}`, ReasonMalformedJSON},
		{"NaN", `{"id":"e","ts":1,"f":NaN}`, ReasonMalformedJSON},
		{"minus alone", `{"id":"e","ts":1,"x":-}`, ReasonMalformedJSON},
		{"point without digits", `{"id":"e","ts":1,"x":1.}`, ReasonMalformedJSON},
		{"exponent without digits", `{"id":"e","ts":1,"x":1e+}`, ReasonMalformedJSON},
		{"half a literal", `{"id":"e","ts":1,"x":tru}`, ReasonMalformedJSON},
		{"too large", `{"id":"e","ts":1}` + strings.Repeat(" ", DefaultMaxBytes), ReasonTooLarge},
		{"10 MB", `{"id":"` + strings.Repeat("e", 10<<20) + `","ts":1}`, ReasonTooLarge},
		{"number for a string", `{"id":"e","ts":1,"s":5}`, ReasonWrongType},
		{"number for a string id", `{"id":5,"ts":1}`, ReasonWrongType},
		{"string for an int", `{"id":"e","ts":1,"i":"5"}`, ReasonWrongType},
		{"fraction for an int", `{"id":"e","ts":1,"i":5.5}`, ReasonWrongType},
		{"int of too many digits to tell", `{"id":"e","ts":1,"i":1.00000000000000000000000001}`, ReasonOutOfRange},
		{"bool for an int", `{"id":"e","ts":1,"i":true}`, ReasonWrongType},
		{"number for a bool", `{"id":"e","ts":1,"b":1}`, ReasonWrongType},
		{"string for a float", `{"id":"e","ts":1,"f":"1"}`, ReasonWrongType},
		{"text for a decimal", `{"id":"e","ts":1,"d":"ten"}`, ReasonWrongType},
		{"spaces in a decimal", `{"id":"e","ts":1,"d":" 1"}`, ReasonWrongType},
		{"object for a string", `{"id":"e","ts":1,"s":{}}`, ReasonWrongType},
		{"list for a decimal", `{"id":"e","ts":1,"d":[1]}`, ReasonWrongType},
		{"text for the time", `{"id":"e","ts":"soon"}`, ReasonWrongType},
		{"number as text for the time", `{"id":"e","ts":"1700000000"}`, ReasonWrongType},
		{"time without an offset", `{"id":"e","ts":"2023-11-14T22:13:20"}`, ReasonWrongType},
		{"not base64", `{"id":"e","ts":1,"y":"?"}`, ReasonWrongType},
		{"int beyond 64 bits", `{"id":"e","ts":1,"i":9223372036854775808}`, ReasonOutOfRange},
		{"int below 64 bits", `{"id":"e","ts":1,"i":-9223372036854775809}`, ReasonOutOfRange},
		{"int with a large exponent", `{"id":"e","ts":1,"i":1e99999999999999999999}`, ReasonOutOfRange},
		{"float beyond 64 bits", `{"id":"e","ts":1,"f":1e400}`, ReasonOutOfRange},
		{"decimal of 19 digits", `{"id":"e","ts":1,"d":1234567890.123456789}`, ReasonOutOfRange},
		{"decimal as text of 19 digits", `{"id":"e","ts":1,"d":"1234567890123456789"}`, ReasonOutOfRange},
		{"year 10000", `{"id":"e","ts":253402300800000000}`, ReasonOutOfRange},
		{"year 0", `{"id":"e","ts":"0000-01-01T00:00:00Z"}`, ReasonOutOfRange},
		{"no id", `{"ts":1}`, ReasonMissingID},
		{"null id", `{"id":null,"ts":1}`, ReasonMissingID},
		{"empty id", `{"id":"","ts":1}`, ReasonMissingID},
		{"id in a nested object", `{"x":{"id":"e"},"ts":1}`, ReasonMissingID},
		{"no time", `{"id":"e"}`, ReasonMissingTime},
		{"null time", `{"id":"e","ts":null}`, ReasonMissingTime},
		{"nothing", `{}`, ReasonMissingID},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(everyType())
			var ev Event
			err := d.Decode([]byte(c.record), &ev)
			var r *Reject
			if !errors.As(err, &r) || r.Reason != c.reason {
				t.Fatalf("got %v, want %s", err, c.reason)
			}
			if len(r.Message) > 200 || !utf8.ValidString(r.Message) {
				t.Errorf("message of %d bytes: %q", len(r.Message), r.Message)
			}
			if err := d.Decode([]byte(`{"id":"e","ts":1,"s":"ok"}`), &ev); err != nil || ev.Fields[0] != StringValue("ok") {
				t.Errorf("the next record: %v", err)
			}
		})
	}
	if err := NewDecoder(everyType()).Decode([]byte(nested(63)), new(Event)); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	var r *Reject
	if err := NewDecoder(everyType()).Decode(nil, new(Event)); !errors.As(err, &r) || r.Reason != ReasonTombstone {
		t.Errorf("a nil record: %v", err)
	}
}

func TestWrongTypeNamesFieldExpectedAndFound(t *testing.T) {
	err := NewDecoder(everyType()).Decode([]byte(`{"id":"e","ts":1,"d":"ten","i":"x"}`), new(Event))
	if want := `wrong_type: field "d": expected decimal, found string "ten"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEveryTruncationIsMalformed(t *testing.T) {
	record := `{"id":"e\u00e9","x":[{"y":[1.5e3,"\ud83d\ude00",null]},true],"ts":"2023-11-14T22:13:20Z","d":"1.5","i":12}`
	d := NewDecoder(everyType())
	for cut := 1; cut < len(record); cut++ {
		var r *Reject
		if err := d.Decode([]byte(record[:cut]), new(Event)); !errors.As(err, &r) || r.Reason != ReasonMalformedJSON {
			t.Errorf("%s: %v", record[:cut], err)
		}
	}
}

func TestDecodeSpecForms(t *testing.T) {
	t.Run("one field fills several slots and the id", func(t *testing.T) {
		d := NewDecoder(DecodeSpec{
			Slots: []Field{{Name: "n", Type: Int}, {Name: "ts", Type: Time}, {Name: "n", Type: Int}},
			ID:    Field{Name: "n", Type: Int}, Time: Field{Name: "ts", Type: Time},
		})
		var ev Event
		if err := d.Decode([]byte(`{"ts":5,"n":0}`), &ev); err != nil {
			t.Fatal(err)
		}
		if ev.ID != IntValue(0) || ev.Fields[0] != ev.ID || ev.Fields[2] != ev.ID || ev.Fields[1] != TimeValue(5e6) {
			t.Errorf("got %+v", ev)
		}
	})
	t.Run("rows of a table have neither id nor time", func(t *testing.T) {
		var ev Event
		d := NewDecoder(DecodeSpec{Slots: []Field{{Name: "name", Type: String}}})
		if err := d.Decode([]byte(`{"name":"x"}`), &ev); err != nil || ev.Fields[0] != StringValue("x") || !ev.ID.IsNull() {
			t.Errorf("got %+v, %v", ev, err)
		}
	})
	t.Run("limit", func(t *testing.T) {
		d := NewDecoder(DecodeSpec{MaxBytes: 10})
		var r *Reject
		if err := d.Decode([]byte(`{"a":1234}`), new(Event)); err != nil {
			t.Errorf("10 bytes: %v", err)
		}
		if err := d.Decode([]byte(`{"a":12345}`), new(Event)); !errors.As(err, &r) || r.Reason != ReasonTooLarge {
			t.Errorf("11 bytes: %v", err)
		}
	})
}

func TestEventsDoNotAliasTheRecord(t *testing.T) {
	d := NewDecoder(everyType())
	data := []byte(`{"id":"e1","ts":1,"s":"plain","y":"aGk="}`)
	var ev Event
	if err := d.Decode(data, &ev); err != nil {
		t.Fatal(err)
	}
	first := ev.Fields[0]
	slots := unsafe.SliceData(ev.Fields)
	copy(data, bytes.Repeat([]byte("#"), len(data)))
	if ev.ID.Str != "e1" || first.Str != "plain" || ev.Fields[7].Str != "hi" {
		t.Errorf("the event changed with the buffer: %+v", ev)
	}
	if err := d.Decode([]byte(`{"s":"\u0061bcde","id":"e2","ts":2}`), &ev); err != nil {
		t.Fatal(err)
	}
	if first.Str != "plain" || ev.Fields[0].Str != "abcde" {
		t.Errorf("strings of two records: %q, %q", first.Str, ev.Fields[0].Str)
	}
	if unsafe.SliceData(ev.Fields) != slots {
		t.Error("the slice of fields was not reused")
	}
}

// FuzzDecode: what is accepted is JSON to the standard library too, has the values that it sees, and makes a valid row;
// what is called malformed is no JSON object, or one of the stated cases that are stricter than RFC 8259.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(impressionJSON))
	f.Add([]byte(`{"s":"x","b":true,"i":-5,"f":1.5,"d":1.50,"t":1500,"y":"aGk=","id":"e1","ts":"2023-11-14T22:13:20Z"}`))
	f.Add([]byte(`{"\u0073":"\ud83d\ude00\"\\\/\b\f\n\r\t","x":[[],{},[{"a":null}]],"id":"e","ts":1e9}`))
	f.Add([]byte(`{"id":"\ud800","id":1}`))
	f.Add([]byte(`{"id":"e","ts":1,"l":["a","\u0062"],"m":{"k":1.50,"a":"2"},"r":{"o":[{"n":1,"t":[5]},{}],"x":null}}`))
	f.Add([]byte(`{"id":"e","ts":1,"l":[null],"m":{"k":1,"\u006b":2},"r":[]}`))
	spec := everyType()
	list, dict := ListOf(Field{Type: String}), MapOf(Field{Type: Decimal})
	inner := RecordOf(Field{Name: "n", Type: Int}, Field{Name: "t", Type: List, Of: &Shape{Elem: Field{Type: Time}}})
	record := RecordOf(Field{Name: "o", Type: List, Of: ListOf(inner).Of}, Field{Name: "x", Type: Bool})
	list.Name, dict.Name, record.Name = "l", "m", "r"
	spec.Slots = append(spec.Slots, list, dict, record)
	d := NewDecoder(spec)
	f.Fuzz(func(t *testing.T, data []byte) {
		var ev Event
		err := d.Decode(data, &ev)
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		valid := json.Valid(data) && utf8.Valid(data) && dec.Decode(&want) == nil && want != nil
		var r *Reject
		if errors.As(err, &r) {
			stricter := strings.Contains(r.Message, "nested") || strings.Contains(r.Message, "surrogate") || strings.Contains(r.Message, "twice")
			if r.Reason == ReasonMalformedJSON && valid && !stricter {
				t.Fatalf("%q is valid, but: %v", data, err)
			}
			return
		}
		if !valid {
			t.Fatalf("%q is accepted, but is no JSON object", data)
		}
		if s, ok := want["s"].(string); ok != (ev.Fields[0].Kind == String) || s != ev.Fields[0].Str {
			t.Fatalf("%q: string %q, want %q", data, ev.Fields[0].Str, s)
		}
		if want["id"] != ev.ID.Str {
			t.Fatalf("%q: id %q, want %q", data, ev.ID.Str, want["id"])
		}
		if n, ok := want["f"].(json.Number); ok {
			if x, err := n.Float64(); err != nil || ev.Fields[3] != FloatValue(x) {
				t.Fatalf("%q: float %+v, want %v", data, ev.Fields[3], n)
			}
		}
		if elems, ok := want["l"].([]any); ok {
			got := slices.Collect(ev.Fields[8].Elements())
			if len(got) != len(elems) {
				t.Fatalf("%q: %d elements, want %v", data, len(got), elems)
			}
			for i := range elems {
				if elems[i] != got[i].Str {
					t.Fatalf("%q: element %d is %q, want %v", data, i, got[i].Str, elems[i])
				}
			}
		}
		if err := CheckRow(AppendRow(nil, &ev, len(ev.Fields)), len(ev.Fields)); err != nil {
			t.Fatalf("%q: the row is refused: %v", data, err)
		}
	})
}
