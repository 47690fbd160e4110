package tables

// warm is what a table knows of the histories that it is going to be asked for next.
type warm struct {
	hashes []uint32
	slots  []uint64
	sum    uint64 // of what was read, so that the reads are not left out
}

// Expect says that the history of key is going to be asked for.
func (t *Table) Expect(key []byte) { t.warm.hashes = append(t.warm.hashes, hash32(key)) }

// Warm brings the memory with which the expected histories begin into the processor's caches. Among gigabytes each history costs a
// handful of misses, one after the other, because each tells where the next is; of different histories they do not depend on each
// other, so the processor waits for many at once. Nothing depends on a call of Warm.
func (t *Table) Warm() {
	t.warmAll(t.warm.hashes)
	t.warm.hashes = t.warm.hashes[:0]
}

// warmKeys is how many histories are warmed at once where there is a choice: few enough to be there still when they are used.
const warmKeys = 256

func (t *Table) warmAll(hashes []uint32) {
	w := &t.warm
	w.slots = w.slots[:0]
	for _, hash := range hashes {
		slot, part := uint64(0), t.keys.part(hash)
		if len(part.slots) > 0 {
			slot = part.slots[part.home(hash)]
		}
		w.slots = append(w.slots, slot)
	}
	sum := uint64(0)
	for i, hash := range hashes {
		switch slot := w.slots[i]; {
		case uint32(slot>>32) == hash && slot != 0:
			sum += uint64(t.arena.class(uint32(slot)))
		case t.disk != nil:
			sum += t.disk.keys.touch(hash)
		}
	}
	w.sum += sum
}
