package tables

// evict forgets histories that were not used lately, until the cache fits again: the clock algorithm over the index.
func (t *Table) evict() {
	d := t.disk
	over := t.Bytes() - t.opts.CacheBytes
	for steps := 0; steps < 2*len(t.keys.parts) && over > 0; steps++ {
		part := &t.keys.parts[d.hand]
		d.hand = (d.hand + 1) % len(t.keys.parts)
		for i := 0; i < len(part.slots); {
			s := part.slots[i]
			if s == 0 {
				i++
				continue
			}
			b := t.arena.block(uint32(s))
			switch {
			case b[blkFlags]&flagPending != 0:
				i++
			case b[blkFlags]&flagUsed != 0:
				b[blkFlags] &^= flagUsed
				i++
			default:
				h := History{t: t, key: blockKey(b), hash: uint32(s >> 32)}
				h.attach(uint32(s), b)
				over -= t.arena.live
				if h.big != nil {
					over -= h.big.bytes()
				}
				h.forget() // moves a later entry to i
				over += t.arena.live
			}
		}
	}
	t.closeGaps()
}

// What the arena may have beyond the blocks that are in use: the larger of a quarter of them and a few chunks.
const (
	gapShare = 4
	gapBytes = 2 * chunkUnits * unitSize
)

// closeGaps moves the blocks into a new arena once many of the old one's are free. Free blocks wait for others of their size, of
// which there may be no more: a cache that fills with long histories, which lie elsewhere, would take its bound twice.
func (t *Table) closeGaps() {
	if gaps := t.arena.size() - t.arena.live; gaps <= max(t.arena.live/gapShare, gapBytes) {
		return
	}
	old := t.arena
	t.arena = arena{}
	for p := range t.keys.parts {
		slots := t.keys.parts[p].slots
		for i, s := range slots {
			if s == 0 {
				continue
			}
			b := old.block(uint32(s))
			addr := t.arena.alloc(len(b))
			copy(t.arena.block(addr)[1:], b[1:])
			slots[i] = s&^(1<<32-1) | uint64(addr)
		}
	}
}
