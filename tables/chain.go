package tables

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// A store's log files do not refer to each other. Where one is lost, or cut, that is not the last, the store opens without a
// word, with the changes of the later ones and without those in between, and says that it is at the position of the last
// commit. So each commit leaves its number, in a ring of the last chainLength: a gap among them says that commits are
// missing. Only what was written lately is in logs; files of tables have checksums, and the manifest says which there should be
// (see manifest.go).
const chainLength = 1024

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
