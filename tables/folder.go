package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FolderError says that the folder of a disk table cannot be used until an operator mends it: it may not be written, is no
// folder, is on a read-only file system or a broken disk, or there is no space left.
type FolderError struct {
	Dir   string
	Cause error
}

func (e *FolderError) Error() string {
	return fmt.Sprintf("the state folder %s cannot be used: %v", e.Dir, e.Cause)
}

func (e *FolderError) Unwrap() error { return e.Cause }

// StaleError says that a disk table cannot be taken up: it is corrupt, has another format, or belongs to a changelog that is no
// more. What it should hold is in the changelog, so it may be removed and restored.
type StaleError struct {
	Dir    string
	Reason string
	Cause  error // may be nil
}

func (e *StaleError) Error() string {
	text := fmt.Sprintf("the state store %s is of no use: %s", e.Dir, e.Reason)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *StaleError) Unwrap() error { return e.Cause }

// openFolder opens the store in a folder, which it creates and locks, if check allows it. That somebody else has the lock is no
// FolderError: it may be about to end.
func openFolder(dir string, opts *pebble.Options, check func() error) (*pebble.DB, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, openError(dir, err)
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if file := (*fs.PathError)(nil); err != nil && !errors.As(err, &file) {
		return nil, fmt.Errorf("the state folder %s is in use, by an instance that is still stopping or by another one that was given the same folder (each needs its own): %v", dir, err)
	}
	if err != nil {
		return nil, openError(dir, err)
	}
	opts.Lock = lock
	if err := check(); err != nil {
		return nil, errors.Join(openError(dir, err), lock.Close())
	}
	var db *pebble.DB
	err = guard(func() (err error) {
		db, err = pebble.Open(dir, opts)
		return err
	})
	// The store has a share of the lock, which it gives back when it is closed.
	if closing := lock.Close(); err == nil && closing != nil {
		err = errors.Join(closing, db.Close())
	}
	if err != nil {
		return nil, openError(dir, err)
	}
	return db, nil
}

// openError returns what opening a store failed with: a FolderError where the folder is the cause, a StaleError where the files
// are not what the store has written. What else the system refuses, as too many open files, may pass.
func openError(dir string, err error) error {
	if isRefusal(err) {
		return &FolderError{Dir: dir, Cause: err}
	}
	if refused := syscall.Errno(0); errors.As(err, &refused) && refused != syscall.ENOENT {
		return fmt.Errorf("opening the state store %s: %w", dir, err)
	}
	return &StaleError{Dir: dir, Reason: "it is corrupt", Cause: err}
}

// isRefusal tells errors that say that a folder cannot be used, until somebody sees to it.
func isRefusal(err error) bool {
	for _, cause := range []error{fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// guard calls the store, which panics where its disk fails, and returns that as an error.
func guard(do func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case runtime.Error:
			panic(r)
		case error:
			err = r
		default:
			err = fmt.Errorf("%v", r) // the store panics with texts, too
		}
	}()
	return do()
}

// storeLog is the store's log: silent, but for what the store cannot go on from.
type storeLog struct{}

func (storeLog) Infof(string, ...any)  {}
func (storeLog) Errorf(string, ...any) {}

// Fatalf must not return. Where somebody waits for the store it becomes an error of what was asked. In the store's own
// goroutines nobody does, and the store cannot go on: then it ends the process, as a panic would, but in words.
func (storeLog) Fatalf(format string, args ...any) {
	failure := storeFailure{text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			failure.cause = cause
		}
	}
	if !guarded() {
		fmt.Fprintf(os.Stderr, "lookback: the state store cannot go on: %s; what was committed is safe: see to the disk, and start again\n", failure)
		os.Exit(1)
	}
	panic(failure)
}

// guarded tells whether guard is among the callers.
func guarded() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/tables.guard") {
			return true
		}
		if !more {
			return false
		}
	}
}

type storeFailure struct {
	text  string
	cause error // may be nil
}

func (f storeFailure) Error() string { return f.text }
func (f storeFailure) Unwrap() error { return f.cause }
