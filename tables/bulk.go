package tables

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// bulk restores an empty store: it sorts what the changelog has, and hands the store whole files of it. Batch by batch, the store
// would write everything several times, which costs twice as much. At the end of the changelog, too, the watermark is known, so
// that rows which are due are not written at all. Until then nothing is in the store: a restore that is interrupted by the end of
// the process begins again.
type bulk struct {
	dir  string
	rows sorter // and marks
	dues sorter // keys alone
}

const (
	bulkPattern = "restore-*.sst"
	// bulkFile is the size of the files that the store is given, about.
	bulkFile = 64 << 20
	// bulkShare is what a restore keeps in memory, in what the table is allowed to collect for writing.
	bulkShare = 2
)

func newBulk(dir string, writeBytes int64) *bulk {
	n := int(bulkShare * writeBytes)
	return &bulk{dir: dir, rows: sorter{dir: dir, bytes: n}, dues: sorter{dir: dir, bytes: n / 8}}
}

// add takes an entry of the store; a nil value is its end.
func (b *bulk) add(key, value []byte) error {
	if err := b.rows.add(key, value, value == nil); err != nil {
		return &FolderError{Dir: b.dir, Cause: err}
	}
	return nil
}

// finish puts everything but what is due into the store. Where ctx ends before that is done, it keeps everything and returns
// the error of ctx: there may be more to add, and another finish.
func (b *bulk) finish(ctx context.Context, t *Table) error {
	d := t.disk
	out := bulkWriter{dir: b.dir, opts: storeOptions(&t.opts, func(error) {}, func(error) {}), format: d.db.TableFormat()}
	out.opts.EnsureDefaults()
	err := guard(func() error {
		if err := b.writeRows(ctx, t, &out); err != nil {
			return err
		}
		if len(out.files) == 0 {
			return nil
		}
		if err := b.writeDues(ctx, &out); err != nil {
			return err
		}
		if err := d.call(func() error { return d.db.Ingest(context.Background(), out.files) }); err != nil {
			return err
		}
		// That the store has these files its manifest alone says, and no log does.
		return d.record.write()
	})
	if interrupted := ctx.Err(); interrupted != nil && errors.Is(err, interrupted) {
		if err = errors.Join(out.abandon(), b.dues.reset()); err == nil {
			return interrupted
		}
	} else {
		t.disk.bulk = nil
		err = errors.Join(err, out.abandon(), b.close())
	}
	if err != nil {
		return &FolderError{Dir: b.dir, Cause: fmt.Errorf("writing what was restored: %w", err)}
	}
	return nil
}

func (b *bulk) writeRows(ctx context.Context, t *Table, out *bulkWriter) error {
	var prefix, due []byte
	visit := int64(noDue) // of the key whose rows are passing
	schedule := func() error {
		if visit == noDue {
			return nil
		}
		due = appendDue(due[:0], t.expiry.bucket(visit), keyOfPrefix(prefix))
		return b.dues.add(due, nil, false)
	}
	err := b.rows.each(ctx, func(key, value []byte, removed bool) error {
		if removed {
			return nil
		}
		n := comparer.Split(key)
		if !bytes.Equal(key[:n], prefix) {
			if err := schedule(); err != nil {
				return err
			}
			prefix, visit = append(prefix[:0], key[:n]...), noDue
		}
		if key[n] != markStream {
			row := codecs.Row(value[1:])
			if t.due(row) < t.meta.Watermark {
				return nil
			}
			if visit == noDue {
				t.disk.keys.wrote(hash32(keyOfPrefix(prefix)))
			}
			visit = min(visit, t.visit(row))
		}
		return out.set(key, value)
	})
	if err != nil {
		return err
	}
	if err := schedule(); err != nil {
		return err
	}
	return out.end()
}

func (b *bulk) writeDues(ctx context.Context, out *bulkWriter) error {
	lists := packer{set: out.set} // of no commit: these have numbers from 1 on
	err := b.dues.each(ctx, func(due, _ []byte, _ bool) error {
		return lists.add(splitDue(due))
	})
	if err != nil {
		return err
	}
	return errors.Join(lists.end(), out.end())
}

// close removes what is left of it.
func (b *bulk) close() error { return errors.Join(b.rows.close(), b.dues.close()) }

// keyOfPrefix is what rowPrefix has made the prefix of.
func keyOfPrefix(prefix []byte) []byte {
	_, n := binary.Uvarint(prefix)
	return prefix[n:]
}

// removeLeftovers removes what a restore that was killed has left in a folder.
func removeLeftovers(dir string) error {
	for _, pattern := range []string{sorterPattern, bulkPattern} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// bulkWriter writes sorted entries to files that a store can take over.
type bulkWriter struct {
	dir    string
	opts   *pebble.Options
	format sstable.TableFormat

	files []string
	file  *sstable.Writer // nil: none is being written
}

func (w *bulkWriter) set(key, value []byte) error {
	if w.file != nil && w.file.Raw().EstimatedSize() > bulkFile {
		if err := w.end(); err != nil {
			return err
		}
	}
	if w.file == nil {
		name := filepath.Join(w.dir, fmt.Sprintf("restore-%d.sst", len(w.files)))
		f, err := vfs.Default.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		w.files = append(w.files, name)
		const lowest = len(w.opts.Levels) - 1
		w.file = sstable.NewWriter(objstorageprovider.NewFileWritable(f), w.opts.MakeWriterOptions(lowest, w.format))
	}
	return w.file.Set(key, value)
}

// end ends the file that is being written.
func (w *bulkWriter) end() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// abandon removes the files that the store has not taken over.
func (w *bulkWriter) abandon() error {
	err := w.end()
	for _, name := range w.files {
		if failed := os.Remove(name); failed != nil && !errors.Is(failed, os.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}
