package codecs

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

func TestTimeForms(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	for _, c := range []struct {
		text string
		unit TimeUnit
		want int64
	}{
		{"1700000000", AutoUnit, 1700000000_000000},
		{"1700000000123", AutoUnit, 1700000000_123000},
		{"1700000000123456", AutoUnit, 1700000000_123456},
		{"99999999999", AutoUnit, 99999999999_000000},       // the last that is seconds
		{"100000000000", AutoUnit, 100000000_000000},        // the first that is milliseconds
		{"99999999999999", AutoUnit, 99999999999_999000},    // the last that is milliseconds
		{"100000000000000", AutoUnit, 100000000_000000},     // the first that is microseconds
		{"1.7e9", AutoUnit, 1700000000_000000},              // magnitude counts, not spelling
		{"1700000000.1234567", AutoUnit, 1700000000_123456}, // cut, not rounded
		{"1700000000.9999999", Seconds, 1700000000_999999},
		{"0.0000019", Seconds, 1},
		{"-0.0000001", Seconds, -1}, // towards the past
		{"-1.5", Microseconds, -2},
		{"1700000000123.4567", Milliseconds, 1700000000_123456},
		{"1700000000123456.9", Microseconds, 1700000000_123456},
		{"1700000000.00000000000000000000000000001", Seconds, 1700000000_000000},
		{"5", Milliseconds, 5000},
		{"0", AutoUnit, 0},
		{"-62135596800", Seconds, minTime},
		{"253402300799.9999999", Seconds, maxTime},
		{"2023-11-14T22:13:20Z", Seconds, 1700000000_000000},
		{"2023-11-14T23:13:20.5+01:00", AutoUnit, 1700000000_500000},
		{"2023-11-14T22:13:20.123456789Z", AutoUnit, 1700000000_123456},
		{"0001-01-01T00:00:00Z", AutoUnit, minTime},
		{"9999-12-31T23:59:59.999999999Z", AutoUnit, maxTime},
		{"1969-12-31T23:59:59.9999999Z", AutoUnit, at("1969-12-31T23:59:59.999999Z")},
	} {
		v, p := timeOf([]byte(c.text), c.unit)
		if p != noProblem || v != TimeValue(c.want) {
			t.Errorf("%s: %+v (problem %d), want %d", c.text, v, p, c.want)
		}
	}
}

func TestTimesOutOfRange(t *testing.T) {
	for text, unit := range map[string]TimeUnit{
		"253402300800": Seconds, "-62135596801": Seconds, "-99999999999.0": AutoUnit, "253402300800000": Milliseconds,
		"9223372036854775807": Microseconds, "18446744073709551616": Microseconds, "1e30": AutoUnit, "-1e30": Seconds,
		"1e999999999999": AutoUnit, "-9223372036854775808": Seconds,
	} {
		if v, p := timeOf([]byte(text), unit); p != outOfRange {
			t.Errorf("%s in unit %d: %+v, problem %d", text, unit, v, p)
		}
	}
	for _, text := range []string{"0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"} {
		if v, p := timeOf([]byte(text), AutoUnit); p != outOfRange {
			t.Errorf("%s: %+v, problem %d", text, v, p)
		}
	}
}

func TestTextsThatAreNoTimes(t *testing.T) {
	for _, text := range []string{
		"", "now", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14 22:13:20Z", "2023-02-30T00:00:00Z", "2023-11-14T24:00:00Z",
		"2023-11-14T2:13:20Z", "2023-11-14T22:13:20,5Z", "2023-11-14T22:13:20+25:00", "20231114T221320Z", "12023-11-14T22:13:20Z",
	} {
		if v, p := timeOf([]byte(text), AutoUnit); p != notOfType {
			t.Errorf("%q: %+v, problem %d", text, v, p)
		}
	}
}

// A number in any spelling is the largest microsecond that is not after it.
func TestNumericTimesAreFloors(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 20000 {
		text := randomNumber(r)
		exact, _ := new(big.Rat).SetString(text)
		exact.Mul(exact, big.NewRat(1000, 1))
		floor := new(big.Int).Div(exact.Num(), exact.Denom()) // Euclidean: towards the past
		v, p := timeOf([]byte(text), Milliseconds)
		inRange := floor.IsInt64() && floor.Int64() >= minTime && floor.Int64() <= maxTime
		if inRange != (p == noProblem) || inRange && v.Num != floor.Int64() {
			t.Fatalf("%s ms: %+v (problem %d), want %s us", text, v, p, floor)
		}
	}
}
