package tables

import "unsafe"

// hugeSlots is the size from which a table of slots asks for huge pages.
const hugeSlots = 1 << 12

// index maps 32-bit hashes to references. It stores the whole hash, not what was hashed: whoever looks something up
// compares what the candidates refer to. Open addressing with linear probing in one pointer-free slice, home positions
// in hash order, growth by half: about 11 bytes per entry.
type index struct {
	slots []uint64 // hash<<32 | ref; 0 is empty
	n     int
}

func (x *index) home(hash uint32) int { return int(uint64(hash) * uint64(len(x.slots)) >> 32) }

// probe is a walk over the candidates of one hash.
type probe struct {
	hash uint32
	pos  int // where the last candidate stands
	next int
}

func (x *index) probe(hash uint32) probe {
	return probe{hash: hash, next: x.home(hash)}
}

// candidate returns the next reference that was stored under the probe's hash, 0 when there is none.
func (x *index) candidate(p *probe) uint32 {
	if len(x.slots) == 0 {
		return 0
	}
	for {
		s := x.slots[p.next]
		if s == 0 {
			return 0
		}
		p.pos = p.next
		if p.next++; p.next == len(x.slots) {
			p.next = 0
		}
		if uint32(s>>32) == p.hash {
			return uint32(s)
		}
	}
}

// set changes the reference that the probe's last candidate stands for.
func (x *index) set(p *probe, ref uint32) { x.slots[p.pos] = uint64(p.hash)<<32 | uint64(ref) }

// insert adds a reference, which must not be 0.
func (x *index) insert(hash, ref uint32) {
	if (x.n+1)*8 > len(x.slots)*7 {
		old := x.slots
		x.slots = make([]uint64, max(8, len(old)+len(old)/2))
		if len(x.slots) >= hugeSlots {
			adviseHuge(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x.slots))), len(x.slots)*8))
		}
		for _, s := range old {
			if s != 0 {
				x.put(s)
			}
		}
	}
	x.put(uint64(hash)<<32 | uint64(ref))
	x.n++
}

func (x *index) put(s uint64) {
	i := x.home(uint32(s >> 32))
	for x.slots[i] != 0 {
		if i++; i == len(x.slots) {
			i = 0
		}
	}
	x.slots[i] = s
}

// remove takes out the probe's last candidate. The probe is spent.
func (x *index) remove(p *probe) {
	hole, i := p.pos, p.pos
	for {
		if i++; i == len(x.slots) {
			i = 0
		}
		s := x.slots[i]
		if s == 0 {
			break
		}
		// An entry may fill the hole unless its home lies cyclically behind the hole, up to where it stands.
		home := x.home(uint32(s >> 32))
		if hole <= i && (home <= hole || home > i) || hole > i && home <= hole && home > i {
			x.slots[hole] = s
			hole = i
		}
	}
	x.slots[hole] = 0
	x.n--
}

// segmented is an index in 256 parts that grow one at a time, so that no insert waits for millions of entries to move.
type segmented struct{ parts [256]index }

func (s *segmented) part(hash uint32) *index { return &s.parts[hash&255] }

func (s *segmented) len() int {
	n := 0
	for i := range s.parts {
		n += s.parts[i].n
	}
	return n
}
