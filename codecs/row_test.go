package codecs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

func TestEqualValuesAreEqualBytes(t *testing.T) {
	vals := sampleValues()
	for _, a := range vals {
		ea := AppendValue(nil, a)
		if n, err := CheckValue(ea); err != nil || n != len(ea) {
			t.Errorf("CheckValue of %+v: %d of %d, %v", a, n, len(ea), err)
		}
		if got := decodeValue(ea); got != a {
			t.Errorf("%+v came back as %+v", a, got)
		}
		if n := valueLen(append(bytes.Clone(ea), 0xff, 0xff)); n != len(ea) {
			t.Errorf("ValueLen of %+v: %d, want %d", a, n, len(ea))
		}
		for _, b := range vals {
			if eb := AppendValue(nil, b); (a == b) != bytes.Equal(ea, eb) {
				t.Errorf("%+v and %+v: equal is %v, equal bytes is %v", a, b, a == b, bytes.Equal(ea, eb))
			}
		}
	}
}

func TestValuesAreCanonical(t *testing.T) {
	for _, pair := range [][2]Value{
		{FloatValue(math.Copysign(0, -1)), FloatValue(0)},
		{FloatValue(math.NaN()), {}},
		{DecimalValue(1500, 3), DecimalValue(15, 1)},
		{DecimalValue(0, 9), DecimalValue(0, 0)},
		{DecimalValue(-100, 1), DecimalValue(-10, 0)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%+v != %+v", pair[0], pair[1])
		}
	}
}

func TestCheckValueRefusesASecondEncoding(t *testing.T) {
	for name, b := range map[string][]byte{
		"long varint":              {tagInt, 0x80, 0x00},
		"decimal, trailing zero":   {tagDecimal, 1, 20},
		"negative zero":            {tagFloat, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"not a number":             {tagFloat, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1},
		"short string, long form":  {tagString, 1, 'a'},
		"UUID as a short string":   append([]byte{tagShort + 36}, "5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a11"...),
		"string longer than bytes": {tagString, 200, 1, 'a'},
		"short string cut":         {tagShort + 2, 'a'},
		"length beyond memory":     {tagBytes, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"varint without end":       {tagTime, 0x80, 0x80},
		"decimal without number":   {tagDecimal},
		"unknown tag":              {13},
		"list without length":      {tagList},
		"list longer than bytes":   {tagList, 2, tagTrue},
		"length in a long form":    {tagList, 0x80, 0x00},
		"null in a list":           {tagList, 1, tagNull},
		"half a value in a list":   {tagList, 2, tagTrue, tagInt},
		"names out of order":       {tagMap, 6, tagShort + 1, 'b', tagTrue, tagShort + 1, 'a', tagTrue},
		"a name twice":             {tagMap, 6, tagShort + 1, 'a', tagTrue, tagShort + 1, 'a', tagTrue},
		"name without value":       {tagRecord, 2, tagShort + 1, 'a'},
		"null in a record":         {tagRecord, 3, tagShort + 1, 'a', tagNull},
		"a name that is no text":   {tagMap, 2, tagTrue, tagTrue},
		"lists too deep":           {tagList, 8, tagList, 6, tagList, 4, tagList, 2, tagList, 0},
		"unknown high tag":         {tagShortEnd},
		"nothing":                  {},
	} {
		if n, err := CheckValue(b); err == nil {
			t.Errorf("%s: accepted as %d bytes, %+v", name, n, decodeValue(b))
		}
	}
}

func TestRowRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := randomEvent(r, r.IntN(6))
		row := AppendRow(nil, want, len(want.Fields))
		if err := CheckRow(row, len(want.Fields)); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		got := Event{Fields: make([]Value, 9)}
		decodeRow(row, len(want.Fields), &got)
		if got.Stream != want.Stream || got.Time != want.Time || got.ID != want.ID || len(got.Fields) != len(want.Fields) {
			t.Fatalf("%+v came back as %+v", want, got)
		}
		if row.Value(SlotID) != want.ID || row.Value(SlotTime) != TimeValue(want.Time) || !bytes.Equal(row.ID(), AppendValue(nil, want.ID)) {
			t.Fatalf("id and time of %+v: %+v, %+v", want, row.Value(SlotID), row.Value(SlotTime))
		}
		for slot, v := range want.Fields {
			if got.Fields[slot] != v || row.Value(slot) != v || !bytes.Equal(row.Field(slot), AppendValue(nil, v)) {
				t.Fatalf("slot %d of %+v: %+v", slot, want, row.Value(slot))
			}
			if IsNullValue(row.Field(slot)) != v.IsNull() {
				t.Fatalf("slot %d of %+v: wrong about null", slot, want)
			}
		}
		for cut := range len(row) {
			if CheckRow(row[:cut], len(want.Fields)) == nil {
				t.Fatalf("row of %+v accepted when cut to %d of %d bytes", want, cut, len(row))
			}
		}
		if CheckRow(append(bytes.Clone(row), 0), len(want.Fields)) == nil {
			t.Fatalf("row of %+v accepted with a byte too many", want)
		}
	}
}

func TestCompareIsTheTotalOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		a, b := randomEvent(r, 1), randomEvent(r, 1)
		want := cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.ID.Str, b.ID.Str))
		if got := AppendRow(nil, a, 1).Compare(AppendRow(nil, b, 1)); sign(got) != want {
			t.Fatalf("Compare of\n%+v\n%+v\nis %d, want %d", a, b, got, want)
		}
	}
	ints := []int64{math.MinInt64, -1000, -64, -1, 0, 1, 63, 64, 128, 1000, math.MaxInt64}
	for i, a := range ints {
		for j, b := range ints {
			if got := CompareIDs(AppendValue(nil, IntValue(a)), AppendValue(nil, IntValue(b))); sign(got) != cmp.Compare(i, j) {
				t.Errorf("ids %d and %d: %d", a, b, got)
			}
		}
	}
}

func sign(n int) int { return cmp.Compare(n, 0) }

// decodeRow fills an event from a row with that many fields.
func decodeRow(r Row, fields int, ev *Event) {
	ev.Stream, ev.Time, ev.ID, ev.Fields = r.Stream(), r.Time(), r.IDValue(), nil
	for slot := range fields {
		ev.Fields = append(ev.Fields, r.Value(slot))
	}
}

// FuzzRow: whatever CheckRow accepts is the one encoding of what it decodes to.
func FuzzRow(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		n := r.IntN(4)
		f.Add([]byte(AppendRow(nil, randomEvent(r, n), n)), byte(n))
	}
	for range 10 {
		_, v, _ := randomNested(r, 1)
		f.Add([]byte(AppendRow(nil, &Event{ID: IntValue(1), Fields: []Value{v}}, 1)), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, n byte) {
		fields := int(n % 8)
		if CheckRow(b, fields) != nil {
			return
		}
		var ev Event
		decodeRow(b, fields, &ev)
		for _, v := range ev.Fields {
			if text := AppendJSON(nil, v); utf8.Valid(b) && !json.Valid(text) {
				t.Fatalf("%+v is written as %s", v, text)
			}
		}
		if again := AppendRow(nil, &ev, fields); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, ev, again)
		}
		if c := Row(b).Compare(b); c != 0 {
			t.Fatalf("a row compares to itself as %d", c)
		}
	})
}
