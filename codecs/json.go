package codecs

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the value as JSON: decimals as exact numbers, times as RFC 3339 in UTC, bytes as base64. A float
// that is infinite is null, as JSON has no word for it. Fields of a record and entries of a map are in the order of their names.
func AppendJSON(dst []byte, v Value) []byte {
	switch v.Kind {
	case String:
		return AppendJSONString(dst, v.Str)
	case Bool, Int, Decimal:
		return AppendText(dst, v)
	case Float:
		if math.IsInf(v.Float(), 0) {
			return append(dst, "null"...)
		}
		return appendFloat(dst, v.Float())
	case Time:
		return append(appendTime(append(dst, '"'), v.Num), '"')
	case Bytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(v.Str))
		return append(dst, '"')
	case List, Map, Struct:
		return appendNestedJSON(dst, v)
	}
	return append(dst, "null"...)
}

// AppendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	valid := utf8.ValidString(s)
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			size := 1
			if !valid {
				var r rune
				if r, size = utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
					dst = append(append(dst, s[from:i]...), "\ufffd"...)
					from = i + 1
				}
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = appendEscaped(append(dst, s[from:i]...), c)
			from = i + 1
		}
		i++
	}
	return append(append(dst, s[from:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendFloat appends the shortest text that reads back as f, without an exponent where the number is of common size.
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}
