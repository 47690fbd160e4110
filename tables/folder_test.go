package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAFolderThatCannotBeUsedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(testShape, Options{Dir: dir})
		if fault := (*FolderError)(nil); !errors.As(err, &fault) || fault.Dir != dir || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for cause, mendable := range map[error]bool{
		syscall.EACCES: true, syscall.EPERM: true, syscall.ENOTDIR: true, syscall.EROFS: true, syscall.ENOSPC: true,
		syscall.EMFILE: false, syscall.EINTR: false,
	} {
		err := openError("dir", &fs.PathError{Op: "open", Path: "dir", Err: cause})
		if fault := (*FolderError)(nil); errors.As(err, &fault) != mendable || !errors.Is(err, cause) {
			t.Errorf("%v for an operator to mend: %v, want %v", cause, !mendable, mendable)
		}
	}
}

func TestALockedFolderIsFreeOnceItsTableIsClosed(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(testShape, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(testShape, Options{Dir: dir})
	if fault := (*FolderError)(nil); err == nil || errors.As(err, &fault) || !strings.Contains(err.Error(), dir+" is in use") {
		t.Errorf("opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(testShape, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// The store panics where its disk fails. That becomes an error, unlike what is a fault of the program.
func TestAPanicOfTheStoreIsAnError(t *testing.T) {
	err := guard(func() error { storeLog{}.Fatalf("flush failed: %v", syscall.ENOSPC); return nil })
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != "flush failed: "+syscall.ENOSPC.Error() {
		t.Errorf("got %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an index out of range was taken for a failure of the disk")
		}
	}()
	var none []int
	_ = guard(func() error { none[len(none)] = 1; return nil })
}

// A store that another version of the program wrote is of no use, whichever is the newer one.
func TestStoreOfAnotherFormat(t *testing.T) {
	for _, version := range []byte{diskVersion - 1, diskVersion + 1} {
		dir := t.TempDir()
		table := mustOpen(t, testShape, Options{Dir: dir})
		if err := table.disk.db.Set(versionKey, []byte{version}, nil); err != nil {
			t.Fatal(err)
		}
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(testShape, Options{Dir: dir})
		want := fmt.Sprintf("it has format %d, this version of the program has %d", version, diskVersion)
		if stale := (*StaleError)(nil); !errors.As(err, &stale) || stale.Reason != want {
			t.Errorf("got %v, want an error that says that %s", err, want)
		}
	}
}
