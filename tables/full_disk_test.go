package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A disk that has no room for what the store writes, now or behind everybody's back, is an error of a commit, or of the end, and
// keeps nobody waiting. Nothing that was committed before the disk was full is wrong after it.
func TestDiskThatFillsUp(t *testing.T) {
	for name, refuses := range map[string]func(op errorfs.Op, file string) bool{
		"files of tables": func(op errorfs.Op, file string) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(file, ".sst")
		},
		"writing a log": func(op errorfs.Op, file string) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(file, ".log")
		},
		"beginning a log": func(op errorfs.Op, file string) bool {
			return op.Kind == errorfs.OpCreate && strings.HasSuffix(file, ".log")
		},
		"taking a log again": func(op errorfs.Op, file string) bool { return op.Kind == errorfs.OpReuseForWrite },
		"the manifest": func(op errorfs.Op, file string) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasPrefix(file, "MANIFEST")
		},
		"syncing": func(op errorfs.Op, file string) bool {
			return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		},
		"everything": func(op errorfs.Op, file string) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite },
	} {
		t.Run(name, func(t *testing.T) { fillUp(t, refuses) })
	}
}

func fillUp(t *testing.T, refuses func(op errorfs.Op, file string) bool) {
	var full atomic.Bool
	files := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && refuses(op, filepath.Base(op.Path)) {
			return syscall.ENOSPC
		}
		return nil
	}))
	o := Options{Dir: t.TempDir(), WriteBytes: 256 << 10, files: files}
	table := mustOpen(t, testShape, o)
	commit := func(i int64) error {
		h, err := table.History(codecs.AppendValue(nil, codecs.IntValue(i)))
		if err != nil {
			return err
		}
		for n := range int64(20) {
			h.Insert(testRow(0, n, fmt.Sprint(n), strings.Repeat("x", 500), ""))
		}
		return table.Commit(i + 1)
	}
	const before = 10 // too few for a second log; one that is taken again errorfs would not watch
	for i := range int64(before) {
		if err := commit(i); err != nil {
			t.Fatal(err)
		}
	}
	full.Store(true)
	err := error(nil)
	for i := int64(before); err == nil; i++ {
		err = commit(i)
	}
	if fault := (*FolderError)(nil); !errors.As(err, &fault) || fault.Dir != o.Dir || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want an error that says that %s is full", err, o.Dir)
	}
	if err := table.Commit(1000); err == nil {
		t.Error("the table takes another commit")
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}

	// As after the end of the process: the store still has the folder's lock.
	there := Options{}
	for err = fs.ErrNotExist; errors.Is(err, fs.ErrNotExist); { // the store removes what it could not write
		there.Dir = t.TempDir()
		err = os.CopyFS(there.Dir, os.DirFS(o.Dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(testShape, there)
	if stale := (*StaleError)(nil); errors.As(err, &stale) {
		return // it is restored from its changelog
	}
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i := range again.Position() {
		if h, err := again.History(codecs.AppendValue(nil, codecs.IntValue(i))); err != nil || h.Len() != 20 {
			t.Fatalf("at position %d key %d has %d rows (%v)", again.Position(), i, h.Len(), err)
		}
	}
}
