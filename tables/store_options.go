package tables

import (
	"cmp"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
)

// storeOptions returns how the store of a table is opened. In any goroutine, corrupt is told what the store finds corrupt by itself,
// which left alone would end the process, and refused what the disk refuses it while nobody waits, which left alone would be tried
// again for ever.
//
// Every event is written once and seldom read: histories that are in use are in memory, and the filter tells of new keys that the
// store does not have them. So the store is to write little. It lets many files come together before it merges them, which costs a
// reader a look at the filters of each, and what is going to be merged again it does not compress.
func storeOptions(o *Options, corrupt, refused func(error)) *pebble.Options {
	events := &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) { corrupt(i.Details) },
		BackgroundError: func(err error) {
			if isRefusal(err) {
				refused(err)
			}
		},
	}
	opts := &pebble.Options{
		Comparer:              comparer,
		FS:                    o.files,
		Logger:                storeLog{},
		MemTableSize:          uint64(cmp.Or(o.WriteBytes, defaultWriteBytes)),
		EventListener:         events,
		L0CompactionThreshold: 10,
		L0StopWritesThreshold: 40,
		LBaseMaxBytes:         256 << 20,
		MaxManifestFileSize:   1 << 20, // it is read whole when it is recorded
	}
	if o.Blocks != nil {
		opts.Cache = o.Blocks.cache
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].Compression = func() *block.CompressionProfile { return block.NoCompression }
	}
	// Files that are handed over go into the manifest at once, not into a log first, which a damaged store might replay twice.
	opts.Experimental.DisableIngestAsFlushable = func() bool { return true }
	opts.Levels[len(opts.Levels)-1].Compression = func() *block.CompressionProfile { return block.SnappyCompression }
	return opts
}
