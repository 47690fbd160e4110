package tables

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// History is the rows of one key, in the total order, without two rows of the same stream and id. A Table has one
// History at a time: Table.History moves it to another key. Rows it hands out are valid until the next change.
//
// Up to some dozen rows a history is one block that is scanned; beyond that it is indexed by id and by access path, so
// that an event costs the same among ten thousand touches as among ten.
//
// Of a long history on the disk only what is asked for is read: nothing else of it for Get, the stream for Latest and Count,
// all of it for the rest. Who has used a History asks for its Err: what could not be read is missing from what it said.
type History struct {
	t      *Table
	key    []byte
	hash   uint32
	unread streamSet // that have rows on the disk which may not be in memory
	addr   uint32    // the key's block; 0: nothing is kept for the key
	blk    []byte    // its bytes
	big    *large    // not nil: the block is only the key's head and the rows are here
}

// Layout of a key's block. The key follows, and then either the number of the large history (flagLarge) or the small
// history (see small.go).
const (
	blkClass = 0  // the arena's
	blkFlags = 1  //
	blkKey   = 2  // uint16, length of the key
	blkDue   = 4  // int64, bucket of the scheduled expiry (see expire.go), or what is unread (see unread.go)
	blkRows  = 12 // uint16
	blkLow   = 14 // uint16, where the rows begin
	blkGaps  = 16 // uint16, bytes among the rows that removed ones have left
	blkHead  = 18
)

// Flags of a block.
const (
	flagLarge   = 1 << iota
	flagCapped  // rows have left because of MaxTouches
	flagUsed    // seen since the cache's hand last passed
	flagPending // has changes that are not committed yet
)

var hashSeed = maphash.MakeSeed()

func hash32(b []byte) uint32 {
	h := maphash.Bytes(hashSeed, b)
	return uint32(h>>32) ^ uint32(h)
}

func blockKey(b []byte) []byte {
	n := int(binary.LittleEndian.Uint16(b[blkKey:]))
	return b[blkHead : blkHead+n]
}

// largeNumber is the index into Table.larges of a block with flagLarge.
func largeNumber(b []byte) uint32 {
	return binary.LittleEndian.Uint32(b[blkHead+len(blockKey(b)):])
}

// open moves the history to key, without reading the disk.
func (h *History) open(key []byte, hash uint32) bool {
	*h = History{t: h.t, key: key, hash: hash}
	part := h.t.keys.part(hash)
	for p := part.probe(hash); ; {
		addr := part.candidate(&p)
		if addr == 0 {
			return false
		}
		b := h.t.arena.block(addr)
		if bytes.Equal(blockKey(b), key) {
			h.attach(addr, b)
			return true
		}
	}
}

// attach points the history at a block that exists.
func (h *History) attach(addr uint32, b []byte) {
	h.addr, h.blk, h.big, h.unread = addr, b, nil, blockUnread(b)
	if b[blkFlags]&flagUsed == 0 {
		b[blkFlags] |= flagUsed
	}
	if b[blkFlags]&flagLarge != 0 {
		h.big = h.t.larges[largeNumber(b)]
	}
}

// Len returns the number of rows.
func (h *History) Len() int {
	h.readAll()
	return h.inMemory()
}

// inMemory returns the number of rows that are in memory.
func (h *History) inMemory() int {
	if h.big != nil {
		return h.big.len()
	}
	return h.rows()
}

// Count returns the number of rows of the stream.
func (h *History) Count(stream int) int {
	h.read(stream)
	if h.big != nil {
		return len(h.big.all[stream])
	}
	n := 0
	for i := range h.rows() {
		if h.isOf(i, stream) {
			n++
		}
	}
	return n
}

// Capped tells whether rows have left the history because of MaxTouches: what it says may then differ from a batch
// over all events.
func (h *History) Capped() bool {
	h.readAll()
	return h.blk != nil && h.blk[blkFlags]&flagCapped != 0
}

// Get returns the row with that stream and encoded id, nil where there is none.
func (h *History) Get(stream int, id []byte) codecs.Row {
	if r := h.get(stream, id); r != nil || !h.unread.has(stream) {
		return r
	}
	return h.t.fetchRow(h, stream, id)
}

// get returns the row if it is in memory.
func (h *History) get(stream int, id []byte) codecs.Row {
	if h.big != nil {
		return h.big.get(stream, id)
	}
	if i := h.find(stream, id); i >= 0 {
		return h.row(i)
	}
	return nil
}

// Latest returns the time of the stream's last row, math.MinInt64 where there is none.
func (h *History) Latest(stream int) int64 {
	h.read(stream)
	if h.big != nil {
		return h.big.latest(stream)
	}
	for i := h.rows() - 1; i >= 0; i-- {
		if h.isOf(i, stream) {
			return h.at(i).Time()
		}
	}
	return math.MinInt64
}

// Descend visits the stream's rows with from <= time <= to whose values on the access path are those of match (the
// encoded values, one after the other), latest first in the total order.
func (h *History) Descend(stream, path int, match []byte, from, to int64, v codecs.Visitor) {
	h.readAll() // and nothing later, which would move the rows that are handed out
	if h.big != nil {
		h.big.descend(stream, path, match, from, to, v)
		return
	}
	slots := h.t.shape.Streams[stream].Paths[path]
	for i := h.rows() - 1; i >= 0; i-- {
		if !h.isOf(i, stream) {
			continue
		}
		r := h.at(i)
		time := r.Time()
		if time > to {
			continue
		}
		if time < from {
			return
		}
		if onPath(r, slots, match) && !v.Visit(h.row(i)) {
			return
		}
	}
}

// Ascend visits all rows in the total order.
func (h *History) Ascend(v codecs.Visitor) {
	h.readAll()
	if h.big != nil {
		h.big.ascend(v)
		return
	}
	for i := range h.rows() {
		if !v.Visit(h.row(i)) {
			return
		}
	}
}

// onPath tells whether a row's values in slots are those of match. A null is never equal.
func onPath(r codecs.Row, slots []int, match []byte) bool {
	for _, s := range slots {
		n, equal := r.FieldEqual(s, match)
		if !equal || codecs.IsNullValue(match) {
			return false
		}
		match = match[n:]
	}
	return true
}

// Insert adds a row, which it copies. There must be none with the same stream and id.
func (h *History) Insert(row codecs.Row) {
	h.insert(row)
	h.t.pending.put(h, row)
	h.t.schedule(h, row)
	h.t.trim.put(h.t.due(row))
}

func (h *History) insert(row codecs.Row) {
	switch {
	case h.big != nil:
		h.big.insert(row)
	case h.rows() >= h.t.largeRows || len(h.blk)+len(row) > maxSmallBytes:
		h.grow()
		h.big.insert(row)
	default:
		h.insertSmall(row)
	}
}

// Remove takes out the row with that stream and encoded id, if there is one.
func (h *History) Remove(stream int, id []byte) {
	h.read(stream) // later the row would be read again
	r := h.get(stream, id)
	if r == nil {
		return
	}
	h.t.pending.remove(h, stream, id)
	h.remove(r)
}

func (h *History) remove(r codecs.Row) {
	if h.big != nil {
		h.big.remove(r)
		if h.big.len()*4 < h.t.largeRows {
			h.shrink()
		}
		return
	}
	h.removeSmall(r)
}

// Cap marks the history as one that MaxTouches has taken rows from.
func (h *History) Cap() {
	if h.addr != 0 && h.blk[blkFlags]&flagCapped == 0 {
		h.blk[blkFlags] |= flagCapped
		h.t.pending.mark(h)
	}
}

// release frees the key's block if nothing is left in it. The cache of a disk table keeps it until the removals are
// committed: the disk does not know of them yet.
func (h *History) release() {
	if h.addr != 0 && h.inMemory() == 0 && (h.t.disk == nil || h.blk[blkFlags]&flagPending == 0) {
		h.forget()
	}
}

// forget drops the key from memory.
func (h *History) forget() {
	if h.big != nil {
		h.t.freeLarge(largeNumber(h.blk))
	}
	part := h.t.keys.part(h.hash)
	for p := part.probe(h.hash); ; {
		addr := part.candidate(&p)
		if addr == h.addr {
			part.remove(&p)
			break
		}
	}
	h.t.arena.release(h.addr)
	h.addr, h.blk, h.big, h.unread = 0, nil, nil, 0
}
