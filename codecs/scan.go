package codecs

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how many objects and arrays may be open at once in a record, the record itself included. Events are flat
// or nearly so; the bound keeps a hostile record from costing stack.
const maxDepth = 64

// scanner reads JSON as RFC 8259 has it, and nothing more lenient, over bytes that are known to be valid UTF-8. Like
// RFC 7493 it refuses lone surrogates, because two different texts must not decode to one id.
//
// Its methods leave `at` behind what they read; where they return false, `problem` says what is wrong at `at`.
type scanner struct {
	b       []byte
	at      int
	problem string
}

func (s *scanner) fail(problem string) bool {
	s.problem = problem
	if s.at >= len(s.b) {
		s.at, s.problem = len(s.b), "unexpected end"
	}
	return false
}

// space skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) space() byte {
	for s.at < len(s.b) {
		c := s.b[s.at]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.at++
	}
	return 0
}

// str reads a string; the text between its quotes is b[start:end], with escapes if escaped is set.
func (s *scanner) str() (start, end int, escaped, ok bool) {
	if s.at >= len(s.b) || s.b[s.at] != '"' {
		return 0, 0, false, s.fail("expected a string")
	}
	s.at++
	start = s.at
	for {
		s.at = plainEnd(s.b, s.at)
		if s.at >= len(s.b) {
			return 0, 0, false, s.fail("")
		}
		switch s.b[s.at] {
		case '"':
			end = s.at
			s.at++
			return start, end, escaped, true
		case '\\':
			escaped = true
			if !s.escape() {
				return 0, 0, false, false
			}
		default:
			return 0, 0, false, s.fail("control character in a string")
		}
	}
}

// plainEnd returns the index of the first byte from i on that ends a plain run within a string: a quote, a backslash or
// a control character. It looks at eight bytes at a time; only the lowest hit in a word is exact, and only that is used.
func plainEnd(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote := x ^ ones*'"'
		slash := x ^ ones*'\\'
		hit := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

func (s *scanner) escape() bool {
	if s.at+1 >= len(s.b) {
		s.at = len(s.b)
		return s.fail("")
	}
	switch s.b[s.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return true
	case 'u':
		high, ok := hex4(s.b[s.at:])
		if !ok {
			return s.fail("invalid escape")
		}
		if high < 0xd800 || high > 0xdfff {
			s.at += 6
			return true
		}
		low, ok := hex4(s.b[s.at+6:])
		if high > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
			return s.fail("lone surrogate")
		}
		s.at += 12
		return true
	}
	return s.fail("invalid escape")
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendUnescaped appends the text that a scanned string with escapes stands for.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		switch c := raw[i+1]; c {
		case 'u':
			r, _ := hex4(raw[i:])
			i += 6
			if r >= 0xd800 && r <= 0xdfff {
				low, _ := hex4(raw[i:])
				r = (r-0xd800)<<10 | (low - 0xdc00) + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

// number reads a number; integer is set where it has neither fraction nor exponent.
func (s *scanner) number() (integer, ok bool) {
	n, integer := numberLen(s.b[s.at:])
	if n == 0 {
		return false, s.fail("invalid number")
	}
	s.at += n
	return integer, true
}

// numberLen returns the length of the JSON number at the start of b, 0 where there is none.
func numberLen(b []byte) (n int, integer bool) {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch first := i; {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = digitsEnd(b, i); i == first {
			return 0, false
		}
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		first := i + 1
		if i = digitsEnd(b, first); i == first {
			return 0, false
		}
		integer = false
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		first := i + 1
		if first < len(b) && (b[first] == '+' || b[first] == '-') {
			first++
		}
		if i = digitsEnd(b, first); i == first {
			return 0, false
		}
		integer = false
	}
	return i, integer
}

func digitsEnd(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.at < len(word) || string(s.b[s.at:s.at+len(word)]) != word {
		return s.fail("invalid value")
	}
	s.at += len(word)
	return true
}

// skip reads a value of any kind, with `open` objects and arrays around it.
func (s *scanner) skip(open int) bool {
	switch c := s.space(); c {
	case '"':
		_, _, _, ok := s.str()
		return ok
	case '{', '[':
		if open >= maxDepth {
			return s.fail("nested too deep")
		}
		return s.skipMembers(c == '{', open+1)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, ok := s.number()
		return ok
	}
	return s.fail("expected a value")
}

func (s *scanner) skipMembers(object bool, open int) bool {
	closing := byte(']')
	if object {
		closing = '}'
	}
	s.at++
	if s.space() == closing {
		s.at++
		return true
	}
	for {
		if object {
			s.space()
			if _, _, _, ok := s.str(); !ok || !s.colon() {
				return false
			}
		}
		if !s.skip(open) {
			return false
		}
		more, ok := s.next(closing)
		if !more {
			return ok
		}
	}
}

func (s *scanner) colon() bool {
	if s.space() != ':' {
		return s.fail("expected a colon")
	}
	s.at++
	return true
}

// next reads what follows a member: a comma, after which there is more, or the closing bracket.
func (s *scanner) next(closing byte) (more, ok bool) {
	switch s.space() {
	case ',':
		s.at++
		return true, true
	case closing:
		s.at++
		return false, true
	}
	return false, s.fail("expected a comma or the end")
}
