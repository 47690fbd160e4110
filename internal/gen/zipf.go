package gen

import (
	"math"
	"math/rand/v2"
)

// zipf draws ranks 0..n-1 with probability proportional to (rank+1)^-s, for any s >= 0, which the standard library's
// (s > 1) cannot. It is rejection-inversion (Hörmann and Derflinger, 1996): constant time and memory for any n.
type zipf struct {
	n, s       float64
	low, width float64 // of the area under the hat
	cut        float64 // distance within which the first test accepts
}

func newZipf(n int, s float64) *zipf {
	z := &zipf{n: float64(n), s: s}
	high := z.area(z.n + 0.5)
	z.low = z.area(1.5) - 1
	z.width = high - z.low
	z.cut = 2 - z.areaInverse(z.area(2.5)-z.density(2))
	return z
}

func (z *zipf) rank(r *rand.Rand) uint32 {
	for {
		u := z.low + r.Float64()*z.width
		x := z.areaInverse(u)
		k := math.Min(math.Max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.cut || u >= z.area(k+0.5)-z.density(k) {
			return uint32(k) - 1
		}
	}
}

func (z *zipf) density(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is the integral of x^-s, shifted so that it is continuous in s at 1.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	return expm1Ratio((1-z.s)*l) * l
}

func (z *zipf) areaInverse(a float64) float64 {
	t := math.Max(a*(1-z.s), -1)
	return math.Exp(log1pRatio(t) * a)
}

// nearZero is where the quotients below lose their digits and the first terms of their series are exact.
const nearZero = 1e-8

func expm1Ratio(x float64) float64 {
	if math.Abs(x) < nearZero {
		return 1 + x/2
	}
	return math.Expm1(x) / x
}

func log1pRatio(x float64) float64 {
	if math.Abs(x) < nearZero {
		return 1 - x/2
	}
	return math.Log1p(x) / x
}
