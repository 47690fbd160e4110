package tables

import (
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patientFS stands between a store and its disk. What the disk refuses of the store's logs and manifest the store would answer with
// a panic, in any goroutine and with its locks in a state that nothing recovers from. So it is not told: from when it is open, refused
// is, and the store's goroutine waits for good, as the disk would have it after a power cut. What concerns files of tables is
// returned; these the store can do without until it tries again, which it does until it is halted.
type patientFS struct {
	vfs.FS
	refused func(error)
	open    atomic.Bool // before, whoever opens the store gets what the disk refuses
	halted  atomic.Bool // nothing new is written
}

func newPatientFS(inner vfs.FS, refused func(error)) *patientFS {
	if inner == nil {
		inner = vfs.Default
	}
	return &patientFS{FS: inner, refused: refused}
}

// wait does not return where err is an error that the store must not see.
func (f *patientFS) wait(err error) {
	if err == nil || !f.open.Load() {
		return
	}
	f.refused(err)
	select {}
}

func (f *patientFS) file(name string, inner vfs.File, err error) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		return inner, err
	}
	f.wait(err)
	if err != nil {
		return nil, err
	}
	return &patientFile{inner, f}, nil
}

func (f *patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.halted.Load() {
		select {}
	}
	inner, err := f.FS.Create(name, category)
	return f.file(name, inner, err)
}

func (f *patientFS) ReuseForWrite(from, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	inner, err := f.FS.ReuseForWrite(from, name, category)
	return f.file(name, inner, err)
}

func (f *patientFS) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	f.wait(err)
	return err
}

// Unwrap returns the file system behind it.
func (f *patientFS) Unwrap() vfs.FS { return f.FS }

// patientFile is a file that the store writes.
type patientFile struct {
	vfs.File
	fs *patientFS
}

func (f *patientFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.fs.wait(err)
	return n, err
}

func (f *patientFile) Sync() error {
	err := f.File.Sync()
	f.fs.wait(err)
	return err
}

func (f *patientFile) SyncData() error {
	err := f.File.SyncData()
	f.fs.wait(err)
	return err
}

func (f *patientFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	f.fs.wait(err)
	return full, err
}

func (f *patientFile) Close() error {
	err := f.File.Close()
	if !errors.Is(err, fs.ErrClosed) {
		f.fs.wait(err)
	}
	return err
}
