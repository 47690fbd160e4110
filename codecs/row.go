package codecs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// Row is an event as the state keeps it, in a canonical binary form: equal rows are equal bytes, and equal values of
// one kind are equal bytes, so that ids and join fields are compared without decoding.
//
//	stream  1 byte
//	time    8 bytes, big endian, sign bit flipped (so bytes order as times do)
//	id      value
//	fields  value * (kept slots)
//
// A value is a tag and its payload (see the tags below). A Row does not say its own length or how many fields it has;
// containers do. Rows read from a History alias its memory and are valid until its next change.
type Row []byte

// Tags of encoded values. Strings below 64 bytes carry their length in the tag; a canonical lower-case UUID takes 16
// bytes instead of 36.
const (
	tagNull     = 0
	tagFalse    = 1
	tagTrue     = 2
	tagInt      = 3  // zigzag varint
	tagFloat    = 4  // 8 bytes, big endian
	tagDecimal  = 5  // scale byte, zigzag varint
	tagTime     = 6  // zigzag varint, microseconds
	tagUUID     = 7  // 16 bytes
	tagString   = 8  // uvarint length, bytes
	tagBytes    = 9  // uvarint length, bytes
	tagList     = 10 // uvarint length, elements
	tagMap      = 11 // uvarint length, (name, value) *
	tagRecord   = 12 // likewise
	tagShort    = 64
	tagShortEnd = 128
)

const rowHeader = 9

var errCorruptRow = errors.New("corrupt row")

// Visitor is called with one row after the other until it returns false.
type Visitor interface{ Visit(row Row) bool }

// AppendRow appends the event's row with its first kept fields.
func AppendRow(dst []byte, e *Event, kept int) Row {
	dst = append(dst, byte(e.Stream))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time)^1<<63)
	dst = AppendValue(dst, e.ID)
	for _, v := range e.Fields[:kept] {
		dst = AppendValue(dst, v)
	}
	return dst
}

// Stream returns the rank of the row's stream.
func (r Row) Stream() int { return int(r[0]) }

// Time returns the event time in microseconds.
func (r Row) Time() int64 { return int64(binary.BigEndian.Uint64(r[1:]) ^ 1<<63) }

// ID returns the encoded id.
func (r Row) ID() []byte { return r[rowHeader : rowHeader+valueLen(r[rowHeader:])] }

// Identity tells the row's event from others of its key: the stream and the encoded id.
func (r Row) Identity() string { return string(r[:1]) + string(r.ID()) }

// IDValue returns the id. Its string is a copy.
func (r Row) IDValue() Value { return decodeValue(r[rowHeader:]) }

// Field returns the encoded value of a slot >= 0.
func (r Row) Field(slot int) []byte {
	at := rowHeader + valueLen(r[rowHeader:])
	for ; slot > 0; slot-- {
		at += valueLen(r[at:])
	}
	return r[at : at+valueLen(r[at:])]
}

// Value returns the value of a slot; SlotID and SlotTime are slots too. Its string is a copy.
func (r Row) Value(slot int) Value {
	switch slot {
	case SlotID:
		return r.IDValue()
	case SlotTime:
		return TimeValue(r.Time())
	}
	return decodeValue(r.Field(slot))
}

// Compare orders rows by the total order: time, stream rank, id bytes.
func (r Row) Compare(o Row) int {
	if c := bytes.Compare(r[1:rowHeader], o[1:rowHeader]); c != 0 {
		return c
	}
	if r[0] != o[0] {
		return int(r[0]) - int(o[0])
	}
	return CompareIDs(r[rowHeader:], o[rowHeader:])
}

// CompareIDs orders two encoded ids as their texts (or numbers) order. Anything behind the ids is not read.
func CompareIDs(a, b []byte) int {
	// Only the same tag orders as bytes do; a UUID's 16 bytes order as its text does.
	if a[0] == b[0] && (a[0] == tagUUID || a[0] >= tagShort) {
		return bytes.Compare(a[1:valueLen(a)], b[1:valueLen(b)])
	}
	va, vb := decodeValue(a), decodeValue(b)
	switch {
	case va.Kind != vb.Kind:
		return int(va.Kind) - int(vb.Kind)
	case va.Str < vb.Str:
		return -1
	case va.Str > vb.Str:
		return 1
	case va.Num < vb.Num:
		return -1
	case va.Num > vb.Num:
		return 1
	}
	return int(va.Scale) - int(vb.Scale)
}

// CheckRow tells whether b is one whole row with the given number of fields. Rows that come from disk or from a topic
// pass it before anything else reads them.
func CheckRow(b []byte, fields int) error {
	if len(b) < rowHeader {
		return errCorruptRow
	}
	at := rowHeader
	for range fields + 1 {
		n, err := CheckValue(b[at:])
		if err != nil {
			return err
		}
		at += n
	}
	if t := Row(b).Time(); at != len(b) || b[rowHeader] == tagNull || t < minTime || t > maxTime {
		return errCorruptRow
	}
	return nil
}

// AppendValue appends the canonical encoding of v.
func AppendValue(dst []byte, v Value) []byte {
	switch v.Kind {
	case Null:
		return append(dst, tagNull)
	case Bool:
		return append(dst, tagFalse+byte(v.Num))
	case Int:
		return binary.AppendVarint(append(dst, tagInt), v.Num)
	case Float:
		return binary.BigEndian.AppendUint64(append(dst, tagFloat), uint64(v.Num))
	case Decimal:
		return binary.AppendVarint(append(dst, tagDecimal, v.Scale), v.Num)
	case Time:
		return binary.AppendVarint(append(dst, tagTime), v.Num)
	case Bytes:
		return append(binary.AppendUvarint(append(dst, tagBytes), uint64(len(v.Str))), v.Str...)
	case List, Map, Struct:
		return append(binary.AppendUvarint(append(dst, tagList+byte(v.Kind-List)), uint64(len(v.Str))), v.Str...)
	}
	if len(v.Str) == 36 {
		if u, ok := packUUID(v.Str); ok {
			return append(append(dst, tagUUID), u[:]...)
		}
	}
	if len(v.Str) < tagShortEnd-tagShort {
		return append(append(dst, tagShort+byte(len(v.Str))), v.Str...)
	}
	return append(binary.AppendUvarint(append(dst, tagString), uint64(len(v.Str))), v.Str...)
}

// IsNullValue tells whether the encoded value is Null.
func IsNullValue(b []byte) bool { return b[0] == tagNull }

func valueLen(b []byte) int {
	switch t := b[0]; {
	case t >= tagShort:
		return 1 + int(t-tagShort)
	case t == tagUUID:
		return 17
	case t <= tagTrue:
		return 1
	case t == tagFloat:
		return 9
	case t == tagInt, t == tagTime:
		return 1 + varintLen(b[1:])
	case t == tagDecimal:
		return 2 + varintLen(b[2:])
	}
	n, w := binary.Uvarint(b[1:])
	return 1 + w + int(n)
}

func varintLen(b []byte) int {
	n := 0
	for b[n] >= 0x80 {
		n++
	}
	return n + 1
}

func decodeValue(b []byte) Value {
	switch t := b[0]; {
	case t >= tagShort:
		return Value{Kind: String, Str: string(b[1 : 1+t-tagShort])}
	case t == tagUUID:
		return Value{Kind: String, Str: unpackUUID(b[1:17])}
	case t == tagNull:
		return Value{}
	case t <= tagTrue:
		return Value{Kind: Bool, Num: int64(t - tagFalse)}
	case t == tagFloat:
		return Value{Kind: Float, Num: int64(binary.BigEndian.Uint64(b[1:]))}
	case t == tagInt:
		n, _ := binary.Varint(b[1:])
		return Value{Kind: Int, Num: n}
	case t == tagTime:
		n, _ := binary.Varint(b[1:])
		return Value{Kind: Time, Num: n}
	case t == tagDecimal:
		n, _ := binary.Varint(b[2:])
		return Value{Kind: Decimal, Num: n, Scale: b[1]}
	}
	n, w := binary.Uvarint(b[1:])
	v := Value{Kind: String, Str: string(b[1+w : 1+w+int(n)])}
	switch b[0] {
	case tagBytes:
		v.Kind = Bytes
	case tagList, tagMap, tagRecord:
		v.Kind = List + Kind(b[0]-tagList)
	}
	return v
}

// CheckValue returns the length of the encoded value at the start of b, or an error where b does not start with one in
// canonical form.
func CheckValue(b []byte) (int, error) {
	if len(b) == 0 || b[0] >= tagShortEnd || (b[0] > tagRecord && b[0] < tagShort) {
		return 0, errCorruptRow
	}
	if b[0] >= tagList && b[0] <= tagRecord {
		return checkNested(b, 1)
	}
	n := 0
	switch b[0] {
	case tagInt, tagTime, tagDecimal:
		at := 1
		if b[0] == tagDecimal {
			at = 2
		}
		if len(b) < at {
			return 0, errCorruptRow
		}
		_, w := binary.Varint(b[at:])
		if w <= 0 {
			return 0, errCorruptRow
		}
		n = at + w
	case tagString, tagBytes:
		l, w := binary.Uvarint(b[1:])
		if w <= 0 || l > math.MaxInt32 {
			return 0, errCorruptRow
		}
		n = 1 + w + int(l)
	default:
		n = valueLen(b)
	}
	if n > len(b) {
		return 0, errCorruptRow
	}
	// One value has one encoding: what does not encode to itself would break comparisons by bytes.
	var buf [80]byte
	v := decodeValue(b[:n])
	if v.Kind == Float && (v.Float() != v.Float() || v.Num == math.MinInt64) || v.Kind == Decimal && DecimalValue(v.Num, v.Scale) != v {
		return 0, errCorruptRow
	}
	if !bytes.Equal(AppendValue(buf[:0], v), b[:n]) {
		return 0, errCorruptRow
	}
	return n, nil
}

const hexDigits = "0123456789abcdef"

// packUUID returns the 16 bytes of a canonical lower-case UUID. Any other text keeps its own bytes, so that what comes
// back is what went in.
func packUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	a, ok1 := unhex8(be32(s, 0)<<32 | be32(s, 4))
	b, ok2 := unhex8(be32(s, 9)<<32 | be32(s, 14))
	c, ok3 := unhex8(be32(s, 19)<<32 | be32(s, 24))
	d, ok4 := unhex8(be32(s, 28)<<32 | be32(s, 32))
	binary.BigEndian.PutUint64(u[:], a<<32|b)
	binary.BigEndian.PutUint64(u[8:], c<<32|d)
	return u, ok1 && ok2 && ok3 && ok4
}

func be32(s string, i int) uint64 {
	return uint64(s[i])<<24 | uint64(s[i+1])<<16 | uint64(s[i+2])<<8 | uint64(s[i+3])
}

// unhex8 turns eight lower-case hexadecimal digits, one per byte of x, into their number; all eight at once, since ids
// are the larger part of most rows.
func unhex8(x uint64) (n uint64, ok bool) {
	const ones = 0x0101010101010101
	n = x&(0x0f*ones) + 9*(x>>6&ones)                      // '0' is 0x30, 'a' is 0x61
	letters := (n + 6*ones) >> 4 & ones                    // 1 where the digit is above 9
	ok = n&(0xf0*ones) == 0 && n+0x30*ones+39*letters == x // does it come back?
	n = (n | n>>4) & 0x00ff00ff00ff00ff
	n = (n | n>>8) & 0x0000ffff0000ffff
	return (n | n>>16) & 0xffffffff, ok
}

func unpackUUID(u []byte) string {
	var s [36]byte
	at := 0
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s[at] = '-'
			at++
		}
		s[at], s[at+1] = hexDigits[b>>4], hexDigits[b&15]
		at += 2
	}
	return string(s[:])
}

// AppendField appends the encoded value of any slot, SlotID and SlotTime included.
func (r Row) AppendField(dst []byte, slot int) []byte {
	switch slot {
	case SlotID:
		return append(dst, r.ID()...)
	case SlotTime:
		return AppendValue(dst, TimeValue(r.Time()))
	}
	return append(dst, r.Field(slot)...)
}

// FieldEqual tells whether a slot's encoded value is the one at the start of want, and how long that value is.
func (r Row) FieldEqual(slot int, want []byte) (n int, equal bool) {
	n = valueLen(want)
	switch slot {
	case SlotID:
		return n, bytes.Equal(r.ID(), want[:n])
	case SlotTime:
		return n, decodeValue(want) == TimeValue(r.Time())
	}
	return n, bytes.Equal(r.Field(slot), want[:n])
}

// RowLen returns the length of the row at the start of b, which has the given number of fields.
func RowLen(b []byte, fields int) int {
	n := rowHeader
	for range fields + 1 {
		n += valueLen(b[n:])
	}
	return n
}
