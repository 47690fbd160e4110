package gen

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestZipfFollowsItsLaw(t *testing.T) {
	const n, draws = 1000, 400_000
	for _, s := range []float64{0, 0.8, 1, 1.05, 2} {
		z := newZipf(n, s)
		r := rand.New(rand.NewPCG(1, 2))
		var got [n]int
		for range draws {
			got[z.rank(r)]++
		}
		norm := 0.0
		for k := range n {
			norm += math.Pow(float64(k+1), -s)
		}
		for _, k := range []int{0, 1, 2, 9, 99, n - 1} {
			want := draws * math.Pow(float64(k+1), -s) / norm
			if d := math.Abs(float64(got[k]) - want); d > 5*math.Sqrt(want)+1 {
				t.Errorf("exponent %v, rank %d: %d draws, want %.1f", s, k, got[k], want)
			}
		}
	}
}
