package tables

import "encoding/binary"

// arena hands out blocks of bytes from large chunks that hold no pointers, so that ten million histories cost the
// garbage collector nothing. An address counts 16-byte units; 0 is no block. The first byte of a block is its size
// class and belongs to the arena, the rest to the caller.
type arena struct {
	chunks [][]byte
	next   uint32 // first unused unit of the last chunk
	limit  uint32 // units of the last chunk
	bytes  int64  // of all chunks
	free   [numClasses]uint32
	live   int64 // bytes in blocks that are in use
}

const (
	unitSize   = 16
	chunkUnits = 1 << 18 // 4 MiB
	firstUnits = 1 << 13 // 128 KiB; each chunk has four times as much as the one before, up to chunkUnits
	maxBlock   = 64 << 10
	numClasses = 84
)

// Size classes step by 16 bytes up to 256 and by an eighth of the power of two beyond, so that a block wastes about 6%.
var classSize, classOf = func() (sizes [numClasses]uint32, of [maxBlock/unitSize + 1]uint8) {
	size, step, c := uint32(32), uint32(unitSize), 0
	for ; c < numClasses; c++ {
		sizes[c] = size
		if size >= 256 && size&(size-1) == 0 {
			step = size / 8
		}
		size += step
	}
	for u, c := 0, 0; u < len(of); u++ {
		for sizes[c] < uint32(u*unitSize) {
			c++
		}
		of[u] = uint8(c)
	}
	return sizes, of
}()

// alloc returns a block of at least size bytes, at most maxBlock. Its bytes beyond the first are not cleared.
func (a *arena) alloc(size int) uint32 {
	class := classOf[(size+unitSize-1)/unitSize]
	a.live += int64(classSize[class])
	if addr := a.free[class]; addr != 0 {
		b := a.block(addr)
		a.free[class] = binary.LittleEndian.Uint32(b[4:])
		b[0] = class
		return addr
	}
	units := classSize[class] / unitSize
	if a.next+units > a.limit {
		a.spill()
		a.grow()
	}
	addr := uint32(len(a.chunks)-1)*chunkUnits + a.next
	a.next += units
	a.chunks[addr/chunkUnits][addr%chunkUnits*unitSize] = class
	return addr
}

// grow adds a chunk. Most tables are small, so the first ones are.
func (a *arena) grow() {
	a.limit = uint32(min(firstUnits<<(2*min(len(a.chunks), 8)), chunkUnits))
	chunk := make([]byte, a.limit*unitSize)
	if a.limit == chunkUnits {
		adviseHuge(chunk)
	}
	a.chunks = append(a.chunks, chunk)
	a.bytes += int64(len(chunk))
	a.next = 0
	if len(a.chunks) == 1 {
		a.next = 1
	}
}

// spill puts the unused end of the last chunk on the free lists.
func (a *arena) spill() {
	for a.next < a.limit {
		class := classOf[min(a.limit-a.next, maxBlock/unitSize)]
		for classSize[class]/unitSize > a.limit-a.next {
			if class == 0 {
				return
			}
			class--
		}
		addr := uint32(len(a.chunks)-1)*chunkUnits + a.next
		a.next += classSize[class] / unitSize
		a.chunks[addr/chunkUnits][addr%chunkUnits*unitSize] = class
		a.live += int64(classSize[class])
		a.release(addr)
	}
}

// block returns the whole block at addr.
func (a *arena) block(addr uint32) []byte {
	chunk, at := a.chunks[addr/chunkUnits], addr%chunkUnits*unitSize
	return chunk[at : at+classSize[chunk[at]]]
}

// class returns the size class of the block at addr.
func (a *arena) class(addr uint32) byte { return a.chunks[addr/chunkUnits][addr%chunkUnits*unitSize] }

// release gives the block back; its memory is used again for blocks of the same class.
func (a *arena) release(addr uint32) {
	b := a.block(addr)
	a.live -= int64(len(b))
	binary.LittleEndian.PutUint32(b[4:], a.free[b[0]])
	a.free[b[0]] = addr
}

// size returns how many bytes the chunks have.
func (a *arena) size() int64 { return a.bytes }
