package codecs

import (
	"errors"
	"math"
	"testing"
	"unicode/utf8"
)

func TestTextRoundTrip(t *testing.T) {
	for _, v := range sampleValues() {
		switch {
		case v.IsNull(), v.Kind == Float && math.IsInf(v.Float(), 0), v.Kind == String && !utf8.ValidString(v.Str):
			continue
		case v.Kind == Time && (v.Num < minTime || v.Num > maxTime):
			continue
		case v.Kind == Decimal && (v.Num > maxCoef || v.Num < -maxCoef):
			continue
		}
		text := string(AppendText(nil, v))
		if got, err := ParseText(text, Field{Type: v.Kind}); err != nil || got != v {
			t.Errorf("%+v is written as %q, which reads as %+v, %v", v, text, got, err)
		}
	}
}

func TestParseTextRefuses(t *testing.T) {
	for _, c := range []struct {
		text   string
		kind   Kind
		reason string
	}{
		{"yes", Bool, ReasonWrongType},
		{"1.5", Int, ReasonWrongType},
		{"", Int, ReasonWrongType},
		{"9223372036854775808", Int, ReasonOutOfRange},
		{"1e400", Float, ReasonOutOfRange},
		{"NaN", Float, ReasonWrongType},
		{"ten", Decimal, ReasonWrongType},
		{"1e30", Decimal, ReasonOutOfRange},
		{"yesterday", Time, ReasonWrongType},
		{"1e30", Time, ReasonOutOfRange},
		{"not base64!", Bytes, ReasonWrongType},
		{"\xff", String, ReasonWrongType},
		{"", Null, ReasonWrongType},
	} {
		v, err := ParseText(c.text, Field{Name: "f", Type: c.kind})
		var r *Reject
		if !errors.As(err, &r) || r.Reason != c.reason {
			t.Errorf("%q as %s: %+v, %v; want %s", c.text, c.kind, v, err, c.reason)
		}
	}
}
