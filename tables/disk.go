package tables

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// disk is the store below a disk table: the rows under their changelog keys, and what else a restart needs. It only
// ever holds what has been committed, with the changelog position that it reflects in the same batch. Commits are not
// synced: after a kill or a power cut the store is at an earlier position, and the changelog has the rest.
//
//	entry, meta          as in the changelog; the mark of a key is its entry of stream 255
//	0 'd' bucket commit  keys that have something due in the bucket, see dues.go
//	0 'p'                position, and when the last row is due
//	0 'c' slot           numbers of the last commits, see chain.go
//	0 'v'                version of this format, and the incarnation of the changelog
type disk struct {
	db      *pebble.DB
	batch   *pebble.Batch    // of a restore
	dues    dues             // of a restore
	bulk    *bulk            // of a restore into an empty store; nil: none is under way
	rows    *pebble.Iterator // reads what was committed last
	hand    int              // where eviction goes on
	latest  int64            // when the last of all rows is due
	keys    diskKeys
	broken  error       // why db cannot be used any more, not even closed
	stale   *StaleError // what was found wrong with the content; nil: nothing
	commits uint64      // how many there were
	record  *manifestRecord

	corrupt atomic.Pointer[error] // what the store has found by itself; nil: nothing
	refused chan error            // what the disk has refused the store, which will not go on
	files   *patientFS
	fetched rowList
	point   []byte // the row that was asked for by its id
	entry   []byte // the key that is sought
}

const (
	markStream = 255
	loadBatch  = 4 << 20
)

var (
	positionKey = []byte{0, 'p'}
	versionKey  = []byte{0, 'v'}
	trimKey     = []byte{0, 't'}
)

// diskVersion is the version of the format. A store of another one is stale.
const diskVersion = 2

// comparer orders by bytes; a row's prefix ends with its key, so that bloom filters answer for whole histories.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "lookback.rows"
	c.Split = func(b []byte) int {
		n, w := binary.Uvarint(b)
		if n == 0 || w <= 0 || n > uint64(len(b)-w) {
			return len(b)
		}
		return w + int(n)
	}
	return &c
}()

func (t *Table) openDisk() error {
	d := &disk{record: newManifestRecord(t.opts.Dir), refused: make(chan error, 1)}
	corrupt := func(err error) { d.corrupt.CompareAndSwap(nil, &err) }
	refused := func(err error) {
		select {
		case d.refused <- err:
		default: // the first one is enough
		}
	}
	opts := storeOptions(&t.opts, corrupt, refused)
	d.files = newPatientFS(opts.FS, refused)
	opts.FS = d.files
	d.record.listen(opts.EventListener)
	db, err := openFolder(t.opts.Dir, opts, d.record.check)
	if err != nil {
		return err
	}
	d.db, t.disk = db, d
	d.files.open.Store(true)
	d.record.begin()
	if err := removeLeftovers(t.opts.Dir); err != nil {
		return errors.Join(openError(t.opts.Dir, err), d.abandon())
	}
	err = d.identify(t)
	if err == nil {
		err = d.recall(t)
	}
	if err == nil && t.position == 0 {
		err = d.checkEmpty(t)
	}
	if err != nil {
		return errors.Join(err, d.abandon())
	}
	d.keys.begin(db, t.position == 0)
	return nil
}

// identify checks that the store has this format and belongs to the table's changelog, and says so in one that is new.
func (d *disk) identify(t *Table) error {
	have, err := d.get(t, versionKey)
	if err != nil {
		return err
	}
	want := append([]byte{diskVersion}, t.opts.Incarnation...)
	fresh := have == nil
	if fresh {
		if position, err := d.get(t, positionKey); err != nil || position != nil {
			return errors.Join(err, d.spoiled(t, "it does not say which format it has", nil))
		}
		have = want
	}
	switch {
	case have[0] != diskVersion:
		return d.spoiled(t, fmt.Sprintf("it has format %d, this version of the program has %d", have[0], diskVersion), nil)
	case len(want) > 1 && len(have) > 1 && !bytes.Equal(have, want):
		return d.spoiled(t, "its changelog was deleted and created again", nil)
	}
	if len(want) < len(have) {
		want = have
	}
	if bytes.Equal(have, want) && !fresh {
		return nil // what says that this store is complete must be as old as the store
	}
	if err := d.call(func() error { return d.db.Set(versionKey, want, pebble.NoSync) }); err != nil {
		return &FolderError{Dir: t.opts.Dir, Cause: err}
	}
	return nil
}

// checkEmpty checks that a store without a position has no rows.
func (d *disk) checkEmpty(t *Table) error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{1}})
	if err != nil {
		return d.readError(t, err)
	}
	rows := it.First()
	if err := it.Close(); err != nil {
		return d.readError(t, err)
	}
	if rows {
		return d.spoiled(t, "it was being restored when the process or the machine ended", nil)
	}
	return nil
}

// spoiled remembers, and returns, what is wrong with the content.
func (d *disk) spoiled(t *Table, reason string, cause error) error {
	d.stale = &StaleError{Dir: t.opts.Dir, Reason: reason, Cause: cause}
	return d.stale
}

// readError turns an error of reading into one that says whether the content is at fault.
func (d *disk) readError(t *Table, err error) error {
	if pebble.IsCorruptionError(err) {
		return d.spoiled(t, "it is corrupt", err)
	}
	return fmt.Errorf("reading the state store %s: %w", t.opts.Dir, err)
}

// recall makes the table what the disk says.
func (d *disk) recall(t *Table) error {
	if d.broken != nil {
		return d.broken
	}
	d.closeRows()
	d.batch = d.db.NewBatch()
	if err := d.endBulk(); err != nil {
		return &FolderError{Dir: t.opts.Dir, Cause: err}
	}
	d.hand = 0
	d.dues.reset()
	if err := d.readChain(t); err != nil {
		return err
	}
	value, err := d.get(t, positionKey)
	if err != nil || value == nil {
		return err
	}
	if len(value) != 16 {
		return d.spoiled(t, "it is corrupt", errors.New("position"))
	}
	t.position = int64(binary.BigEndian.Uint64(value))
	d.latest = int64(binary.BigEndian.Uint64(value[8:]))
	if err := d.recallTrim(t); err != nil {
		return err
	}
	if value, err = d.get(t, codecs.AppendMetaKey(nil)); err != nil || value == nil {
		return err
	}
	m, err := codecs.DecodeMeta(value)
	if err != nil {
		return d.spoiled(t, "it is corrupt", err)
	}
	if err := t.checkLayout(m); err != nil {
		return err
	}
	t.meta = m
	return nil
}

// recallTrim reads the segments of the changelog that were written down. What has come since is one more, which is due when the
// last of all rows is.
func (d *disk) recallTrim(t *Table) error {
	value, err := d.get(t, trimKey)
	if err != nil {
		return err
	}
	if value != nil {
		if err := t.trim.restore(value); err != nil {
			return d.spoiled(t, "it is corrupt", err)
		}
	}
	t.trim.put(d.latest)
	t.trim.commit(t.position)
	return nil
}

func (d *disk) get(t *Table, key []byte) ([]byte, error) {
	value, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, d.readError(t, err)
	}
	value = bytes.Clone(value)
	return value, closer.Close()
}

func (d *disk) closeRows() {
	if d.rows != nil {
		_ = d.rows.Close() // what it had met was said by its Error
		d.rows = nil
	}
}

func (d *disk) close() error {
	if d.broken != nil {
		d.record.end()
		return nil // said when it broke
	}
	d.closeRows()
	d.keys.end()
	if err := errors.Join(d.batch.Close(), d.endBulk()); err != nil {
		return errors.Join(err, d.abandon())
	}
	return d.abandon()
}

// abandon closes the store. What closing fails with is of no interest, but for a disk that refuses what the store has to write:
// at worst the store is behind its changelog, which the next start makes up for, or corrupt, which it finds out.
func (d *disk) abandon() error {
	refused, _ := d.wait(d.db.Close)
	d.record.end()
	if refused != nil {
		d.broken = &FolderError{Dir: d.record.dir, Cause: refused}
		return d.broken
	}
	return nil
}

// call calls the store for something that writes. Where the disk refuses what the store writes now, or has refused what it wrote
// behind everybody's back, that is the error, and the store may not be used any more: it may still be at what it was called for,
// for good.
func (d *disk) call(do func() error) error {
	refused, err := d.wait(do)
	return cmp.Or(refused, err)
}

func (d *disk) wait(do func() error) (refused, err error) {
	done := make(chan error, 1)
	go func() { done <- guard(do) }()
	select {
	case err := <-done:
		return nil, err
	case refused := <-d.refused:
		d.files.halted.Store(true)
		return refused, nil
	}
}

// expire visits the keys that have something due before the bucket limit.
func (d *disk) expire(t *Table, limit int64) (int, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, 'd'}, UpperBound: appendDueBucket(nil, limit)})
	if err != nil {
		return 0, d.readError(t, err)
	}
	n, all := 0, true
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if t.expiry.full(&t.pending) {
			all = false
			break
		}
		t.pending.done = appendItem(t.pending.done, it.Key())
		err = items(it.Value(), func(key []byte) error {
			t.expiry.visited++
			t.keyBuf = append(t.keyBuf[:0], key...)
			h, err := t.History(t.keyBuf)
			if err != nil {
				return err
			}
			if h.readAll(); h.addr != 0 && t.readErr == nil {
				n += t.expireKey(h)
			}
			return t.readErr
		})
	}
	t.current = History{t: t}
	if err := errors.Join(err, it.Error()); err != nil {
		return n, errors.Join(d.expireError(t, err), it.Close())
	}
	if all {
		t.expiry.through = limit
	}
	return n, it.Close()
}

// expireError tells what is wrong with the content.
func (d *disk) expireError(t *Table, err error) error {
	if errors.Is(err, errItems) {
		return d.spoiled(t, "it is corrupt", err)
	}
	return d.readError(t, err)
}
