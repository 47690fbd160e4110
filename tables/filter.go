package tables

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// filter tells of most keys that the disk does not have that it does not have them. Most keys of a stream are new when they
// are first met, and asking the disk for one of them costs as much as everything else that an event costs.
//
// It is a Bloom filter (B. Bloom, 1970) of key hashes, five bits of one word per key, in layers: when one is full the next,
// twice as large, takes the new keys. It takes about four bytes per key and is wrong about one key in five hundred.
type filter struct{ layers []filterLayer }

type filterLayer struct {
	words []uint64
	n     int // keys
}

const (
	firstFilterWords  = 1 << 14
	filterKeysPerWord = 2
)

// place returns where a hash is in all layers (see word), and its bits in there.
func place(hash uint32) (at, bits uint64) {
	x := uint64(hash) * 0x9E3779B97F4A7C15
	x ^= x >> 32
	bits = 1<<(x&63) | 1<<(x>>6&63) | 1<<(x>>12&63) | 1<<(x>>18&63) | 1<<(x>>24&63)
	return x * 0xD6E8FEB86659FD93 >> 32, bits
}

// word returns the word of a place.
func (l *filterLayer) word(at uint64) *uint64 { return &l.words[at*uint64(len(l.words))>>32] }

func (f *filter) has(hash uint32) bool {
	at, bits := place(hash)
	for i := range f.layers {
		if *f.layers[i].word(at)&bits == bits {
			return true
		}
	}
	return false
}

// touch reads what has is going to read.
func (f *filter) touch(hash uint32) (sum uint64) {
	at, _ := place(hash)
	for i := range f.layers {
		sum += *f.layers[i].word(at)
	}
	return sum
}

func (f *filter) add(hash uint32) {
	if f.has(hash) {
		return
	}
	n := len(f.layers)
	if n == 0 || f.layers[n-1].n >= filterKeysPerWord*len(f.layers[n-1].words) {
		f.layers = append(f.layers, filterLayer{words: make([]uint64, firstFilterWords<<n)})
		n++
	}
	l := &f.layers[n-1]
	at, bits := place(hash)
	*l.word(at) |= bits
	l.n++
}

func (f *filter) keys() int {
	n := 0
	for i := range f.layers {
		n += f.layers[i].n
	}
	return n
}

// diskKeys is the filter of a disk store. Until one look at all keys of the store has ended it knows nothing; the look goes
// on in the background. It is taken again when most of what the filter knows may have left the store.
type diskKeys struct {
	known *filter // what the last look has found; nil: none has ended
	since *filter // keys written since that look began
	look  *look   // under way; nil: none
	left  int     // keys that have left the store since that look began
}

// look collects the keys of a store as it was when it began.
type look struct {
	since *filter // keys written since it began; the table's goroutine adds to it
	found chan *filter
	stop  func() // ends it, and waits for that
}

// staleKeys is from how many keys that have left the store a filter is worth being made anew.
const staleKeys = 1 << 20

// begin prepares the filter of a store that has just been opened.
func (k *diskKeys) begin(db *pebble.DB, empty bool) {
	k.since = &filter{}
	if empty {
		k.known = &filter{}
		return
	}
	k.begun(db)
}

// begun begins a look.
func (k *diskKeys) begun(db *pebble.DB) {
	snapshot, stop := db.NewSnapshot(), make(chan struct{})
	k.left = 0
	l := &look{since: &filter{}, found: make(chan *filter, 1)}
	var running sync.WaitGroup
	running.Go(func() {
		found := allKeys(snapshot, stop)
		if snapshot.Close() == nil && found != nil {
			l.found <- found
		}
	})
	l.stop = sync.OnceFunc(func() {
		close(stop)
		running.Wait()
	})
	k.look = l
}

// allKeys returns the keys of all rows, nil where they could not be read or nobody wants them any more.
func allKeys(snapshot *pebble.Snapshot, stop <-chan struct{}) *filter {
	found := &filter{}
	failed := guard(func() error {
		it, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: []byte{1}})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; ok = it.NextPrefix() {
			select {
			case <-stop:
				found = nil
				return it.Close()
			default:
			}
			n, w := binary.Uvarint(it.Key())
			if w > 0 && n <= uint64(len(it.Key())-w) {
				found.add(hash32(it.Key()[w : w+int(n)]))
			}
		}
		return it.Close()
	})
	if failed != nil {
		return nil // whoever reads the store finds the same, and says so
	}
	return found
}

// end ends a look that is under way. The store may then be closed.
func (k *diskKeys) end() {
	if k.look != nil {
		k.look.stop()
		k.look = nil
	}
}

// wrote takes note of a key that is being written.
func (k *diskKeys) wrote(hash uint32) {
	k.since.add(hash)
	if k.look != nil {
		k.look.since.add(hash)
	}
}

// settle takes over what a look has found, and begins a new one where the filter has grown stale.
func (k *diskKeys) settle(db *pebble.DB) {
	if k.look != nil {
		select {
		case found := <-k.look.found:
			k.known, k.since, k.look = found, k.look.since, nil
		default:
		}
		return
	}
	// A look reads the whole store, so it is not begun because the store has grown.
	if k.known != nil && k.left > staleKeys && 2*k.left > k.known.keys()+k.since.keys() {
		k.begun(db)
	}
}

// touch reads what has is going to read.
func (k *diskKeys) touch(hash uint32) uint64 {
	if k.known == nil {
		return 0
	}
	return k.known.touch(hash) + k.since.touch(hash)
}

// has tells whether the store may have rows of the key with this hash.
func (k *diskKeys) has(hash uint32) bool {
	return k.known == nil || k.known.has(hash) || k.since.has(hash)
}
