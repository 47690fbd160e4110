package codecs

import (
	"math"
	"math/rand/v2"
)

// sampleTexts are texts at the edges of how strings are encoded: by length, and nearly UUIDs.
var sampleTexts = []string{
	"", "a", "\x00", "é", "adv-7", string(make([]byte, 63)), string(make([]byte, 64)), string(make([]byte, 300)),
	"5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a11", "5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a12", "5F0C7B1E-93A4-4C1D-8A52-3D0E6F9B7A11",
	"5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a1g", "5f0c7b1e093a4-4c1d-8a52-3d0e6f9b7a11", "00000000-0000-0000-0000-000000000000",
	"00000000-0000-0000-0000-00000000-000", "--------------------------0123456789", "00000000-0000-0000-0000-00000000000-",
}

// sampleValues are values of every kind, at the edges of their ranges.
func sampleValues() []Value {
	vals := []Value{{}, BoolValue(false), BoolValue(true)}
	for _, n := range []int64{0, 1, -1, 63, 64, -64, -65, 1e6, math.MaxInt64, math.MinInt64} {
		vals = append(vals, IntValue(n), TimeValue(n), DecimalValue(n, 0), DecimalValue(n, 2), DecimalValue(n, 18))
	}
	for _, f := range []float64{0, 1, -1, 1.5, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1)} {
		vals = append(vals, FloatValue(f))
	}
	for _, s := range sampleTexts {
		vals = append(vals, StringValue(s), BytesValue(s))
	}
	return vals
}

// randomValue returns a value of a random kind, often one that others have too.
func randomValue(r *rand.Rand) Value {
	samples := sampleValues()
	switch r.IntN(5) {
	case 4:
		_, v, _ := randomNested(r, 1)
		return v
	case 0:
		return IntValue(r.Int64() >> r.IntN(64))
	case 1:
		return DecimalValue(r.Int64()>>r.IntN(64), uint8(r.IntN(19)))
	}
	return samples[r.IntN(len(samples))]
}

// randomEvent returns an event with the given number of fields. Its times and ids collide often.
func randomEvent(r *rand.Rand, fields int) *Event {
	ev := &Event{Stream: r.IntN(3), Time: int64(r.IntN(5)) - 2, ID: StringValue(sampleTexts[1+r.IntN(len(sampleTexts)-1)])}
	for range fields {
		ev.Fields = append(ev.Fields, randomValue(r))
	}
	return ev
}
