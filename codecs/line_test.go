package codecs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitLine(t *testing.T) {
	const second = 1_000_000
	for _, c := range []struct {
		line, stream, record string
		ts                   int64
	}{
		{`{"click":{"a":1}}`, "click", `{"a":1}`, 0},
		{" { \"click\" : { \"a\" : 1 } } \r\n", "click", `{ "a" : 1 }`, 0},
		{`{"click": {}}`, "click", `{}`, 0},
		{`{"click":{"a":{"_ts":5}}}`, "click", `{"a":{"_ts":5}}`, 0},
		{`{"click":{"a":1,"_ts":5}}`, "click", `{"a":1,"_ts":5}`, 0},
		{`{"click":{"a":"}"}}`, "click", `{"a":"}"}`, 0},
		{`{"click":{"a":1},"_ts":1700000000}`, "click", `{"a":1}`, 1700000000 * second},
		{`{"click":{"a":1 } , "_ts" : 1700000000123 }`, "click", `{"a":1 }`, 1700000000_123000},
		{`{"click":{"a":"x,y"},"_ts":"2023-11-14T22:13:20.5Z"}`, "click", `{"a":"x,y"}`, 1700000000_500000},
		{`{"_ts":1700000000,"click":{"a":1}}`, "click", `{"a":1}`, 1700000000 * second},
		{`{ "_ts" : "2023-11-14T22:13:20Z" , "click" : {"a":1} }`, "click", `{"a":1}`, 1700000000 * second},
		{`{"cl\u0069ck":{"a":1}}`, "click", `{"a":1}`, 0},
		{`{"click":5}`, "click", `5`, 0},
		{`{"click":[1,2],"_ts":5}`, "click", `[1,2]`, 5 * second},
		{`{"click":"}","_ts":5}`, "click", `"}"`, 5 * second},
	} {
		stream, record, ts, err := SplitLine([]byte(c.line))
		if err != nil || stream != c.stream || string(record) != c.record || ts != c.ts {
			t.Errorf("%s: %q, %s, %d, %v", c.line, stream, record, ts, err)
		}
	}
	if stream, record, _, err := SplitLine([]byte(`{"click":null}`)); stream != "click" || record != nil || err != nil {
		t.Errorf("a tombstone: %q, %q, %v", stream, record, err)
	}
}

// A line that is not what it must be is refused, by SplitLine or by Decode on the record that it returns.
func TestBrokenLines(t *testing.T) {
	lines := []string{
		``, `   `, `click`, `[]`, `"click"`, `{}`, `{"click"}`, `{"click":}`, `{click:{}}`, `{"click":{}`, `{"click":{}}}`, `{"click":{}} {}`,
		`{"_ts":5}`, `{"_ts":5,}`, `{"_ts":5,"_ts":6,"click":{}}`, `{"_ts":5,"click":{},"_ts":6}`, `{"_ts":5,"click":7,"_ts":6}`,
		`{"click":{},"_ts":5,"_ts":6}`, `{"click":{},"_ts":5,"x":6}`, `{"click":{},"x":6}`, `{"click":{},"x":"_ts"}`, `{"click":{},"view":{}}`,
		`{"click":5,"view":6}`, `{"click":5,"view":{}}`, `{"view":5`, `{"click":{},"_ts":true}`, `{"click":{},"_ts":null}`, `{"click":{},"_ts":"x"}`,
		`{"click":{},"_ts":1e30}`, `{"click":{},"_ts":}`, `{"click":{},}`, `{"click":{},"_ts"}`, `{"click":{}"_ts":5}`, `{"click":{]}`, `{"click":{"a":1]}`,
		`{"click":{"a":{"b":1},"_ts":5}`, `{"click":{"a":"},"_ts":5}`, `{,"click":{}}`, `{"click":tru}`, "{\"cl\nick\":{}}", `{"_ts":5 "click":{}}`,
	}
	whole := `{"click":{"a":[1,{"b":"}"}],"c":2},"_ts":1700000000}`
	for cut := range len(whole) {
		lines = append(lines, whole[:cut])
	}
	d := NewDecoder(DecodeSpec{})
	for _, line := range lines {
		_, record, _, err := SplitLine([]byte(line))
		if err == nil {
			err = d.Decode(record, new(Event))
		}
		if err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
}

func TestLineErrorsNameTheFault(t *testing.T) {
	for line, want := range map[string]string{
		`{"click":{},"x":6}`:        `unexpected "x"`,
		`{"click":{},"_ts":"x"}`:    `field "_ts": expected time`,
		`{"_ts":1,"a":{},"_ts":1}`:  `"_ts" is given twice`,
		`{"click":{"a":1}`:          `the record does not end`,
		`{"click":tru}`:             `offset 9: invalid value`,
		`{"click" {}}`:              `offset 9: expected a colon`,
		`["click"]`:                 `a line must be an object`,
		`{"click":{},"_ts":"2023"}`: `expected time`,
	} {
		if _, _, _, err := SplitLine([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// FuzzLine: a line that is accepted, with its record, is JSON to the standard library too, and says the same.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"click":{"a":1,"b":[{}]},"_ts":1700000000}`))
	f.Add([]byte(`{"_ts":"2023-11-14T22:13:20Z","click":{"a":"}"}}`))
	f.Add([]byte(`{"click":{"a":1},"x":{"_ts":5}}`))
	d := NewDecoder(DecodeSpec{})
	f.Fuzz(func(t *testing.T, line []byte) {
		stream, record, _, err := SplitLine(line)
		if err != nil || d.Decode(record, new(Event)) != nil || !utf8.ValidString(stream) {
			return // a name that is no UTF-8 is no stream's
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatalf("%q was accepted, but: %v", line, err)
		}
		if len(want) > 2 {
			t.Fatalf("%q has %d members", line, len(want))
		}
		if !bytes.Equal(want[stream], record) {
			t.Fatalf("%q: record %q, want %q", line, record, want[stream])
		}
	})
}

func BenchmarkSplitAndDecode(b *testing.B) {
	line := []byte(`{"impression":` + impressionJSON + `,"_ts":1700000000123}`)
	d := NewDecoder(impressionSpec())
	var ev Event
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_, record, _, err := SplitLine(line)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Decode(record, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
