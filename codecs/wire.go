package codecs

import (
	"encoding/binary"
	"errors"
)

// errCorrupt is the cause of every refused binary form: shuffle records, changelog keys and values.
var errCorrupt = errors.New("corrupt")

// wireReader takes binary forms apart. After the first thing that is not there `bad` is set and all it returns is zero, so
// that a caller checks once, at the end. It takes integers in their shortest form only: one value has one encoding.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *wireReader) uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	n := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return n
}

func (r *wireReader) uvarint() uint64 {
	n, w := binary.Uvarint(r.b)
	if w <= 0 || w > 1 && r.b[w-1] == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[w:]
	return n
}

func (r *wireReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads an unsigned number that must not exceed limit.
func (r *wireReader) count(limit uint64) uint64 {
	n := r.uvarint()
	if n > limit {
		r.fail()
		return 0
	}
	return n
}

// bytes reads a length and as many bytes, which alias what is read from; none are nil.
func (r *wireReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
	}
	if n == 0 || r.bad {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// rest reads all that is left.
func (r *wireReader) rest() []byte {
	b := r.b
	r.b = nil
	return b
}

func (r *wireReader) fail() {
	r.b, r.bad = nil, true
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
