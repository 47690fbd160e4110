package tables

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// large is an indexed history. Rows lie in pages, in order of insertion, and are named by page and offset; every
// stream has its rows in the total order, an index by id, and an index per access path. All of it is free of pointers
// but for the slices themselves.
type large struct {
	shapes  []StreamShape
	pages   []page
	free    []uint32 // pages without rows
	last    uint32   // the page that is being filled
	live    int      // bytes of rows
	ids     []index
	all     [][]uint32 // by stream: references in the total order
	paths   [][]pathIndex
	scratch []byte
}

// page holds rows one behind the other. Rows leave about in the order in which they came, so pages empty as a whole.
type page struct {
	bytes []byte
	live  int // bytes of the rows that have not left
}

// pathIndex finds the rows with the same values on an access path. A hash with one row refers to it; a hash with more
// refers to a posting (manyRows is set), whose rows are in the total order.
type pathIndex struct {
	slots    []int
	heads    index
	postings [][]uint32
	free     []uint32 // postings that are empty
}

const (
	pageSize = 8 << 10
	manyRows = 1 << 31
)

func newLarge(shapes []StreamShape) *large {
	l := &large{shapes: shapes, ids: make([]index, len(shapes)), all: make([][]uint32, len(shapes)), paths: make([][]pathIndex, len(shapes))}
	for s, shape := range shapes {
		for _, slots := range shape.Paths {
			l.paths[s] = append(l.paths[s], pathIndex{slots: slots})
		}
	}
	return l
}

func (l *large) len() int {
	n := 0
	for _, refs := range l.all {
		n += len(refs)
	}
	return n
}

// bytes returns how much memory the history takes, roughly.
func (l *large) bytes() int64 {
	n := int64(len(l.pages)) * pageSize
	for s := range l.all {
		n += int64(cap(l.all[s]))*4 + int64(len(l.ids[s].slots))*8
		for i := range l.paths[s] {
			p := &l.paths[s][i]
			n += int64(len(p.heads.slots)) * 8
			for _, list := range p.postings {
				n += int64(cap(list))*4 + 24
			}
		}
	}
	return n
}

// row returns the row of a reference: 1 + page * pageSize + offset.
func (l *large) row(ref uint32) codecs.Row {
	at := ref - 1
	b := l.pages[at/pageSize].bytes[at%pageSize:]
	n := binary.LittleEndian.Uint32(b)
	return b[4 : 4+n : 4+n]
}

func (l *large) store(row codecs.Row) uint32 {
	need := 4 + len(row)
	n := uint32(len(l.pages))
	if n == 0 || len(l.pages[l.last].bytes)+need > cap(l.pages[l.last].bytes) {
		switch k := len(l.free); {
		case k > 0 && need <= pageSize:
			l.last, l.free = l.free[k-1], l.free[:k-1]
		default:
			l.pages = append(l.pages, page{bytes: make([]byte, 0, max(pageSize, need))})
			l.last = n
		}
	}
	p := &l.pages[l.last]
	ref := l.last*pageSize + uint32(len(p.bytes)) + 1
	p.bytes = append(binary.LittleEndian.AppendUint32(p.bytes, uint32(len(row))), row...)
	p.live += need
	l.live += need
	return ref
}

// release gives back the bytes of a row.
func (l *large) release(ref uint32, size int) {
	number := (ref - 1) / pageSize
	p := &l.pages[number]
	p.live -= size
	l.live -= size
	if p.live == 0 && number != l.last {
		if cap(p.bytes) > pageSize {
			p.bytes = make([]byte, 0, pageSize)
		}
		p.bytes = p.bytes[:0]
		l.free = append(l.free, number)
	}
}

func (l *large) insert(row codecs.Row) {
	s := row.Stream()
	ref := l.store(row)
	l.ids[s].insert(hash32(row.ID()), ref)
	l.all[s] = l.place(l.all[s], ref, row)
	for i := range l.paths[s] {
		p := &l.paths[s][i]
		if hash, ok := l.pathHash(p, row); ok {
			l.post(p, hash, ref, row)
		}
	}
}

// place inserts a reference into a list in the total order. Most rows are the latest.
func (l *large) place(refs []uint32, ref uint32, row codecs.Row) []uint32 {
	if n := len(refs); n == 0 || l.row(refs[n-1]).Compare(row) < 0 {
		if n == cap(refs) {
			refs = slices.Grow(refs, max(4, n/8))
		}
		return append(refs, ref)
	}
	return slices.Insert(refs, l.position(refs, row), ref)
}

// position returns where a row stands, or would stand, in a list in the total order.
func (l *large) position(refs []uint32, row codecs.Row) int {
	i, _ := slices.BinarySearchFunc(refs, row, func(ref uint32, row codecs.Row) int { return l.row(ref).Compare(row) })
	return i
}

// pathHash returns the hash of the row's values on the path; not ok where one of them is null or the path is empty.
func (l *large) pathHash(p *pathIndex, row codecs.Row) (hash uint32, ok bool) {
	if len(p.slots) == 0 {
		return 0, false
	}
	l.scratch = l.scratch[:0]
	for _, slot := range p.slots {
		at := len(l.scratch)
		l.scratch = row.AppendField(l.scratch, slot)
		if codecs.IsNullValue(l.scratch[at:]) {
			return 0, false
		}
	}
	return hash32(l.scratch), true
}

func (l *large) post(p *pathIndex, hash, ref uint32, row codecs.Row) {
	pr := p.heads.probe(hash)
	head := p.heads.candidate(&pr)
	switch {
	case head == 0:
		p.heads.insert(hash, ref)
	case head&manyRows != 0:
		list := &p.postings[head&^manyRows-1]
		*list = l.place(*list, ref, row)
	default:
		var id uint32
		if n := len(p.free); n > 0 {
			id, p.free = p.free[n-1], p.free[:n-1]
		} else {
			p.postings = append(p.postings, nil)
			id = uint32(len(p.postings))
		}
		list := &p.postings[id-1]
		*list = l.place(append((*list)[:0], head), ref, row)
		p.heads.set(&pr, manyRows|id)
	}
}

func (l *large) unpost(p *pathIndex, hash, ref uint32, row codecs.Row) {
	pr := p.heads.probe(hash)
	head := p.heads.candidate(&pr)
	if head&manyRows == 0 {
		p.heads.remove(&pr)
		return
	}
	id := head &^ manyRows
	list := l.drop(p.postings[id-1], ref, row)
	p.postings[id-1] = list
	if len(list) == 1 {
		p.heads.set(&pr, list[0])
		p.postings[id-1] = nil
		p.free = append(p.free, id)
	}
}

// drop takes a row's reference out of a list. Expiry takes the oldest, and that without a search or a move.
func (l *large) drop(refs []uint32, ref uint32, row codecs.Row) []uint32 {
	if refs[0] == ref {
		return refs[1:]
	}
	i := l.position(refs, row)
	return slices.Delete(refs, i, i+1)
}

func (l *large) find(stream int, id []byte) (ref uint32, pr probe) {
	x := &l.ids[stream]
	for pr = x.probe(hash32(id)); ; {
		ref = x.candidate(&pr)
		if ref == 0 || bytes.HasPrefix(l.row(ref)[9:], id) {
			return ref, pr
		}
	}
}

func (l *large) get(stream int, id []byte) codecs.Row {
	if ref, _ := l.find(stream, id); ref != 0 {
		return l.row(ref)
	}
	return nil
}

func (l *large) latest(stream int) int64 {
	refs := l.all[stream]
	if len(refs) == 0 {
		return math.MinInt64
	}
	return l.row(refs[len(refs)-1]).Time()
}

func (l *large) remove(row codecs.Row) {
	ref, _ := l.find(row.Stream(), row.ID())
	l.removeRef(ref)
}

func (l *large) removeRef(ref uint32) {
	row := l.row(ref)
	s := row.Stream()
	ids := &l.ids[s]
	pr := ids.probe(hash32(row.ID()))
	for ids.candidate(&pr) != ref {
	}
	ids.remove(&pr)
	l.all[s] = l.drop(l.all[s], ref, row)
	for i := range l.paths[s] {
		p := &l.paths[s][i]
		if hash, ok := l.pathHash(p, row); ok {
			l.unpost(p, hash, ref, row)
		}
	}
	l.release(ref, 4+len(row))
	if used := (len(l.pages) - len(l.free)) * pageSize; used > 8*pageSize && used > 4*l.live {
		l.compact()
	}
}

// compact writes the rows that are left into new pages and indexes.
func (l *large) compact() {
	fresh := newLarge(l.shapes)
	l.ascend(copier{fresh})
	*l = *fresh
}

type copier struct{ to *large }

func (c copier) Visit(row codecs.Row) bool {
	c.to.insert(row)
	return true
}

func (l *large) descend(stream, path int, match []byte, from, to int64, v codecs.Visitor) {
	p := &l.paths[stream][path]
	refs := l.all[stream]
	var one [1]uint32
	if len(p.slots) > 0 {
		pr := p.heads.probe(hash32(match))
		switch head := p.heads.candidate(&pr); {
		case head == 0:
			return
		case head&manyRows != 0:
			refs = p.postings[head&^manyRows-1]
		default:
			one[0] = head
			refs = one[:]
		}
	}
	i := len(refs)
	if i > 0 && l.row(refs[i-1]).Time() > to {
		i, _ = slices.BinarySearchFunc(refs, to, func(ref uint32, to int64) int {
			if l.row(ref).Time() <= to {
				return -1
			}
			return 1
		})
	}
	for i--; i >= 0; i-- {
		r := l.row(refs[i])
		if r.Time() < from {
			return
		}
		// Different values may share a hash, and so a posting.
		if onPath(r, p.slots, match) && !v.Visit(r) {
			return
		}
	}
}

func (l *large) ascend(v codecs.Visitor) {
	at := make([]int, len(l.all))
	for {
		var next codecs.Row
		for s, refs := range l.all {
			if at[s] < len(refs) {
				if r := l.row(refs[at[s]]); next == nil || r.Compare(next) < 0 {
					next = r
				}
			}
		}
		if next == nil {
			return
		}
		at[next.Stream()]++
		if !v.Visit(next) {
			return
		}
	}
}
