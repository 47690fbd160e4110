package processors

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Stats counts what happens to records, for live views and metrics. It is safe for concurrent use. Under at-least-once
// delivery the counters include what was processed again after a failure.
type Stats struct {
	streams []streamStats // by rank
	latency Latency

	restoring atomic.Int64 // changelog records that are still to be loaded

	mu          sync.RWMutex
	rejects     map[string]*atomic.Int64
	rows        map[RowKind]*atomic.Int64
	corrections map[string]*atomic.Int64
}

type streamStats struct {
	name                       string
	accepted, late, duplicates atomic.Int64
	_                          [64]byte // streams are counted by different goroutines; keep them on different cache lines
}

// RowKind is what output rows are counted by.
type RowKind struct {
	Rule, Class string
	Sign        int // 1 or -1
}

// Snapshot is what a Stats has counted so far. It belongs to the caller.
type Snapshot struct {
	Accepted    map[string]int64 // by stream
	Late        map[string]int64 // by stream
	Duplicates  map[string]int64 // by stream; of conflicting versions of an event, those that lost
	Rejected    map[string]int64 // by reason
	Rows        map[RowKind]int64
	Corrections map[string]int64 // by rule
}

// NewStats returns counters for the plan's streams.
func NewStats(plan *rules.Plan) *Stats {
	s := &Stats{
		streams:     make([]streamStats, len(plan.Streams)),
		rejects:     map[string]*atomic.Int64{},
		rows:        map[RowKind]*atomic.Int64{},
		corrections: map[string]*atomic.Int64{},
	}
	for i, stream := range plan.Streams {
		s.streams[i].name = stream.Name
	}
	return s
}

// Snapshot returns the counters.
func (s *Stats) Snapshot() Snapshot {
	n := Snapshot{Accepted: map[string]int64{}, Late: map[string]int64{}, Duplicates: map[string]int64{}}
	for i := range s.streams {
		n.Accepted[s.streams[i].name] = s.streams[i].accepted.Load()
		n.Late[s.streams[i].name] = s.streams[i].late.Load()
		n.Duplicates[s.streams[i].name] = s.streams[i].duplicates.Load()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	n.Rejected, n.Rows, n.Corrections = load(s.rejects), load(s.rows), load(s.corrections)
	return n
}

// Latency returns the times from a record's Kafka timestamp to the acknowledgement of what it caused.
func (s *Stats) Latency() *Latency { return &s.latency }

// Restoring returns how many changelog records are still to be read before every partition is in service.
func (s *Stats) Restoring() int64 { return s.restoring.Load() }

func (s *Stats) accepted(stream int)    { s.streams[stream].accepted.Add(1) }
func (s *Stats) late(stream int)        { s.streams[stream].late.Add(1) }
func (s *Stats) duplicate(stream int)   { s.streams[stream].duplicates.Add(1) }
func (s *Stats) rejected(reason string) { counter(s, s.rejects, reason).Add(1) }
func (s *Stats) row(rule, class string, sign int) {
	counter(s, s.rows, RowKind{rule, class, sign}).Add(1)
}
func (s *Stats) correction(rule string) { counter(s, s.corrections, rule).Add(1) }

func load[K comparable](m map[K]*atomic.Int64) map[K]int64 {
	n := make(map[K]int64, len(m))
	for k, v := range maps.All(m) {
		n[k] = v.Load()
	}
	return n
}

func counter[K comparable](s *Stats, m map[K]*atomic.Int64, key K) *atomic.Int64 {
	s.mu.RLock()
	c := m[key]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m[key] == nil {
		m[key] = new(atomic.Int64)
	}
	return m[key]
}

// Latency is a histogram of durations with buckets of at most an eighth of their value. It is safe for concurrent use.
type Latency struct {
	buckets [8 * 64]atomic.Int64
}

// Observe adds a duration; negative ones, which clocks that disagree cause, count as zero.
func (l *Latency) Observe(d time.Duration) {
	us := uint64(max(d.Microseconds(), 0))
	l.buckets[bucketOf(us)].Add(1)
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
