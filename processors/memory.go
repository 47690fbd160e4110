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
	// writeBytes is what the stores of a processor collect in memory before they write it to files, about.
	writeBytes    = 64 << 20
	minWriteBytes = 1 << 20
	maxWriteBytes = 16 << 20
)

// memory says how much of it the disk tables of one processor may use. Half of what the process may take goes to histories,
// an eighth to blocks of files; the rest is for records on their way, and the garbage collector.
type memory struct {
	histories    int64 // of all tables; 0: each has perPartition
	perPartition int64
	blocks       *tables.BlockCache // shared by all tables of the process
}

// memoryOf divides what the settings allow among the processors of so many keys. The block cache is made once per process run.
func memoryOf(s *rules.Settings, keys int, blocks *tables.BlockCache) memory {
	m := memory{perPartition: s.CacheBytes, blocks: blocks}
	switch {
	case m.perPartition > 0:
	case s.MaxMemory > 0:
		m.histories = s.MaxMemory / 2 / int64(max(keys, 1))
	default:
		m.perPartition = defaultCacheBytes
	}
	return m
}

// newBlockCache returns the block cache of a run.
func newBlockCache(s *rules.Settings) *tables.BlockCache {
	if s.MaxMemory > 0 {
		return tables.NewBlockCache(max(s.MaxMemory/8, 8<<20))
	}
	return tables.NewBlockCache(defaultBlockBytes)
}

// share returns the cache of each of so many tables.
func (m memory) share(tables int) int64 {
	if m.histories > 0 {
		return max(m.histories/int64(max(tables, 1)), 1<<20)
	}
	return m.perPartition
}

// writeShare returns what each of so many stores collects before it writes a file.
func writeShare(stores int32) int64 {
	return min(max(writeBytes/int64(max(stores, 1)), minWriteBytes), maxWriteBytes)
}
