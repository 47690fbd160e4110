package tables

import (
	"bytes"
	"encoding/binary"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A small history is one block, laid out as a slotted page: behind the key a directory of 3 bytes per row, in the total
// order, that grows up, and from the block's end the rows themselves, that grow down in order of insertion. A directory
// entry is the row's offset and a tag of its stream and id, so that most events are placed without a look at the rows:
// what they cost is the cache lines that they touch. What removed rows leave behind is reclaimed when room is short.

const dirEntry = 3

// tagOf is 3 bits of the stream and 5 bits that depend on the id.
func tagOf(stream int, id []byte) byte {
	x := uint32(len(id))
	if n := len(id); n >= 4 {
		x = binary.LittleEndian.Uint32(id[n-4:])
	} else {
		for _, b := range id {
			x = x<<8 | uint32(b)
		}
	}
	return byte(stream)<<5 | byte(x*0x9E3779B1>>27)
}

// rows returns the number of rows of a history that is small, or empty.
func (h *History) rows() int {
	if h.blk == nil {
		return 0
	}
	return int(binary.LittleEndian.Uint16(h.blk[blkRows:]))
}

// dir returns where the directory begins.
func (h *History) dir() int { return blkHead + int(binary.LittleEndian.Uint16(h.blk[blkKey:])) }

// at returns row i without its end.
func (h *History) at(i int) codecs.Row {
	d := h.dir() + dirEntry*i
	return h.blk[binary.LittleEndian.Uint16(h.blk[d:]):]
}

// row returns row i.
func (h *History) row(i int) codecs.Row {
	r := h.at(i)
	n := h.t.rowLen(r)
	return r[:n:n]
}

func (t *Table) rowLen(r codecs.Row) int {
	return codecs.RowLen(r, t.shape.Streams[r.Stream()].Fields)
}

// isOf tells whether row i is one of the stream.
func (h *History) isOf(i, stream int) bool {
	tag := h.blk[h.dir()+dirEntry*i+2]
	return tag>>5 == byte(stream)&7 && (len(h.t.shape.Streams) <= 8 || h.at(i).Stream() == stream)
}

// find returns the index of the row with that stream and id, -1 where there is none.
func (h *History) find(stream int, id []byte) int {
	n := h.rows()
	if n == 0 {
		return -1
	}
	tag, dir := tagOf(stream, id), h.dir()
	for i := n - 1; i >= 0; i-- {
		if h.blk[dir+dirEntry*i+2] == tag {
			if r := h.at(i); r.Stream() == stream && bytes.HasPrefix(r[9:], id) {
				return i
			}
		}
	}
	return -1
}

func (h *History) insertSmall(row codecs.Row) {
	if h.addr == 0 {
		h.create(dirEntry + len(row))
	} else if h.free() < dirEntry+len(row) {
		h.makeRoom(dirEntry + len(row))
	}
	n := h.rows()
	i := n
	for i > 0 && row.Compare(h.at(i-1)) < 0 {
		i--
	}
	low := h.low() - len(row)
	copy(h.blk[low:], row)
	d := h.dir() + dirEntry*i
	copy(h.blk[d+dirEntry:], h.blk[d:h.dir()+dirEntry*n])
	binary.LittleEndian.PutUint16(h.blk[d:], uint16(low))
	h.blk[d+2] = tagOf(row.Stream(), row.ID())
	h.setRows(n+1, low, h.gaps())
}

func (h *History) removeSmall(r codecs.Row) { h.dropSmall(h.find(r.Stream(), r.ID())) }

// dropSmall takes out row i.
func (h *History) dropSmall(i int) {
	n, d := h.rows(), h.dir()+dirEntry*i
	low, gaps, size := h.low(), h.gaps(), h.t.rowLen(h.at(i))
	if int(binary.LittleEndian.Uint16(h.blk[d:])) == low {
		low += size
	} else {
		gaps += size
	}
	copy(h.blk[d:], h.blk[d+dirEntry:h.dir()+dirEntry*n])
	h.setRows(n-1, low, gaps)
}

func (h *History) low() int  { return int(binary.LittleEndian.Uint16(h.blk[blkLow:])) }
func (h *History) gaps() int { return int(binary.LittleEndian.Uint16(h.blk[blkGaps:])) }

// free returns how many bytes lie between directory and rows.
func (h *History) free() int { return h.low() - h.dir() - dirEntry*h.rows() }

func (h *History) setRows(n, low, gaps int) {
	binary.LittleEndian.PutUint16(h.blk[blkRows:], uint16(n))
	binary.LittleEndian.PutUint16(h.blk[blkLow:], uint16(low))
	binary.LittleEndian.PutUint16(h.blk[blkGaps:], uint16(gaps))
}

// create makes the key's block, with room for size bytes beside the key.
func (h *History) create(size int) {
	h.addr = h.t.arena.alloc(blkHead + len(h.key) + size)
	h.blk = h.t.arena.block(h.addr)
	clear(h.blk[1:blkHead])
	h.blk[blkFlags] = flagUsed
	due := int64(noDue)
	if h.unread != 0 {
		due = unreadDue(h.unread)
	}
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(due))
	binary.LittleEndian.PutUint16(h.blk[blkKey:], uint16(len(h.key)))
	copy(h.blk[blkHead:], h.key)
	h.setRows(0, len(h.blk), 0)
	h.t.keys.part(h.hash).insert(h.hash, h.addr)
}

// need returns how many bytes the block's content takes.
func (h *History) need() int {
	return h.dir() + dirEntry*h.rows() + len(h.blk) - h.low() - h.gaps()
}

// makeRoom sees to it that size bytes are free: by closing the gaps that removed rows have left, or in a larger block.
// Histories that grow often get room for some more rows, so that not each of them moves all others.
func (h *History) makeRoom(size int) {
	const often = 6
	need := h.need() + size
	switch {
	case need+need/8 <= len(h.blk):
		h.t.scratch = append(h.t.scratch[:0], h.blk...)
		h.layOut(h.t.scratch, h.blk)
	case h.rows() < often:
		h.move(need)
	default:
		h.move(need + need/4)
	}
}

// move gives the key a block of at least size bytes.
func (h *History) move(size int) {
	addr := h.t.arena.alloc(size)
	b := h.t.arena.block(addr)
	copy(b[1:], h.blk[1:h.dir()+dirEntry*h.rows()])
	old := h.blk
	h.rebind(addr, b)
	h.layOut(old, b)
}

// layOut writes the rows of a block, one behind the other, to the end of another whose head and directory it has.
func (h *History) layOut(from, to []byte) {
	if h.gaps() == 0 {
		shift := len(to) - len(from)
		copy(to[h.low()+shift:], from[h.low():])
		for d, n := h.dir(), h.rows(); n > 0; d, n = d+dirEntry, n-1 {
			binary.LittleEndian.PutUint16(to[d:], uint16(int(binary.LittleEndian.Uint16(from[d:]))+shift))
		}
		h.setRows(h.rows(), h.low()+shift, 0)
		return
	}
	low := len(to)
	for i := range h.rows() {
		d := h.dir() + dirEntry*i
		at := binary.LittleEndian.Uint16(from[d:])
		n := h.t.rowLen(from[at:])
		low -= n
		copy(to[low:], from[at:int(at)+n])
		binary.LittleEndian.PutUint16(to[d:], uint16(low))
	}
	h.setRows(h.rows(), low, 0)
}

// tighten gives back the room of a block that expiry has left half empty.
func (h *History) tighten() {
	if h.addr != 0 && h.big == nil && len(h.blk) >= 256 {
		if need := h.need(); need*2 < len(h.blk) {
			h.move(need)
		}
	}
}

// rebind makes another block the key's and releases the one it had, whose bytes stay until the next block is taken.
func (h *History) rebind(addr uint32, b []byte) {
	part := h.t.keys.part(h.hash)
	for p := part.probe(h.hash); ; {
		if part.candidate(&p) == h.addr {
			part.set(&p, addr)
			break
		}
	}
	h.t.arena.release(h.addr)
	h.addr, h.blk = addr, b
}

// grow turns the block's rows into an indexed history.
func (h *History) grow() {
	big := newLarge(h.t.shape.Streams)
	if h.addr == 0 {
		h.create(4)
	}
	for i := range h.rows() {
		big.insert(h.row(i))
	}
	h.setRows(0, len(h.blk), 0)
	h.move(h.dir() + 4)
	h.blk[blkFlags] |= flagLarge
	binary.LittleEndian.PutUint32(h.blk[h.dir():], h.t.addLarge(big))
	h.big = big
}

// shrink turns an indexed history that has become short back into a block.
func (h *History) shrink() {
	big := h.big
	size := h.dir()
	for _, refs := range big.all {
		for _, ref := range refs {
			size += dirEntry + len(big.row(ref))
		}
	}
	if size > maxSmallBytes/2 {
		return
	}
	h.t.freeLarge(largeNumber(h.blk))
	h.blk[blkFlags] &^= flagLarge
	h.big = nil
	h.move(size)
	big.ascend(appender{h})
}

type appender struct{ h *History }

func (a appender) Visit(row codecs.Row) bool {
	a.h.insertSmall(row)
	return true
}
