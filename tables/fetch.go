package tables

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// fetch reads the history of a key that is not in memory, or finds that it is long. Of long ones most events need little: whether
// they are there already, and that no conversion has come before them.
func (t *Table) fetch(h *History) error {
	d := t.disk
	if !d.keys.has(h.hash) {
		return nil
	}
	it, err := d.reader(t)
	if err != nil {
		return err
	}
	d.fetched.reset()
	capped := false
	prefix := d.prefixOf(h.key)
	for ok := it.SeekPrefixGE(prefix); ok; ok = it.Next() {
		if len(d.fetched.ends) == t.opts.ShortRows {
			h.unread = allStreams
			return nil
		}
		stream := int(it.Key()[len(prefix)])
		if stream == markStream {
			capped = true
			continue
		}
		if err := d.collect(t, stream); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return d.readError(t, err)
	}
	due := int64(noDue)
	for _, r := range d.fetched.sorted() {
		h.insert(r)
		due = min(due, t.visit(r))
	}
	if h.addr == 0 {
		return nil
	}
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(t.expiry.bucket(due)))
	if capped {
		h.blk[blkFlags] |= flagCapped
	}
	return nil
}

// fetchRow returns one row from the disk, nil where it is not there.
func (t *Table) fetchRow(h *History, stream int, id []byte) codecs.Row {
	d := t.disk
	it, err := d.reader(t)
	if err != nil {
		t.failRead(err)
		return nil
	}
	d.entry = codecs.AppendEntryKey(d.entry[:0], h.key, stream, id)
	if !it.SeekPrefixGE(d.entry) || !bytes.Equal(it.Key(), d.entry) {
		if err := it.Error(); err != nil {
			t.failRead(d.readError(t, err))
		}
		return nil
	}
	row, err := codecs.CheckedRow(it.Value())
	if err != nil {
		t.failRead(d.spoiled(t, "it is corrupt", err))
		return nil
	}
	d.point = append(d.point[:0], row...)
	return d.point
}

// fetchStream reads the rows of one stream of a long history.
func (t *Table) fetchStream(h *History, stream int) {
	d := t.disk
	it, err := d.reader(t)
	if err != nil {
		t.failRead(err)
		return
	}
	d.fetched.reset()
	prefix := d.prefixOf(h.key)
	from := append(prefix, byte(stream))
	for ok := it.SeekPrefixGE(from); ok && int(it.Key()[len(prefix)]) == stream; ok = it.Next() {
		if err := d.collect(t, stream); err != nil {
			t.failRead(err)
			return
		}
	}
	t.join(h, it, h.unread&^(1<<stream))
}

// fetchRest reads what is not in memory yet.
func (t *Table) fetchRest(h *History) {
	d := t.disk
	it, err := d.reader(t)
	if err != nil {
		t.failRead(err)
		return
	}
	d.fetched.reset()
	capped := false
	prefix := d.prefixOf(h.key)
	for ok := it.SeekPrefixGE(prefix); ok; ok = it.Next() {
		switch stream := int(it.Key()[len(prefix)]); {
		case stream == markStream:
			capped = true
		case h.unread.has(stream):
			if err := d.collect(t, stream); err != nil {
				t.failRead(err)
				return
			}
		}
	}
	t.join(h, it, 0)
	if capped && h.addr != 0 {
		h.blk[blkFlags] |= flagCapped
	}
}

// join takes what was fetched into a history some of which is in memory already; unread is what is not, then.
func (t *Table) join(h *History, it *pebble.Iterator, unread streamSet) {
	if err := it.Error(); err != nil {
		t.failRead(t.disk.readError(t, err))
		return
	}
	for _, r := range t.disk.fetched.sorted() {
		if h.get(r.Stream(), r.ID()) == nil {
			h.insert(r)
		}
	}
	h.setUnread(unread)
}

func (t *Table) failRead(err error) { t.readErr = cmp.Or(t.readErr, err) }

// reader returns the iterator that sees what was committed last.
func (d *disk) reader(t *Table) (*pebble.Iterator, error) {
	if d.rows == nil {
		it, err := d.db.NewIter(nil)
		if err != nil {
			return nil, d.readError(t, err)
		}
		d.rows = it
	}
	return d.rows, nil
}

// collect adds the row that the reader is at to those that were fetched, if it is of use.
func (d *disk) collect(t *Table, stream int) error {
	if stream >= len(t.shape.Streams) || !t.shape.Streams[stream].Used {
		return nil
	}
	row, err := codecs.CheckedRow(d.rows.Value()) // before it was written, and the store's blocks have checksums
	if err != nil {
		return d.spoiled(t, "it is corrupt", err)
	}
	d.fetched.add(row)
	return nil
}

// prefixOf returns the key's rowPrefix, which is valid until the next one.
func (d *disk) prefixOf(key []byte) []byte {
	d.entry = append(binary.AppendUvarint(d.entry[:0], uint64(len(key))), key...)
	return d.entry
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

// sorted returns the rows in the total order. They are valid until the next reset.
func (l *rowList) sorted() []codecs.Row {
	l.list = l.list[:0]
	from := 0
	for _, end := range l.ends {
		l.list = append(l.list, codecs.Row(l.bytes[from:end:end]))
		from = end
	}
	slices.SortFunc(l.list, codecs.Row.Compare)
	return l.list
}
