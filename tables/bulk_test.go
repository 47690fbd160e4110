package tables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// randomLog is a changelog with rows that are written again, tombstones, marks and a watermark that advances, and the rows that
// are in the end not due.
func randomLog(rng *rand.Rand, records int) (log [][2][]byte, m model, watermark int64) {
	m = model{}
	for len(log) < records {
		key := codecs.AppendValue(nil, codecs.IntValue(rng.Int64N(30)))
		id := fmt.Sprint(rng.IntN(20))
		row := testRow(0, watermark+rng.Int64N(600)-100, id, "a", fmt.Sprint(rng.IntN(3)))
		if rng.IntN(2) == 0 {
			row = testRow(2, row.Time(), id, "b")
		}
		entry := codecs.AppendEntryKey(nil, key, row.Stream(), row.ID())
		switch rng.IntN(12) {
		case 0:
			log = append(log, [2][]byte{entry, nil})
			m.remove(string(key), row.Stream(), row.ID())
		case 1:
			log = append(log, [2][]byte{codecs.AppendMarkKey(nil, key), codecs.AppendMark(nil, codecs.Mark{})})
		case 2:
			watermark += rng.Int64N(40)
			log = append(log, [2][]byte{codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &codecs.Meta{Watermark: watermark, Rules: testShape.Layout})})
		default:
			log = append(log, [2][]byte{entry, codecs.AppendEntry(nil, row)})
			m.remove(string(key), row.Stream(), row.ID())
			m.insert(string(key), row)
		}
	}
	log = append(log, [2][]byte{codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &codecs.Meta{Watermark: watermark, Rules: testShape.Layout})})
	m.expire(watermark)
	return log, m, watermark
}

// A store that is restored from nothing has what its changelog says, whether that fits into memory or not, and also where the
// restore was interrupted; when it is opened again it still has; and each of its rows leaves when it is due.
func TestARestoreOntoAnEmptyDisk(t *testing.T) {
	for name, bytes := range map[string]int{"in memory": 1 << 20, "in runs": 4096, "a run per record": 1} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				rng := rand.New(rand.NewPCG(seed, 7))
				log, m, watermark := randomLog(rng, 3000)
				o := Options{Dir: t.TempDir()}
				table := mustOpen(t, testShape, o)
				sortIn(table, bytes)
				if seed%2 == 1 {
					for i := range 500 {
						if err := table.Load(log[i][0], log[i][1], int64(i)); err != nil {
							t.Fatal(err)
						}
					}
					if err := table.Discard(); err != nil {
						t.Fatal(err)
					}
					sortIn(table, bytes)
				}
				restore(t, table, log)
				compare(t, table, m, rng)
				wantFiles(t, o.Dir, 0)
				if err := table.Close(); err != nil {
					t.Fatal(err)
				}
				table = mustOpen(t, testShape, o)
				if table.Position() != int64(len(log)) {
					t.Fatalf("it is at %d, not at %d", table.Position(), len(log))
				}
				compare(t, table, m, rng)
				due := 0
				for _, rows := range m {
					due += len(rows)
				}
				meta := *table.Meta()
				meta.Watermark = watermark + 10_000
				table.SetMeta(meta)
				if n, err := table.Expire(); err != nil || n != due {
					t.Fatalf("%d rows left (%v), want %d", n, err, due)
				}
			}
		})
	}
}

// sortIn bounds what the restore that is about to begin keeps in memory.
func sortIn(table *Table, bytes int) {
	table.disk.beginLoad(table)
	table.disk.bulk.rows.bytes, table.disk.bulk.dues.bytes = bytes, bytes
}

// wantFiles checks how many files of a restore are in a store's folder.
func wantFiles(t *testing.T, dir string, want int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "restore-*"))
	if err != nil || len(files) != want {
		t.Errorf("files %v (%v), want %d", files, err, want)
	}
}

// endsAfter is a context that ends when it has been looked at so often.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// A restore whose end is interrupted, as often as it likes, loses nothing: it goes on with what the changelog has by then.
func TestARestoreWhoseEndIsInterrupted(t *testing.T) {
	for _, bytes := range []int{1 << 20, 4096} {
		rng := rand.New(rand.NewPCG(uint64(bytes), 8))
		log, m, _ := randomLog(rng, 12*eachPatience)
		o := Options{Dir: t.TempDir()}
		table := mustOpen(t, testShape, o)
		sortIn(table, bytes)
		interrupted := 0
		for i, r := range log {
			if err := table.Load(r[0], r[1], int64(i)); err != nil {
				t.Fatal(err)
			}
			if i%1500 != 1499 {
				continue
			}
			ctx := &endsAfter{Context: t.Context(), looks: rng.IntN(max(1, i*10/12/eachPatience))}
			err := table.Loaded(ctx, int64(i+1))
			if err == nil {
				t.Fatal("it ended before it was interrupted")
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			interrupted++
			if files, err := filepath.Glob(filepath.Join(o.Dir, bulkPattern)); err != nil || len(files) > 0 {
				t.Errorf("it left %v (%v)", files, err)
			}
		}
		if interrupted < 3 {
			t.Errorf("interrupted %d times: too few to show anything", interrupted)
		}
		if err := table.Loaded(t.Context(), int64(len(log))); err != nil {
			t.Fatal(err)
		}
		compare(t, table, m, rng)
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		table = mustOpen(t, testShape, o)
		if table.Position() != int64(len(log)) {
			t.Fatalf("it is at %d, not at %d", table.Position(), len(log))
		}
		compare(t, table, m, rng)
		wantFiles(t, o.Dir, 0)
	}
}

// What a restore that was interrupted has left is removed, and a store that it has filled without saying so is of no use.
func TestARestoreThatWasInterrupted(t *testing.T) {
	log, _, _ := randomLog(rand.New(rand.NewPCG(1, 1)), 500)
	o := Options{Dir: t.TempDir()}
	half := func() *Table {
		table := mustOpen(t, testShape, o)
		sortIn(table, 64)
		for i, r := range log {
			if err := table.Load(r[0], r[1], int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		return table
	}
	table := half()
	wantFiles(t, o.Dir, 1)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, o.Dir, 0)
	for _, name := range []string{"restore-12.run", "restore-0.sst"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table = half()
	if table.Position() != int64(len(log)) {
		t.Fatal("nothing was loaded")
	}
	b := table.disk.bulk
	if err := b.finish(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testShape, o)
	if stale := (*StaleError)(nil); !errors.As(err, &stale) {
		t.Fatalf("a store with rows and without a position: %v", err)
	}
}

// A table that follows its changelog keeps no more than one in service: what is due leaves it without being asked for.
func TestAFollowerDoesNotGrow(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			table, m := store.open(t, testShape), model{}
			const records = 20_000
			load := func(i int, key, value []byte) {
				if err := table.Load(key, value, int64(i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range records {
				if i%50 == 49 {
					load(i, codecs.AppendMetaKey(nil), codecs.AppendMeta(nil, &codecs.Meta{Watermark: int64(i), Rules: testShape.Layout}))
					if err := table.Settle(t.Context(), int64(i+1)); err != nil {
						t.Fatal(err)
					}
					if table.Dirty() {
						t.Fatal("a follower has changes to report")
					}
					continue
				}
				key := codecs.AppendValue(nil, codecs.IntValue(int64(i%30)))
				row := testRow(0, int64(i), fmt.Sprint(i), "a", "b")
				load(i, codecs.AppendEntryKey(nil, key, 0, row.ID()), codecs.AppendEntry(nil, row))
				m.insert(string(key), row)
			}
			m.expire(records - 1)
			compare(t, table, m, rand.New(rand.NewPCG(2, 3)))
			if n := storedRows(t, table); n > 4000 {
				t.Errorf("%d rows are kept, of which only those of the last 500 records are not due", n)
			}
		})
	}
}

// storedRows counts the rows that a table has, on the disk if it has one.
func storedRows(t *testing.T, table *Table) int {
	t.Helper()
	n := 0
	if table.disk == nil {
		for key := range int64(30) {
			h, err := table.History(codecs.AppendValue(nil, codecs.IntValue(key)))
			if err != nil {
				t.Fatal(err)
			}
			n += h.Len()
		}
		return n
	}
	it, err := table.disk.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if length, _ := binary.Uvarint(it.Key()); length > 0 {
			n++
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
