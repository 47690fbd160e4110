package tables

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// A store's log files do not refer to each other. Where one is lost, or cut, that is not the last, the store opens without a
// word, with the changes of the later ones and without those in between, and says that it is at the position of the last
// commit. So each commit leaves its number, in a ring of the last chainLength: a gap among them says that commits are
// missing. The same goes for the manifest, which names the files of tables: an older one knows nothing of those that came last,
// and the logs, which it does not name, are replayed all the same. So that a gap shows, all logs that may be there (those of the
// memory tables that are not written yet, and some that are kept to be written over) must hold fewer commits than the ring has
// numbers.
const (
	chainLength  = 8 << 10
	commitsInLog = chainLength / 16
)

func chainKey(commit uint64) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, 'c'}, uint16(commit%chainLength))
}

func chainValue(commit uint64) []byte { return binary.BigEndian.AppendUint64(nil, commit) }

// link adds the next commit's number to its batch.
func (d *disk) link(b *pebble.Batch) error {
	d.commits++
	return b.Set(chainKey(d.commits), chainValue(d.commits), nil)
}

// readChain sets the number of the last commit, after checking that those before it are there.
func (d *disk) readChain(t *Table) error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, 'c'}, UpperBound: []byte{0, 'c' + 1}})
	if err != nil {
		return d.readError(t, err)
	}
	n, lowest, latest := uint64(0), ^uint64(0), uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) == 8 {
			commit := binary.BigEndian.Uint64(it.Value())
			n, lowest, latest = n+1, min(lowest, commit), max(latest, commit)
		}
	}
	if err := it.Close(); err != nil {
		return d.readError(t, err)
	}
	d.commits = latest
	if want := min(latest, chainLength); n != want || n > 0 && latest-lowest != want-1 {
		return d.spoiled(t, fmt.Sprintf("of its last %d commits %d are missing", want, want-min(n, want-1)), nil)
	}
	return nil
}

// changeLog has the store begin a new log once enough commits are in the present one.
func (d *disk) changeLog(t *Table) error {
	if d.logged++; d.logged < commitsInLog {
		return nil
	}
	d.logged = 0
	if err := guard(func() error { _, err := d.db.AsyncFlush(); return err }); err != nil {
		d.broken = &FolderError{Dir: t.opts.Dir, Cause: err}
		return d.broken
	}
	return nil
}
