package tables

import (
	"encoding/binary"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// fetch reads the rows of the history's key from the disk.
func (t *Table) fetch(h *History) error {
	d := t.disk
	if !d.keys.has(h.hash) {
		return nil
	}
	if d.rows == nil {
		it, err := d.db.NewIter(nil)
		if err != nil {
			return d.readError(t, err)
		}
		d.rows = it
	}
	d.fetched.reset()
	capped := false
	prefix := rowPrefix(h.key)
	for ok := d.rows.SeekPrefixGE(prefix); ok; ok = d.rows.Next() {
		if d.rows.Key()[len(prefix)] == markStream {
			capped = true
			continue
		}
		if stream := int(d.rows.Key()[len(prefix)]); stream >= len(t.shape.Streams) || !t.shape.Streams[stream].Used {
			continue
		}
		row, err := codecs.CheckedRow(d.rows.Value()) // before it was written, and the store's blocks have checksums
		if err != nil {
			return d.spoiled(t, "it is corrupt", err)
		}
		d.fetched.add(row)
	}
	if err := d.rows.Error(); err != nil {
		return d.readError(t, err)
	}
	rows := d.fetched.rows()
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, codecs.Row.Compare)
	due := int64(noDue)
	for _, r := range rows {
		h.insert(r)
		due = min(due, t.visit(r))
	}
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(t.expiry.bucket(due)))
	if capped {
		h.blk[blkFlags] |= flagCapped
	}
	return nil
}

// rowList is a list of rows in one piece of memory, which it keeps for the next.
type rowList struct {
	bytes []byte
	ends  []int
	list  []codecs.Row
}

// rowListBytes is what a rowList keeps at most.
const rowListBytes = 1 << 20

func (l *rowList) reset() {
	if cap(l.bytes) > rowListBytes {
		*l = rowList{}
	}
	l.bytes, l.ends = l.bytes[:0], l.ends[:0]
}

// add takes a row, which it copies.
func (l *rowList) add(row codecs.Row) {
	l.bytes = append(l.bytes, row...)
	l.ends = append(l.ends, len(l.bytes))
}

// rows returns the rows, which are valid until the next reset.
func (l *rowList) rows() []codecs.Row {
	l.list = l.list[:0]
	from := 0
	for _, end := range l.ends {
		l.list = append(l.list, codecs.Row(l.bytes[from:end:end]))
		from = end
	}
	return l.list
}
