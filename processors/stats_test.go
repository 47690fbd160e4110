package processors

import (
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

func TestLatencyQuantilesBoundWhatWasObserved(t *testing.T) {
	var l Latency
	if l.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	l.Observe(-time.Second)
	for i := range 1000 {
		l.Observe(time.Duration(i) * time.Millisecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 1} {
		exact := time.Duration(q*1000) * time.Millisecond
		if got := l.Quantile(q); got < exact-2*time.Millisecond || got > exact+exact/8+2*time.Millisecond {
			t.Errorf("quantile %v is %v, want about %v", q, got, exact)
		}
	}
}

func TestLatencyBucketsCoverEverything(t *testing.T) {
	last := int64(-1)
	for b := range 8 * 60 {
		bound := boundOf(b)
		if bound <= last {
			t.Fatalf("bucket %d ends at %d, the one before at %d", b, bound, last)
		}
		if got := bucketOf(uint64(bound)); got != b {
			t.Fatalf("%d is in bucket %d, want %d", bound, got, b)
		}
		if got := bucketOf(uint64(last + 1)); got != b {
			t.Fatalf("%d is in bucket %d, want %d", last+1, got, b)
		}
		last = bound
	}
}

func TestStatsCountByName(t *testing.T) {
	s := NewStats(&rules.Plan{Streams: []*rules.Stream{{Name: "a"}, {Name: "b"}}})
	s.accepted(1)
	s.accepted(1)
	s.late(0)
	s.duplicate(1)
	s.rejected("r")
	s.row("rule", "PC", -1)
	s.correction("rule")
	n := s.Snapshot()
	if n.Accepted["b"] != 2 || n.Accepted["a"] != 0 || n.Late["a"] != 1 || n.Duplicates["b"] != 1 ||
		n.Rejected["r"] != 1 || n.Rows[RowKind{"rule", "PC", -1}] != 1 || n.Corrections["rule"] != 1 {
		t.Errorf("counted %+v", n)
	}
}
