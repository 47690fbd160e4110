// Package tables is the state station: the history of events per key, its expiry, its memory and disk stores, and the
// dimension tables that events are stamped from. It knows rows and times, not rules, Kafka or the wall clock: what to
// keep and for how long is given as a Shape, and time comes with the watermark.
package tables

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Shape says what a table keeps. It is derived from the rules of one key.
type Shape struct {
	Streams []StreamShape // by stream rank; Used is false for the streams of other keys
	Layout  string        // what the rows hold, in words; a table with another layout is refused
}

// StreamShape says how the rows of one stream are kept.
type StreamShape struct {
	Used   bool
	Fields int     // kept slots of a row
	Paths  [][]int // slots that look-ups compare, per access path; the empty path is every row
	Keep   int64   // microseconds: a row is due, and leaves, once the watermark is past its time + Keep
}

// Options say where a table lives.
type Options struct {
	Dir         string      // "": memory
	Incarnation string      // names the changelog among those that had its name; a disk table of another one is stale. "": not known
	CacheBytes  int64       // of a disk table's histories in memory; 0: 64 MiB
	WriteBytes  int64       // what a disk table collects in memory before it writes a file; 0: 16 MiB
	Blocks      *BlockCache // of disk tables' files; nil: a small one of its own
	Untracked   bool        // no changelog is wanted: Changes yields nothing (files, tests)
	LargeRows   int         // rows from which a history is indexed instead of scanned; 0: 64
	ShortRows   int         // rows up to which a history is read from the disk whole; longer ones in part, see History. 0: 16

	files vfs.FS // of the disk store; nil: the system's
}

// BlockCache keeps blocks of files that disk tables have read. Tables share it.
type BlockCache struct{ cache *pebble.Cache }

// NewBlockCache returns a cache of so many bytes, out of which the tables also take what they collect before they write it, up to
// twice their WriteBytes each. It is not on Go's heap; whoever made it closes it, after its tables.
func NewBlockCache(bytes int64) *BlockCache { return &BlockCache{pebble.NewCache(bytes)} }

// Close frees the cache once no table uses it any more.
func (c *BlockCache) Close() { c.cache.Unref() }

const (
	defaultWriteBytes = 16 << 20
	defaultCacheBytes = 64 << 20
	defaultLargeRows  = 64
	defaultShortRows  = 16
	maxSmallBytes     = 24 << 10
)
