package producer

import (
	"math"
	"testing"
)

func TestSequenceNumbersWrap(t *testing.T) {
	for _, c := range []struct {
		sequence int32
		n        int
		want     int32
	}{
		{0, 1, 1},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 2, 10, 7},
	} {
		if got := advance(c.sequence, c.n); got != c.want {
			t.Errorf("%d records from %d on: got %d, want %d", c.n, c.sequence, got, c.want)
		}
	}
}
