package tables

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// BenchmarkDiskTable takes events into a disk table whose histories are many times its cache: of keys that are new, that were
// used not long ago, or at any time before, as users come back. One operation is an event; commits are part of it.
func BenchmarkDiskTable(b *testing.B) {
	for _, back := range []int{5, 20, 50} {
		b.Run(fmt.Sprintf("back=%d%%", back), func(b *testing.B) {
			const batch, commit, lately, before = 64, 4096, 50_000, 1_000_000
			const write = 5 << 20
			shape := testShape
			shape.Streams = append([]StreamShape{{Used: true, Fields: 2, Paths: [][]int{{}}, Keep: 1 << 50}}, testShape.Streams[1:]...)
			blocks := NewBlockCache(8<<20 + 2*write)
			defer blocks.Close()
			table, err := Open(shape, Options{Dir: b.TempDir(), CacheBytes: 16 << 20, WriteBytes: write, Blocks: blocks})
			if err != nil {
				b.Fatal(err)
			}
			defer table.Close()
			rng := rand.New(rand.NewPCG(1, 2))
			keys, events := int64(0), 0
			var key []byte
			var picked [batch]int64
			take := func() {
				for i := range picked {
					switch p := rng.IntN(100); {
					case keys > lately && p < back:
						picked[i] = rng.Int64N(keys)
					case keys > lately && p < 50+back/2:
						picked[i] = keys - 1 - rng.Int64N(lately)
					default:
						picked[i] = keys
						keys++
					}
					table.Expect(codecs.AppendValue(key[:0], codecs.IntValue(picked[i])))
				}
				table.Warm()
				for _, n := range picked {
					key = codecs.AppendValue(key[:0], codecs.IntValue(n))
					h, err := table.History(key)
					if err != nil {
						b.Fatal(err)
					}
					events++
					h.Insert(testRow(0, int64(events), fmt.Sprint("event-", events), "advertiser", "campaign-17"))
					if events%commit == 0 {
						if err := table.Commit(int64(events)); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			for events < before {
				take()
			}
			used := cpuTime(b)
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				take()
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime(b)-used)/float64(b.N), "cpu-ns/op") // with what the store does in the background
			b.ReportMetric(float64(table.Keys())/float64(keys)*100, "%cached")
		})
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
