package tables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// manifestRecord remembers, beside a store, which manifest it has, and how that begins. The manifest says which files of
// tables and which logs belong to the store. One that has lost its end, or an older one, does not know of files that came last, and
// has logs replayed whose content is in files already: the store then opens without a word, or ends the process when it finds two
// entries where there can be one.
//
// The record follows the manifest; so the manifest may be ahead of it after a crash, and never behind.
type manifestRecord struct {
	dir     string
	changed chan struct{} // has room for one: the manifest has changed
	over    chan struct{} // closed at the end
	stopped sync.WaitGroup
	ending  sync.Once
	writing sync.Mutex
}

const manifestRecordName = "manifest-record"

var errManifest = errors.New("its manifest is damaged, or an older one")

func newManifestRecord(dir string) *manifestRecord {
	return &manifestRecord{dir: dir, changed: make(chan struct{}, 1), over: make(chan struct{})}
}

// listen has the store say when its manifest has changed.
func (r *manifestRecord) listen(events *pebble.EventListener) {
	events.FlushEnd = func(pebble.FlushInfo) { r.note() }
	events.CompactionEnd = func(pebble.CompactionInfo) { r.note() }
}

func (r *manifestRecord) note() {
	select {
	case r.changed <- struct{}{}:
	default: // it is going to be read again anyway
	}
}

// begin writes the record, now and whenever the manifest has changed, until end.
func (r *manifestRecord) begin() {
	r.note()
	r.stopped.Go(func() {
		for {
			select {
			case <-r.changed:
				// Where the record cannot be written it stays behind, and the store meets the same.
				_ = r.write()
			case <-r.over:
				return
			}
		}
	})
}

// end writes what is outstanding. The store must be closed. Further calls do nothing more.
func (r *manifestRecord) end() {
	r.ending.Do(func() { close(r.over) })
	r.stopped.Wait()
	select {
	case <-r.changed:
		_ = r.write()
	default:
	}
}

// current returns the number and the content of the manifest in use; 0 where there is none.
func (r *manifestRecord) current() (number uint64, content []byte, err error) {
	name, err := atomicfs.ReadMarker(vfs.Default, r.dir, "manifest")
	if err != nil || name == "" {
		return 0, nil, err
	}
	if _, err := fmt.Sscanf(strings.TrimPrefix(name, "MANIFEST-"), "%d", &number); err != nil {
		return 0, nil, fmt.Errorf("manifest %q: %w", name, err)
	}
	content, err = os.ReadFile(filepath.Join(r.dir, name))
	return number, content, err
}

// write brings the record up to date, durably.
func (r *manifestRecord) write() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	number, content, err := r.current()
	if err != nil {
		return err
	}
	record := binary.BigEndian.AppendUint64(nil, number)
	record = binary.BigEndian.AppendUint64(record, uint64(len(content)))
	record = binary.BigEndian.AppendUint32(record, crc32.ChecksumIEEE(content))
	record = binary.BigEndian.AppendUint32(record, crc32.ChecksumIEEE(record))
	name := filepath.Join(r.dir, manifestRecordName)
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(record)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// check returns errManifest where the manifest is not the recorded one or one that follows it.
func (r *manifestRecord) check() error {
	number, content, err := r.current()
	if errors.Is(err, fs.ErrNotExist) {
		return errManifest
	}
	if err != nil {
		return err
	}
	record, err := os.ReadFile(filepath.Join(r.dir, manifestRecordName))
	if errors.Is(err, fs.ErrNotExist) && number == 0 {
		return r.checkEmpty()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(record) != 24 || crc32.ChecksumIEEE(record[:20]) != binary.BigEndian.Uint32(record[20:]) {
		return errManifest
	}
	had, length := binary.BigEndian.Uint64(record), binary.BigEndian.Uint64(record[8:])
	switch {
	case number > had:
		return nil
	case number < had, uint64(len(content)) < length, crc32.ChecksumIEEE(content[:length]) != binary.BigEndian.Uint32(record[16:]):
		return errManifest
	}
	return nil
}

// checkEmpty checks that a folder without a manifest has no files of a store either.
func (r *manifestRecord) checkEmpty() error {
	for _, pattern := range []string{"*.sst", "*.log", "MANIFEST-*"} {
		files, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil {
			return err
		}
		if len(files) > 0 {
			return errManifest
		}
	}
	return nil
}
