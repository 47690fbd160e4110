package tables

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A log that is lost or cut in the middle leaves a store that opens without a word. It must not be taken for complete, however
// many commits there were; without damage it must.
func TestAStoreWithoutSomeOfItsCommitsIsStale(t *testing.T) {
	for _, commits := range []int{1, 5, chainLength - 1, chainLength, chainLength + 1, 3*chainLength + 7} {
		for _, drop := range []int{-1, 0, 1, commits / 2, commits - 2} {
			if drop >= commits-1 || drop >= 0 && drop < commits-chainLength {
				continue // the last one may be missing: that is an earlier state; those before the ring are in tables
			}
			t.Run(fmt.Sprint(commits, " without ", drop), func(t *testing.T) {
				dir := t.TempDir()
				table, err := Open(testShape, Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				for i := range commits {
					table.SetMeta(codecs.Meta{Watermark: int64(i)})
					if err := table.Commit(int64(i + 1)); err != nil {
						t.Fatal(err)
					}
				}
				if drop >= 0 {
					lost := uint64(drop + 1)
					if before := lost - chainLength; lost > chainLength {
						err = table.disk.db.Set(chainKey(lost), chainValue(before), nil)
					} else {
						err = table.disk.db.Delete(chainKey(lost), nil)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if err := table.Close(); err != nil {
					t.Fatal(err)
				}
				table, err = Open(testShape, Options{Dir: dir})
				if stale := (*StaleError)(nil); errors.As(err, &stale) != (drop >= 0) {
					t.Fatalf("opened with %v", err)
				}
				if err == nil {
					if table.Position() != int64(commits) {
						t.Errorf("position %d, want %d", table.Position(), commits)
					}
					if err := table.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// Whatever single file is removed from a store that was not closed, it opens as it was at some commit, or not at all.
func TestAStoreWithoutOneOfItsFilesIsNeverIncomplete(t *testing.T) {
	source := t.TempDir()
	shape := Shape{Streams: []StreamShape{{Used: true, Paths: [][]int{{}}, Keep: 1 << 40}}, Layout: "ids"}
	table, err := Open(shape, Options{Dir: source, WriteBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 20_000
	key := func(i int) []byte { return codecs.AppendValue(nil, codecs.StringValue(fmt.Sprintf("key-%06d", i))) }
	for i := range rows {
		h, err := table.History(key(i))
		if err != nil {
			t.Fatal(err)
		}
		ev := codecs.Event{Time: int64(i), ID: codecs.StringValue("id")}
		h.Insert(codecs.AppendRow(nil, &ev, 0))
		if i%100 == 99 {
			if err := table.Commit(int64(i + 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	crashed := t.TempDir() // what a kill -9 leaves
	copyFiles(t, source, crashed)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(crashed)
	if err != nil {
		t.Fatal(err)
	}
	for _, victim := range files {
		t.Run(victim.Name(), func(t *testing.T) {
			dir := t.TempDir()
			copyFiles(t, crashed, dir)
			if err := os.Remove(filepath.Join(dir, victim.Name())); err != nil {
				t.Fatal(err)
			}
			table, err := Open(shape, Options{Dir: dir, WriteBytes: 256 << 10})
			if stale := (*StaleError)(nil); errors.As(err, &stale) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer table.Close()
			for i := range int(table.Position()) {
				h, err := table.History(key(i))
				if err != nil {
					if table.Stale() != nil {
						return
					}
					t.Fatal(err)
				}
				if h.Len() != 1 {
					t.Fatalf("at position %d the table lacks row %d", table.Position(), i)
				}
			}
		})
	}
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
