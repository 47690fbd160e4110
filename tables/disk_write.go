package tables

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// writeDisk writes the pending changes and the position in one batch.
func (t *Table) writeDisk() error {
	d := t.disk
	if found := d.corrupt.Load(); found != nil {
		return d.spoiled(t, "it is corrupt", *found)
	}
	b := d.db.NewBatch()
	defer func() {
		if d.broken == nil {
			b.Close()
		}
	}()
	var failed error
	// The store inserts what comes in its order a good deal faster.
	slices.SortFunc(t.pending.entries, func(a, b entry) int { return bytes.Compare(t.pending.key(&a), t.pending.key(&b)) })
	t.pending.each(func(e *entry) {
		key, value := t.pending.key(e), t.pending.value(e)
		switch e.op {
		case opPut:
			failed = errors.Join(failed, b.Set(key, value, nil))
			d.latest = max(d.latest, t.due(value[1:]))
		case opMark:
			failed = errors.Join(failed, b.Set(diskMark(key[2:]), value, nil))
		default:
			failed = errors.Join(failed, b.Delete(key, nil))
		}
	})
	d.keys.settle(d.db) // a look that begins now does not see this batch, but is told of its keys
	for _, hash := range t.pending.keys {
		d.keys.wrote(hash)
	}
	drop := func(key []byte) error { return b.Delete(key, nil) }
	failed = errors.Join(failed, items(t.pending.done, drop), d.writeDues(b, &t.pending.dues))
	if t.metaDirty {
		failed = errors.Join(failed, b.Set(codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &t.meta), nil))
	}
	if segments := t.trim.save(); segments != nil {
		failed = errors.Join(failed, b.Set(trimKey, segments, nil))
	}
	if failed != nil {
		return fmt.Errorf("writing the state store: %w", failed)
	}
	return d.write(t, b, pebble.NoSync)
}

// rowPrefix is what the disk keys of all rows of a key begin with.
func rowPrefix(key []byte) []byte {
	return append(binary.AppendUvarint(make([]byte, 0, len(key)+24), uint64(len(key))), key...)
}

func diskMark(key []byte) []byte { return append(rowPrefix(key), markStream) }

// write commits a batch together with the position, and waits for the disk where it is to be synced. After an error the batch may
// still be in use.
func (d *disk) write(t *Table, b *pebble.Batch, sync *pebble.WriteOptions) error {
	if d.broken != nil {
		return d.broken
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(t.position))
	value = binary.BigEndian.AppendUint64(value, uint64(d.latest))
	if err := errors.Join(d.link(b), b.Set(positionKey, value, nil)); err != nil {
		return fmt.Errorf("writing the state store: %w", err)
	}
	if err := d.call(func() error { return b.Commit(sync) }); err != nil {
		d.broken = &FolderError{Dir: t.opts.Dir, Cause: err}
		return d.broken
	}
	d.closeRows()
	return nil
}

func (d *disk) loadRow(t *Table, entry, value, key []byte, due, visit int64) error {
	d.latest = max(d.latest, due)
	if d.bulk != nil {
		return d.bulk.add(entry, value)
	}
	d.keys.wrote(hash32(key))
	d.dues.add(t.expiry.bucket(visit), key)
	return d.batch.Set(entry, value, nil)
}

// loadSet writes an entry of a restore; a nil value removes it.
func (d *disk) loadSet(key, value []byte) error {
	switch {
	case d.bulk != nil:
		return d.bulk.add(key, value)
	case value == nil:
		return d.batch.Delete(key, nil)
	default:
		return d.batch.Set(key, value, nil)
	}
}

// beginLoad prepares for the first record that an empty store loads.
func (d *disk) beginLoad(t *Table) {
	if d.bulk == nil {
		d.bulk = newBulk(t.opts.Dir, cmp.Or(t.opts.WriteBytes, defaultWriteBytes))
	}
}

// endBulk drops what a restore into an empty store has collected.
func (d *disk) endBulk() error {
	if d.bulk == nil {
		return nil
	}
	b := d.bulk
	d.bulk = nil
	return b.close()
}

// loaded writes what a restore has collected, once it is enough.
func (d *disk) loaded(t *Table) error {
	if d.batch.Len() < loadBatch {
		return nil
	}
	return d.writeLoad(t, pebble.NoSync)
}

func (d *disk) writeLoad(t *Table, sync *pebble.WriteOptions) error {
	if err := errors.Join(d.batch.Set(codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &t.meta), nil), d.writeDues(d.batch, &d.dues)); err != nil {
		return err
	}
	d.dues.reset()
	if err := d.write(t, d.batch, sync); err != nil {
		return err
	}
	d.batch = d.db.NewBatch()
	return nil
}

// flushLoad ends a restore: the rest is written, and histories in memory, which the restore went past, are read again.
func (t *Table) flushLoad(ctx context.Context) error {
	sync := pebble.NoSync
	if b := t.disk.bulk; b != nil {
		if err := b.finish(ctx, t); err != nil {
			return err
		}
		sync = pebble.Sync // the store keeps some of what is not synced in memory, and without this all of it was for nothing
	}
	if err := t.disk.writeLoad(t, sync); err != nil {
		return err
	}
	t.arena, t.keys, t.larges, t.freed = arena{}, segmented{}, nil, nil
	return nil
}

// writeDues adds visits to the batch of the next commit.
func (d *disk) writeDues(b *pebble.Batch, visits *dues) error {
	return visits.each(d.commits+1, func(key, value []byte) error { return b.Set(key, value, nil) })
}
