package tables

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Table is one partition of the histories of one key group: in memory, or a cache over a disk store. It is not safe
// for concurrent use.
//
// Changes reach the disk, and are reported for the changelog, at Commit only; until then they live in memory, so that
// whatever is on disk was in the changelog before.
type Table struct {
	shape     Shape
	opts      Options
	largeRows int
	meta      codecs.Meta
	metaDirty bool
	position  int64

	arena   arena
	keys    segmented
	larges  []*large
	freed   []uint32 // indexes into larges that are free
	current History

	pending pending
	expiry  expiry
	trim    trim
	disk    *disk    // nil: memory
	loadErr error    // the first row that could not be loaded
	readErr error    // the first row that could not be read from the disk
	marked  [][]byte // keys whose marks a restore has read
	scratch []byte   // of makeRoom
	keyBuf  []byte   // of expiry
	warm    warm
}

// MaxKey is the length of the longest key, encoded, that a table takes.
const MaxKey = 4 << 10

// Open returns a table. A memory table is empty and wants its whole changelog loaded; a disk table holds what was last
// committed in o.Dir, which it locks until Close.
func Open(shape Shape, o Options) (*Table, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	o.ShortRows = cmp.Or(o.ShortRows, defaultShortRows)
	t := &Table{shape: shape, opts: o, largeRows: o.LargeRows}
	if t.largeRows == 0 {
		t.largeRows = defaultLargeRows
	}
	t.reset()
	if o.Dir == "" {
		return t, nil
	}
	return t, t.openDisk()
}

// reset empties the memory.
func (t *Table) reset() {
	t.meta = codecs.Meta{Watermark: math.MinInt64, Rules: t.shape.Layout}
	t.metaDirty = false
	t.position = 0
	t.arena, t.keys, t.larges, t.freed = arena{}, segmented{}, nil, nil
	t.current = History{t: t}
	t.pending = pending{off: t.opts.Untracked && t.opts.Dir == ""}
	t.expiry = newExpiry(t.shape)
	t.trim = trim{}
	t.loadErr, t.readErr, t.marked = nil, nil, nil
}

// History moves the table's one History to key and returns it. The key must be at most MaxKey long, and stay unchanged
// while the History is used.
func (t *Table) History(key []byte) (*History, error) {
	h := &t.current
	if !h.open(key, hash32(key)) && t.disk != nil {
		if err := t.fetch(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Keys returns how many keys are in memory.
func (t *Table) Keys() int { return t.keys.len() }

// DiskBytes returns how much the store takes on the disk, 0 where there is none.
func (t *Table) DiskBytes() int64 {
	if t.disk == nil || t.disk.broken != nil {
		return 0
	}
	return int64(t.disk.db.Metrics().DiskSpaceUsage())
}

// Bytes returns how much memory the histories that are in memory take, roughly.
func (t *Table) Bytes() int64 {
	n := t.arena.live
	for i := range t.keys.parts {
		n += int64(len(t.keys.parts[i].slots)) * 8
	}
	for _, l := range t.larges {
		if l != nil {
			n += l.bytes()
		}
	}
	return n
}

// Meta returns what the partition knows besides its rows. It belongs to the table; change it with SetMeta.
func (t *Table) Meta() *codecs.Meta { return &t.meta }

// SetMeta replaces the partition's meta record, which is written with the next commit. Its Rules are the table's own layout.
func (t *Table) SetMeta(m codecs.Meta) {
	m.Rules = t.shape.Layout
	t.meta = m
	t.metaDirty = true
}

// Accept counts an accepted event and returns how many there are now: a number that grows with every change to a key,
// and stays behind when the key's rows leave.
func (t *Table) Accept() uint64 {
	t.meta.Accepted++
	t.metaDirty = true
	return t.meta.Accepted
}

// Advance raises the watermark, which never falls, and takes out what is due, as Expire does.
func (t *Table) Advance(watermark int64) error {
	if watermark > t.meta.Watermark {
		t.meta.Watermark = watermark
		t.metaDirty = true
	}
	_, err := t.Expire()
	return err
}

// Position is the changelog offset that the table's content reflects: the next one to load.
func (t *Table) Position() int64 { return t.position }

// Dirty tells whether there are changes since the last Commit.
func (t *Table) Dirty() bool { return t.metaDirty || len(t.pending.entries) > 0 }

// Changes calls emit with every changelog record that makes the changes since the last Commit durable, at most one per
// entry; a nil value is a tombstone. The slices are valid until the next change to the table.
func (t *Table) Changes(emit func(key, value []byte)) {
	t.pending.each(func(e *entry) {
		switch e.op {
		case opPut, opMark:
			emit(t.pending.key(e), t.pending.value(e))
		case opRemove:
			emit(t.pending.key(e), nil)
		}
	})
	if t.metaDirty {
		emit(codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &t.meta))
	}
}

// Commit says that the changes are in the changelog, which now ends before position. A disk table writes them, and the
// position, in one batch.
func (t *Table) Commit(position int64) error {
	if t.metaDirty {
		t.trim.meta = t.position
	}
	t.position = position
	t.trim.commit(position)
	if t.disk != nil {
		if err := t.writeDisk(); err != nil {
			return err
		}
	}
	h := History{t: t}
	for i, hash := range t.pending.keys {
		if i%warmKeys == 0 {
			t.warmAll(t.pending.keys[i:min(i+warmKeys, len(t.pending.keys))])
		}
		part := t.keys.part(hash)
		for p := part.probe(hash); ; {
			addr := part.candidate(&p)
			if addr == 0 {
				break
			}
			b := t.arena.block(addr)
			if b[blkFlags]&flagPending == 0 {
				continue
			}
			b[blkFlags] &^= flagPending
			h.key, h.hash = blockKey(b), hash
			h.attach(addr, b)
			if h.addr != 0 && h.inMemory() == 0 && h.unread == 0 {
				if t.disk != nil {
					t.disk.keys.left++
				}
				h.forget()
				p = part.probe(hash) // entries have moved
			}
		}
	}
	t.pending.reset()
	t.expiry.visited = 0
	t.metaDirty = false
	t.current = History{t: t}
	if t.disk != nil {
		t.evict()
	}
	return nil
}

// Discard drops everything that is not committed. A memory table is then empty and at position 0; a disk table is what
// its disk says.
func (t *Table) Discard() error {
	t.reset()
	if t.disk == nil {
		return nil
	}
	return t.disk.recall(t)
}

// SetCacheBytes changes the bound of a disk table's histories in memory. The next commit keeps to it.
func (t *Table) SetCacheBytes(n int64) { t.opts.CacheBytes = n }

// Stale returns why the disk store must be removed and restored, nil where nothing wrong with it is known.
func (t *Table) Stale() *StaleError {
	if t.disk == nil {
		return nil
	}
	return t.disk.stale
}

// Close releases the disk store. What was not committed is lost.
func (t *Table) Close() error {
	if t.disk == nil {
		return nil
	}
	return t.disk.close()
}

// Trimmable returns the changelog offset below which no record is of use any more, 0 where there is none to give up. The last
// record that says how far the table has come is always of use.
func (t *Table) Trimmable() int64 { return t.trim.below(t.meta.Watermark) }

// Load takes one changelog record into the table. A nil value is a tombstone. Records come in the order of their
// offsets, from Position on; Loaded ends the restore.
func (t *Table) Load(key, value []byte, offset int64) error {
	if t.disk != nil && t.position == 0 {
		t.disk.beginLoad(t)
	}
	if err := t.load(key, value); err != nil {
		return fmt.Errorf("changelog offset %d: %w", offset, err)
	}
	t.position = offset + 1
	if offset%1024 == 0 {
		t.trim.commit(t.position)
	}
	if t.disk != nil && t.loadErr == nil { // else the next start would go on behind the row
		return t.disk.loaded(t)
	}
	return nil
}

func (t *Table) load(entry, value []byte) error {
	key, err := codecs.DecodeChangelogKey(entry)
	if err != nil {
		return err
	}
	switch key.Kind {
	case codecs.ChangelogMeta:
		m, err := codecs.DecodeMeta(value)
		if err != nil {
			return err
		}
		if err := t.checkLayout(m); err != nil {
			return err
		}
		t.meta = m
		t.trim.meta = t.position
	case codecs.ChangelogMark:
		return t.loadMark(key.Key, value)
	case codecs.ChangelogEntry:
		return t.loadRow(entry, key, value)
	}
	return nil
}

func (t *Table) checkLayout(m codecs.Meta) error {
	if m.Rules != t.shape.Layout {
		return &LayoutError{Table: m.Rules, Rules: t.shape.Layout}
	}
	return nil
}

func (t *Table) loadMark(key, value []byte) error {
	if t.disk != nil {
		return t.disk.loadSet(diskMark(key), value)
	}
	t.marked = append(t.marked, bytes.Clone(key)) // the key's rows may come behind it
	return nil
}

func (t *Table) loadRow(entry []byte, key codecs.ChangelogKey, value []byte) error {
	stream, id := key.Stream, key.ID
	if stream >= len(t.shape.Streams) || !t.shape.Streams[stream].Used || len(key.Key) > MaxKey {
		return nil
	}
	h := &t.current
	if value == nil {
		if t.disk != nil {
			return t.disk.loadSet(entry, nil)
		}
		if h.open(key.Key, hash32(key.Key)) {
			if r := h.Get(stream, id); r != nil {
				h.remove(r)
				h.release()
			}
		}
		return nil
	}
	row, err := codecs.DecodeEntry(key, value, t.shape.Streams[stream].Fields)
	if err != nil {
		// The meta record, which says that other rules wrote the rows, comes behind them: wait for it.
		if t.loadErr == nil {
			t.loadErr = &RowError{err}
		}
		return nil
	}
	due := t.due(row)
	t.trim.put(due)
	if t.disk != nil {
		return t.disk.loadRow(t, entry, value, key.Key, due, t.visit(row))
	}
	if due < t.meta.Watermark {
		return nil
	}
	h.open(key.Key, hash32(key.Key))
	if r := h.Get(stream, id); r != nil {
		h.remove(r)
	}
	h.insert(row)
	t.schedule(h, row)
	return nil
}

// Loaded ends a restore: the table reflects the changelog up to position. Writing a large restore to the disk takes a while.
// Where ctx ends before that is done its error is returned, and nothing is lost: more can be loaded, and Loaded called again.
func (t *Table) Loaded(ctx context.Context, position int64) error {
	t.position = max(t.position, position)
	t.trim.commit(t.position)
	t.trim.unsaved = saveSegments
	t.current = History{t: t}
	if t.loadErr != nil {
		return t.loadErr
	}
	if t.disk != nil {
		if err := t.flushLoad(ctx); err != nil {
			return err
		}
	}
	for _, key := range t.marked {
		if h := &t.current; h.open(key, hash32(key)) {
			h.blk[blkFlags] |= flagCapped
		}
	}
	t.marked = nil
	t.current = History{t: t}
	_, err := t.Expire()
	return err
}

// Settle brings a table that follows its changelog, up to position, into the state that it would have in service: what is due
// leaves. It may go on loading from there, also where ctx has ended and its error is returned, as by Loaded.
func (t *Table) Settle(ctx context.Context, position int64) error {
	if err := t.Loaded(ctx, position); err != nil {
		return err
	}
	return t.Commit(t.position)
}

// RowError says that the changelog has a row which cannot be read. Loading it again would find the same.
type RowError struct{ cause error }

func (e *RowError) Error() string { return "a row of the changelog cannot be read: " + e.cause.Error() }
func (e *RowError) Unwrap() error { return e.cause }

// LayoutError says that a table was written under rules that keep other fields.
type LayoutError struct{ Table, Rules string }

func (e *LayoutError) Error() string {
	return fmt.Sprintf("the table holds other fields than these rules need:\n  table: %s\n  rules: %s\nrestore the rules it was built with, or start anew: give the app another name and every rule another `into` topic, because row versions begin again", e.Table, e.Rules)
}

func (t *Table) addLarge(l *large) uint32 {
	if n := len(t.freed); n > 0 {
		i := t.freed[n-1]
		t.freed = t.freed[:n-1]
		t.larges[i] = l
		return i
	}
	t.larges = append(t.larges, l)
	return uint32(len(t.larges) - 1)
}

func (t *Table) freeLarge(i uint32) {
	t.larges[i] = nil
	t.freed = append(t.freed, i)
}
