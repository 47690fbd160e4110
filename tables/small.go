package tables

import (
	"encoding/binary"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A small history is one block: its rows lie one behind the other in the total order, and are scanned.

func (h *History) used() int {
	if h.blk == nil {
		return blkHead + len(h.key)
	}
	return int(binary.LittleEndian.Uint16(h.blk[blkUsed:]))
}

func (h *History) insertSmall(row codecs.Row) {
	if h.addr == 0 {
		h.create(h.used() + 2 + len(row))
	}
	at, i := h.used(), len(h.offs)
	for i > 0 && row.Compare(h.row(i-1)) < 0 {
		i--
		at = int(h.offs[i])
	}
	size := 2 + len(row)
	h.reserve(h.used() + size)
	used := h.used()
	copy(h.blk[at+size:used+size], h.blk[at:used])
	binary.LittleEndian.PutUint16(h.blk[at:], uint16(len(row)))
	copy(h.blk[at+2:], row)
	h.resize(used+size, len(h.offs)+1)
	h.offs = append(h.offs, 0)
	copy(h.offs[i+1:], h.offs[i:])
	h.offs[i] = uint16(at)
	for j := i + 1; j < len(h.offs); j++ {
		h.offs[j] += uint16(size)
	}
}

func (h *History) removeSmall(r codecs.Row) {
	i := len(h.offs) - 1
	for i >= 0 && r.Compare(h.row(i)) != 0 {
		i--
	}
	size, at, used := uint16(2+len(h.row(i))), h.offs[i], h.used()
	copy(h.blk[at:], h.blk[at+size:used])
	h.offs = append(h.offs[:i], h.offs[i+1:]...)
	for j := i; j < len(h.offs); j++ {
		h.offs[j] -= size
	}
	h.resize(used-int(size), len(h.offs))
}

// create makes the key's block, with room for size bytes.
func (h *History) create(size int) {
	h.addr = h.t.arena.alloc(size)
	h.blk = h.t.arena.block(h.addr)
	clear(h.blk[1:blkHead])
	h.blk[blkFlags] = flagUsed
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(noDue))
	binary.LittleEndian.PutUint16(h.blk[blkKey:], uint16(len(h.key)))
	copy(h.blk[blkHead:], h.key)
	h.resize(blkHead+len(h.key), 0)
	h.t.keys.part(h.hash).insert(h.hash, h.addr)
}

// reserve moves the block where it holds less than size bytes.
func (h *History) reserve(size int) {
	if size <= len(h.blk) {
		return
	}
	addr := h.t.arena.alloc(size)
	b := h.t.arena.block(addr)
	copy(b[1:], h.blk[1:h.used()])
	h.rebind(addr, b)
}

// rebind makes another block the key's and releases the one it had.
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

func (h *History) resize(used, rows int) {
	binary.LittleEndian.PutUint16(h.blk[blkUsed:], uint16(used))
	binary.LittleEndian.PutUint16(h.blk[blkRows:], uint16(rows))
}

// grow turns the block's rows into an indexed history.
func (h *History) grow() {
	if h.addr == 0 {
		h.create(h.used() + 4)
	}
	big := newLarge(h.t.shape.Streams)
	for i := range h.offs {
		big.insert(h.row(i))
	}
	h.offs = h.offs[:0]
	head := blkHead + len(h.key)
	h.resize(head+4, 0)
	addr := h.t.arena.alloc(head + 4)
	b := h.t.arena.block(addr)
	copy(b[1:], h.blk[1:head])
	h.rebind(addr, b)
	b[blkFlags] |= flagLarge
	binary.LittleEndian.PutUint32(b[head:], h.t.addLarge(big))
	h.big = big
}

// shrink turns an indexed history that has become short back into a block.
func (h *History) shrink() {
	big := h.big
	size := 0
	for _, refs := range big.all {
		for _, ref := range refs {
			size += 2 + len(big.row(ref))
		}
	}
	if h.used()+size > maxSmallBytes {
		return
	}
	h.t.freeLarge(largeNumber(h.blk))
	h.blk[blkFlags] &^= flagLarge
	h.resize(blkHead+len(h.key), 0)
	h.big = nil
	h.reserve(h.used() + size)
	big.ascend(appender{h})
}

type appender struct{ h *History }

func (a appender) Visit(row codecs.Row) bool {
	a.h.insertSmall(row)
	return true
}
