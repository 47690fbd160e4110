package codecs

import (
	"encoding/json"
	"testing"
)

func TestJSONStrings(t *testing.T) {
	for s, want := range map[string]string{
		"":                        `""`,
		`say "hi" \ /`:            `"say \"hi\" \\ /"`,
		"\n\r\t\b\f\x00\x1f\x7f":  `"\n\r\t\u0008\u000c\u0000\u001f` + "\x7f\"",
		"é\u2028😀<&>":             "\"é\u2028😀<&>\"",
		"a\xffb\xed\xa0\x80c\xc3": "\"a\ufffdb\ufffd\ufffd\ufffdc\ufffd\"",
		"\ufffd\xff":              "\"\ufffd\ufffd\"",
	} {
		if got := string(AppendJSONString(nil, s)); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

func TestJSONValuesReadBack(t *testing.T) {
	for _, v := range sampleValues() {
		b := AppendJSON([]byte(`{"v":`), v)
		b = append(b, '}')
		if !json.Valid(b) {
			t.Errorf("%+v is written as %s", v, b)
			continue
		}
		inRange := (v.Kind != Time || v.Num >= minTime && v.Num <= maxTime) && (v.Kind != Decimal || v.Num <= maxCoef && v.Num >= -maxCoef)
		infinite := v.Kind == Float && v.Float()-v.Float() != 0
		if !inRange || infinite || v.IsNull() {
			continue
		}
		var ev Event
		d := NewDecoder(DecodeSpec{Slots: []Field{{Name: "v", Type: v.Kind}}})
		if err := d.Decode(b, &ev); err != nil || ev.Fields[0] != v {
			t.Errorf("%+v is written as %s, which reads as %+v, %v", v, b, ev.Fields, err)
		}
	}
}

func FuzzJSONString(f *testing.F) {
	f.Add("say \"hi\"\n\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendJSONString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := string([]rune(s)); got != want { // each byte that is no UTF-8 becomes U+FFFD
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}
