package processors

import (
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	// defaultCacheBytes is the cache of a partition's histories where the settings say nothing.
	defaultCacheBytes = 256e6
	// defaultBlockBytes is the cache of all disk stores' blocks, likewise.
	defaultBlockBytes = 64 << 20
	// maxWriteBytes is what the stores of a processor collect in memory at most before they write it to files, about.
	maxWriteBytes = 64 << 20
	// What one of these stores collects.
	minStoreWrite = 1 << 20
	maxStoreWrite = 16 << 20
	// beingWritten is how many times that it has in memory: what it collects, and what it is writing.
	beingWritten = 2
)

// memory says how much of it the disk tables of one processor may use. Of what the process may take a quarter goes to
// histories, an eighth to blocks of files, and an eighth to what is collected before it is written; the rest is for records on
// their way, for what tells which keys are on the disk, and for the garbage collector, which takes half of the processor once it
// lacks room.
type memory struct {
	histories    int64 // of all tables; 0: each has perPartition
	perPartition int64
	writes       int64              // that all tables collect
	blocks       *tables.BlockCache // shared by all tables of the process
}

// memoryOf divides what the settings allow among the processors of so many keys. The block cache is made once per process run.
func memoryOf(s *rules.Settings, keys int, blocks *tables.BlockCache) memory {
	m := memory{perPartition: s.CacheBytes, writes: writesOf(s, keys), blocks: blocks}
	switch {
	case m.perPartition > 0:
	case s.MaxMemory > 0:
		m.histories = s.MaxMemory / 4 / int64(max(keys, 1))
	default:
		m.perPartition = defaultCacheBytes
	}
	return m
}

// writesOf returns what the stores of one of so many processors may collect.
func writesOf(s *rules.Settings, keys int) int64 {
	if s.MaxMemory > 0 {
		return min(maxWriteBytes, s.MaxMemory/16/int64(max(keys, 1)))
	}
	return maxWriteBytes
}

// newBlockCache returns the block cache of a run with processors of so many keys. Stores take what they collect out of it,
// which must leave room for blocks: a store without any reads several blocks from its files for each history.
func newBlockCache(s *rules.Settings, keys int) *tables.BlockCache {
	blocks := int64(defaultBlockBytes)
	if s.MaxMemory > 0 {
		blocks = max(s.MaxMemory/8, 8<<20)
	}
	return tables.NewBlockCache(blocks + beingWritten*writesOf(s, keys)*int64(keys))
}

// share returns the cache of each of so many tables.
func (m memory) share(tables int) int64 {
	if m.histories > 0 {
		return max(m.histories/int64(max(tables, 1)), 1<<20)
	}
	return m.perPartition
}

// writeShare returns what each of so many stores collects before it writes a file.
func (m memory) writeShare(stores int32) int64 {
	return min(max(m.writes/int64(max(stores, 1)), minStoreWrite), maxStoreWrite)
}
