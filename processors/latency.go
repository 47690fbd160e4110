package processors

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Latency is a histogram of durations with buckets of at most an eighth of their value. It is safe for concurrent use.
type Latency struct {
	buckets [8 * 64]atomic.Int64
	sum     atomic.Int64 // microseconds
}

// Observe adds a duration; negative ones, which clocks that disagree cause, count as zero.
func (l *Latency) Observe(d time.Duration) {
	us := uint64(max(d.Microseconds(), 0))
	l.buckets[bucketOf(us)].Add(1)
	l.sum.Add(int64(us))
}

// Cumulative returns how many durations were observed, their sum, and how many were below each of a fixed list of bounds,
// two per power of two between half a millisecond and an hour.
func (l *Latency) Cumulative() (count uint64, sum time.Duration, below map[time.Duration]uint64) {
	const finest, coarsest = 9, 32 // powers of two, in microseconds
	below = map[time.Duration]uint64{}
	for i := range l.buckets {
		count += uint64(l.buckets[i].Load())
		bound := boundOf(i) + 1
		if half := i%8 == 3 || i%8 == 7; half && bound >= 1<<finest && bound <= 1<<coarsest {
			below[time.Duration(bound)*time.Microsecond] = count
		}
	}
	return count, time.Duration(l.sum.Load()) * time.Microsecond, below
}

// Quantile returns the upper bound of the bucket that holds the q-quantile (0 < q <= 1), 0 where nothing was observed.
func (l *Latency) Quantile(q float64) time.Duration {
	var counts [len(l.buckets)]int64
	total := int64(0)
	for i := range l.buckets {
		counts[i] = l.buckets[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return 0
	}
	rank := int64(q * float64(total))
	for i, n := range counts {
		if rank -= n; rank < 0 || rank == 0 && n > 0 {
			return time.Duration(boundOf(i)) * time.Microsecond
		}
	}
	return time.Duration(boundOf(len(counts)-1)) * time.Microsecond
}

// bucketOf returns the bucket of n: values below 8 have one each, then every power of two has eight.
func bucketOf(n uint64) int {
	if n < 8 {
		return int(n)
	}
	shift := bits.Len64(n) - 4
	return 8*(shift+1) + int(n>>shift)&7
}

// boundOf returns the largest value of a bucket.
func boundOf(bucket int) int64 {
	if bucket < 8 {
		return int64(bucket)
	}
	shift := bucket/8 - 1
	return int64(8+bucket%8+1)<<shift - 1
}
