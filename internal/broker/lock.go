package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrInUse reports that another broker holds the data directory.
var ErrInUse = errors.New("data directory is in use by another process")

// lockName is the file that carries the lock. It stays behind when the broker ends; only the lock on it counts, and the
// operating system drops that with the process, however it ends.
const lockName = "broker.lock"

type dirLock struct{ file *os.File }

// lockDir creates the directory and takes its lock without waiting.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := tryLock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return &dirLock{file: f}, nil
}

// release gives the directory free: closing the file drops the lock.
func (l *dirLock) release() error { return l.file.Close() }
