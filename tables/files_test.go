package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Whatever single file is removed from a store that was not closed, or from where on its manifest is cut, it opens as it was at
// some commit, or not at all; and whatever was restored in bulk is there, or it does not open.
func TestAStoreWithoutSomeOfItsFilesIsNeverIncomplete(t *testing.T) {
	shape := Shape{Streams: []StreamShape{{Used: true, Paths: [][]int{{}}, Keep: 1 << 40}}, Layout: "ids"}
	key := func(i int) []byte { return codecs.AppendValue(nil, codecs.StringValue(fmt.Sprintf("key-%06d", i))) }
	row := func(i int) codecs.Row {
		return codecs.AppendRow(nil, &codecs.Event{Time: int64(i), ID: codecs.StringValue("id")}, 0)
	}
	for name, story := range map[string]struct {
		restored, rows, perCommit int
		writeBytes                int64
	}{
		"large commits":                   {rows: 20_000, perCommit: 100, writeBytes: 256 << 10},
		"small commits":                   {rows: 8 * chainLength, perCommit: 1, writeBytes: 1 << 20},
		"small commits in small logs":     {rows: 4 * chainLength, perCommit: 1, writeBytes: 256 << 10},
		"restored, few commits":           {restored: 10_000, rows: 50, perCommit: 10, writeBytes: 256 << 10},
		"restored, then many commits":     {restored: 10_000, rows: 4 * chainLength, perCommit: 1, writeBytes: 256 << 10},
		"restored, without a row since":   {restored: 10_000, writeBytes: 256 << 10},
		"restored, then one large commit": {restored: 100, rows: 3000, perCommit: 3000, writeBytes: 256 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			options := Options{WriteBytes: story.writeBytes}
			open := func(dir string) (*Table, error) {
				o := options
				o.Dir = dir
				return Open(shape, o)
			}
			table, err := open(source)
			if err != nil {
				t.Fatal(err)
			}
			for i := range story.restored {
				if err := table.Load(codecs.AppendEntryKey(nil, key(i), 0, row(i).ID()), codecs.AppendEntry(nil, row(i)), int64(i)); err != nil {
					t.Fatal(err)
				}
			}
			if story.restored > 0 {
				if err := table.Loaded(t.Context(), int64(story.restored)); err != nil {
					t.Fatal(err)
				}
			}
			for n := range story.rows {
				i := story.restored + n
				h, err := table.History(key(i))
				if err != nil {
					t.Fatal(err)
				}
				h.Insert(row(i))
				if (n+1)%story.perCommit == 0 {
					if err := table.Commit(int64(i + 1)); err != nil {
						t.Fatal(err)
					}
				}
			}
			crashed := t.TempDir() // what a kill -9 leaves
			copyLive(t, source, crashed)
			if err := table.Close(); err != nil {
				t.Fatal(err)
			}
			// check opens what is left in a folder and tells whether it was taken for a store.
			check := func(t *testing.T, dir string) bool {
				table, err := open(dir)
				if stale := (*StaleError)(nil); errors.As(err, &stale) {
					t.Log(err)
					return false
				}
				if err != nil {
					t.Fatal(err)
				}
				defer table.Close()
				for i := range int(table.Position()) {
					h, err := table.History(key(i))
					if err != nil {
						if table.Stale() != nil {
							return false
						}
						t.Fatal(err)
					}
					if h.Len() != 1 {
						t.Fatalf("at position %d the table lacks row %d", table.Position(), i)
					}
				}
				return true
			}
			t.Run("undamaged", func(t *testing.T) {
				dir := t.TempDir()
				copyFiles(t, crashed, dir)
				if !check(t, dir) {
					t.Error("it was not opened")
				}
			})
			files, err := os.ReadDir(crashed)
			if err != nil {
				t.Fatal(err)
			}
			for _, victim := range files {
				t.Run("without "+victim.Name(), func(t *testing.T) {
					dir := t.TempDir()
					copyFiles(t, crashed, dir)
					if err := os.Remove(filepath.Join(dir, victim.Name())); err != nil {
						t.Fatal(err)
					}
					check(t, dir)
				})
				if !strings.HasPrefix(victim.Name(), "MANIFEST-") {
					continue
				}
				info, err := victim.Info()
				if err != nil {
					t.Fatal(err)
				}
				for size := info.Size() - 1; size >= 0; size -= 1 + info.Size()/25 {
					t.Run(fmt.Sprint(victim.Name(), " cut to ", size), func(t *testing.T) {
						dir := t.TempDir()
						copyFiles(t, crashed, dir)
						if err := os.Truncate(filepath.Join(dir, victim.Name()), size); err != nil {
							t.Fatal(err)
						}
						check(t, dir)
					})
				}
			}
		})
	}
}

// copyLive copies the files of a store that is in use, as they are at one moment: it does so again where the store has changed
// some meanwhile.
func copyLive(t *testing.T, from, to string) {
	t.Helper()
	for {
		before := listing(t, from)
		failed := os.CopyFS(to, os.DirFS(from))
		if failed == nil && listing(t, from) == before {
			return
		}
		if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			t.Fatal(failed)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			text += fmt.Sprintln(f.Name(), info.Size())
		}
	}
	return text
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
