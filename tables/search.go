package tables

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Sought is a row that a Search looks for: one of a stream, with an encoded id.
type Sought struct {
	Stream int
	ID     []byte
}

// Search is a look through all histories of a table for rows whose key is not known. It is done in steps, between which the table may
// change: what is there from the first step to the last is found, what comes or leaves meanwhile may be missed. It remembers a
// position and nothing else. A disk table is read on its disk, past the cache, so it is what was committed last.
type Search struct {
	rows []Sought
	part int    // of the index of keys, in memory
	from uint32 // entries of the part whose hashes are below were seen
	last []byte // the entry of the disk that was seen last
}

// NewSearch returns a search for rows.
func NewSearch(rows ...Sought) *Search { return &Search{rows: rows} }

// Search goes on with a search for as long as more says so, and reports whether it has come to the end. found is told of each key that has
// a row which is sought, at times twice; the key is valid during the call.
func (t *Table) Search(s *Search, found func(key []byte), more func() bool) (done bool, err error) {
	if t.disk != nil {
		return t.disk.search(t, s, found, more)
	}
	for ; s.part < len(t.keys.parts); s.part, s.from = s.part+1, 0 {
		if !t.searchPart(&t.keys.parts[s.part], s, found, more) {
			return false, nil
		}
	}
	return true, nil
}

// searchPart looks through a part of the index. It stops where a slot is empty: all entries before have lower hashes than all behind,
// whatever becomes of the part until it goes on there. But for those that did not fit at the end, which are at its beginning.
func (t *Table) searchPart(x *index, s *Search, found func(key []byte), more func() bool) bool {
	if x.n == 0 {
		return true
	}
	i := x.home(s.from)
	for ; i < len(x.slots); i++ {
		if x.slots[i] != 0 {
			t.searchBlock(uint32(x.slots[i]), s.rows, found)
			continue
		}
		if i+1 < len(x.slots) && !more() {
			s.from = x.firstHash(i + 1)
			return false
		}
	}
	for i = 0; i < len(x.slots) && x.slots[i] != 0; i++ {
		t.searchBlock(uint32(x.slots[i]), s.rows, found)
	}
	return true
}

// firstHash is the lowest hash whose home is the position.
func (x *index) firstHash(pos int) uint32 {
	n := uint64(len(x.slots))
	return uint32((uint64(pos)<<32 + n - 1) / n)
}

func (t *Table) searchBlock(addr uint32, rows []Sought, found func(key []byte)) {
	b := t.arena.block(addr)
	h := History{t: t, key: blockKey(b), addr: addr, blk: b}
	if b[blkFlags]&flagLarge != 0 {
		h.big = t.larges[largeNumber(b)]
	}
	for _, r := range rows {
		if h.get(r.Stream, r.ID) != nil {
			found(h.key)
			return
		}
	}
}

// search looks through the disk. The id is in a row's key, so no row is read.
func (d *disk) search(t *Table, s *Search, found func(key []byte), more func() bool) (done bool, err error) {
	from := []byte{1} // keys are not empty, and what is no row begins with 0
	if s.last != nil {
		from = append(bytes.Clone(s.last), 0)
	}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return false, d.readError(t, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		entry := it.Key()
		for _, r := range s.rows {
			n, w := binary.Uvarint(entry)
			if end := w + int(n); w > 0 && end < len(entry) && int(entry[end]) == r.Stream && bytes.Equal(entry[end+1:], r.ID) {
				found(entry[w:end])
			}
		}
		if !more() {
			s.last = append(s.last[:0], entry...)
			return false, it.Close()
		}
	}
	err = it.Error()
	if closing := it.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return false, d.readError(t, err)
	}
	return true, nil
}

// Rows returns copies of the rows of a key in the total order, but for those of streams that the caller does not know; nil where there are
// more than most.
func (t *Table) Rows(key []byte, streams, most int) (rows []codecs.Row, capped bool, err error) {
	h, err := t.History(key)
	if err != nil {
		return nil, false, err
	}
	if h.Len() <= most {
		h.Ascend(&copies{streams: streams, rows: &rows})
	}
	return rows, h.Capped(), h.Err()
}

type copies struct {
	streams int
	rows    *[]codecs.Row
}

func (c *copies) Visit(row codecs.Row) bool {
	if row.Stream() < c.streams {
		*c.rows = append(*c.rows, bytes.Clone(row))
	}
	return true
}
