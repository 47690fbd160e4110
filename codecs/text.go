package codecs

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendText appends the value as plain text: the form of ids in row keys, of keys that a producer partitions by, and of
// cells of a CSV file. A Null appends nothing; a list, a map and a record are JSON.
func AppendText(dst []byte, v Value) []byte {
	switch v.Kind {
	case String:
		return append(dst, v.Str...)
	case Bool:
		return strconv.AppendBool(dst, v.Num != 0)
	case Int:
		return strconv.AppendInt(dst, v.Num, 10)
	case Float:
		return appendFloat(dst, v.Float())
	case Decimal:
		return appendDecimal(dst, v)
	case Time:
		return appendTime(dst, v.Num)
	case Bytes:
		return base64.StdEncoding.AppendEncode(dst, []byte(v.Str))
	case List, Map, Struct:
		return appendNestedJSON(dst, v)
	}
	return dst
}

// ParseText reads a value of the field's type from plain text, such as a cell of a CSV file. It takes the same forms as
// a JSON record does. The error is a *Reject with reason wrong_type or out_of_range.
func ParseText(text string, f Field) (Value, error) {
	switch f.Type {
	case String:
		if !utf8.ValidString(text) {
			return Value{}, Rejectf(ReasonWrongType, "field %q: the text is not UTF-8", f.Name)
		}
		return StringValue(text), nil
	case Bool:
		if text == "true" || text == "false" {
			return BoolValue(text == "true"), nil
		}
		return Value{}, mismatch(f, notOfType, text)
	}
	v, p := parseTyped([]byte(text), f)
	if p != noProblem {
		return Value{}, mismatch(f, p, text)
	}
	return v, nil
}

// parseTyped reads a value of those types that have a textual form of their own: all but String and Bool.
func parseTyped(b []byte, f Field) (Value, problem) {
	switch f.Type {
	case Decimal:
		return decimalOf(b)
	case Time:
		return timeOf(b, f.Unit)
	case Bytes:
		raw, err := base64.StdEncoding.AppendDecode(nil, b)
		if err != nil {
			return Value{}, notOfType
		}
		return BytesValue(string(raw)), noProblem
	}
	n, integer := numberLen(b)
	switch {
	case n == 0 || n != len(b):
		return Value{}, notOfType
	case f.Type == Int:
		return intOf(b, integer)
	case f.Type == Float:
		return floatOf(b)
	}
	return Value{}, notOfType
}

func intOf(b []byte, integer bool) (Value, problem) {
	if integer {
		if n, ok := smallInt(b); ok {
			return IntValue(n), noProblem
		}
	}
	n, p := parseNumber(b).int64()
	return IntValue(n), p
}

func floatOf(b []byte) (Value, problem) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsInf(f, 0) {
		return Value{}, outOfRange
	}
	return FloatValue(f), noProblem
}

// mismatch is the reject of a field that holds something else than its type.
func mismatch(f Field, p problem, found string) *Reject {
	if p == outOfRange {
		return Rejectf(ReasonOutOfRange, "field %q: %s does not fit %s", f.Name, abbreviate(found), rangeOf(f.Type))
	}
	return Rejectf(ReasonWrongType, "field %q: expected %s, found %s", f.Name, f.TypeName(), abbreviate(found))
}

func rangeOf(k Kind) string {
	switch k {
	case Int:
		return "an int of 64 bits"
	case Decimal:
		return "a decimal of 18 digits"
	case Time:
		return "a time in the years 1 to 9999"
	}
	return "a " + k.String()
}

// abbreviate shortens a text for a message, on a rune's boundary.
func abbreviate(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:end], len(text))
}
