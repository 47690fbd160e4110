package tables

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A disk that has no room for the files that the store writes behind everybody's back is an error of a later commit, and keeps
// nobody waiting.
func TestDiskThatFillsUp(t *testing.T) {
	var full atomic.Bool
	files := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	}))
	dir := t.TempDir()
	table := mustOpen(t, testShape, Options{Dir: dir, WriteBytes: 256 << 10, files: files})
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
	for i := range int64(100) {
		if err := commit(i); err != nil {
			t.Fatal(err)
		}
	}
	full.Store(true)
	for i := int64(100); ; i++ {
		err := commit(i)
		if err == nil {
			continue
		}
		if fault := (*FolderError)(nil); !errors.As(err, &fault) || fault.Dir != dir || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want an error that says that %s is full", err, dir)
		}
		break
	}
	full.Store(false)
	if err := guard(table.disk.db.Close); err != nil { // lets the store's own goroutines end
		t.Error(err)
	}
}
