// Package tables is the state station: the history of events per key, its expiry, its memory and disk stores, and the
// dimension tables that events are stamped from. It knows rows and times, not rules, Kafka or the wall clock: what to
// keep and for how long is given as a Shape, and time comes with the watermark.
package tables

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
	Dir         string // "": memory
	Incarnation string // names the changelog among those that had its name; a disk table of another one is stale. "": not known
	CacheBytes  int64  // of a disk table's histories in memory; 0: 64 MiB
	Untracked   bool   // no changelog is wanted: Changes yields nothing (files, tests)
	LargeRows   int    // rows from which a history is indexed instead of scanned; 0: 64
}

const (
	defaultCacheBytes = 64 << 20
	defaultLargeRows  = 64
	maxSmallBytes     = 24 << 10
)
