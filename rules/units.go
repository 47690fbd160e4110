package rules

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxDuration is a hundred years: beyond it a duration is a slip, and below it sums of a few never overflow.
const maxDuration = 36500 * 24 * 60 * 60 * 1_000_000

var durationUnits = []struct {
	name string
	us   int64
}{ // a longer name before its prefix
	{"ms", 1_000}, {"us", 1}, {"µs", 1}, {"s", 1_000_000}, {"m", 60 * 1_000_000}, {"h", 3600 * 1_000_000},
	{"d", 24 * 3600 * 1_000_000}, {"w", 7 * 24 * 3600 * 1_000_000},
}

// parseDuration reads a duration as Go writes them, plus d and w, into microseconds: "1d12h", "90m", "1.5s", "0".
func parseDuration(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	if strings.HasPrefix(s, "-") {
		return 0, errors.New("a duration is never negative")
	}
	if s == "" {
		return 0, errors.New("an empty duration; write one like 30d, 1d12h or 90m")
	}
	var sum int64
	for rest := s; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		number := rest[:n]
		rest = rest[n:]
		if number == "" {
			return 0, fmt.Errorf("%q is not a duration; write one like 30d, 1d12h or 90m", s)
		}
		if rest == "" {
			return 0, fmt.Errorf("%q has no unit; write one like 30d, 1d12h or 90m", s)
		}
		unit := int64(0)
		for _, u := range durationUnits {
			if strings.HasPrefix(rest, u.name) {
				unit, rest = u.us, rest[len(u.name):]
				break
			}
		}
		if unit == 0 {
			return 0, fmt.Errorf("%q: the units are us, ms, s, m, h, d and w", s)
		}
		us, err := scaled(number, unit)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", s, err)
		}
		if sum += us; sum > maxDuration {
			return 0, fmt.Errorf("%q is more than a hundred years", s)
		}
	}
	return sum, nil
}

// scaled returns number times unit, which must be whole and at most maxDuration.
func scaled(number string, unit int64) (int64, error) {
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		if whole > maxDuration/unit {
			return 0, errors.New("more than a hundred years")
		}
		return whole * unit, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", number)
	}
	f *= float64(unit)
	switch {
	case f > maxDuration:
		return 0, errors.New("more than a hundred years")
	case f != math.Trunc(f):
		return 0, errors.New("finer than a microsecond")
	}
	return int64(f), nil
}

// FormatDuration writes microseconds as rules files have durations, such as 1d12h.
func FormatDuration(us int64) string {
	if us == 0 {
		return "0s"
	}
	var out strings.Builder
	if us < 0 {
		out.WriteByte('-')
		us = -us
	}
	for _, name := range []string{"d", "h", "m", "s", "ms", "us"} {
		for _, u := range durationUnits {
			if u.name == name && us >= u.us {
				fmt.Fprintf(&out, "%d%s", us/u.us, name)
				us %= u.us
			}
		}
	}
	return out.String()
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads "256MB", "64KiB" or "512B" into bytes, as rules files have them.
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		return int64(n) * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size; write one like 256MB or 64KiB", s)
}
