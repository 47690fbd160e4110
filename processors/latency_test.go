package processors

import (
	"testing"
	"time"
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

func TestLatencyCumulative(t *testing.T) {
	var l Latency
	for _, ms := range []int{0, 3, 3, 200, 90_000_000} {
		l.Observe(time.Duration(ms) * time.Millisecond)
	}
	count, sum, below := l.Cumulative()
	if want := 25*time.Hour + 206*time.Millisecond; count != 5 || sum != want {
		t.Errorf("count %d, sum %v, want 5, %v", count, sum, want)
	}
	if len(below) < 20 {
		t.Errorf("%d bounds", len(below))
	}
	for bound, n := range below {
		want := uint64(1)
		if bound > 3*time.Millisecond {
			want = 3
		}
		if bound > 200*time.Millisecond {
			want = 4
		}
		if n != want {
			t.Errorf("%d below %v, want %d", n, bound, want)
		}
	}
}
