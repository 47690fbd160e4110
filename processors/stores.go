package processors

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/tables"
)

// stores holds the tables of a processor across its sessions, so that a partition that stays is not restored from its
// beginning after every rebalance. It is safe for concurrent use.
type stores struct {
	shape   tables.Shape
	options func(partition int32) tables.Options

	mu          sync.Mutex
	byPartition map[int32]*store
}

func newStores(shape tables.Shape, options func(partition int32) tables.Options) *stores {
	return &stores{shape: shape, options: options, byPartition: map[int32]*store{}}
}

// store is the table of one partition. Between two sessions nobody uses it. In a session it belongs to the restore until
// ready is closed, then to the callbacks of the partition and, when they are at rest, to the committer.
type store struct {
	partition int32
	of        *stores
	table     *tables.Table // nil: not open
	spoiled   error         // why what is on disk must be removed before the table is opened again; may be nil

	// Of the session that uses it.
	barrier int64         // changelog offset up to which it is restored
	ready   chan struct{} // closed when it is restored and in service
	done    chan struct{} // closed when the restore has ended either way; nil: none was begun
}

// get returns the store of a partition, prepared for a session that has written barrier.
func (s *stores) get(partition int32, barrier int64) *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byPartition[partition]
	if st == nil {
		st = &store{partition: partition, of: s}
		s.byPartition[partition] = st
	}
	st.barrier, st.ready, st.done = barrier, make(chan struct{}), nil
	return st
}

// close closes all tables. No session may be running.
func (s *stores) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.byPartition {
		errs = append(errs, st.close())
	}
	return errors.Join(errs...)
}

// restored tells whether the store is in service.
func (st *store) restored() bool {
	select {
	case <-st.ready:
		return true
	default:
		return false
	}
}

// open opens the table unless it is open.
func (st *store) open() error {
	if st.table != nil {
		return nil
	}
	options := st.of.options(st.partition)
	if st.spoiled != nil {
		return fmt.Errorf("%w: %w", errRebuild, st.spoiled)
	}
	if age := lastWritten(options.Dir); age > tombstoneRetention {
		return fmt.Errorf("%w: it was last written %s ago, and the changelog keeps deletions for %s", errRebuild, age.Round(time.Hour), tombstoneRetention)
	}
	t, err := tables.Open(st.of.shape, options)
	if stale := (*tables.StaleError)(nil); errors.As(err, &stale) {
		return fmt.Errorf("%w: %w", errRebuild, err)
	}
	if err != nil {
		return fmt.Errorf("open table of partition %d: %w", st.partition, err)
	}
	st.table = t
	return nil
}

// failed returns what an error of the table calls for: errRebuild where its disk was found to be of no use.
func (st *store) failed(err error) error {
	if stale := st.table.Stale(); err != nil && stale != nil {
		return fmt.Errorf("%w: %w", errRebuild, stale)
	}
	return err
}

// rebuild makes the table empty, so that it is restored from the start of its changelog.
func (st *store) rebuild() error {
	if err := st.close(); err != nil {
		return err
	}
	if dir := st.of.options(st.partition).Dir; dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			return &tables.FolderError{Dir: dir, Cause: err}
		}
	}
	st.spoiled = nil
	return st.open()
}

// lastWritten returns how long ago the newest file of a store was written; 0 where there is none.
func lastWritten(dir string) time.Duration {
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		return 0 // opening the store finds out
	}
	var newest time.Time
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return max(0, time.Since(newest))
}

// settle ends a session's use of the store. Changes that are not committed are dropped.
func (st *store) settle() error {
	if st.done != nil {
		<-st.done
	}
	if st.table == nil {
		return nil
	}
	if stale := st.table.Stale(); stale != nil {
		st.spoiled = stale
		return st.close()
	}
	if !st.table.Dirty() {
		return nil
	}
	if err := st.table.Discard(); err != nil {
		if stale := st.table.Stale(); stale != nil {
			st.spoiled = stale
		}
		return errors.Join(fmt.Errorf("discard changes: %w", err), st.close())
	}
	return nil
}

func (st *store) close() error {
	if st.table == nil {
		return nil
	}
	t := st.table
	st.table = nil
	if err := t.Close(); err != nil {
		return fmt.Errorf("close table of partition %d: %w", st.partition, err)
	}
	return nil
}
