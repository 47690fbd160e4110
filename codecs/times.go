package codecs

import "time"

// Event times lie in the years 1 to 9999, which is what RFC 3339 can say (and year 0 is no year).
const (
	minTime = -62135596800_000000
	maxTime = 253402300800_000000 - 1
)

// timeOf reads an RFC 3339 text with an offset, or a number of the unit. What is finer than a microsecond is cut off
// towards the past, so that a text and a number of the same instant agree.
func timeOf(b []byte, unit TimeUnit) (Value, problem) {
	n, integer := numberLen(b)
	if n == 0 || n != len(b) {
		return timeOfText(b)
	}
	return timeOfNumber(b, integer, unit)
}

func timeOfText(b []byte) (Value, problem) {
	// The standard library would also take hours of one digit and a comma before the fraction.
	const hourEnd, secondEnd = len("2006-01-02T15"), len("2006-01-02T15:04:05")
	var t time.Time
	if len(b) <= secondEnd || b[hourEnd] != ':' || b[secondEnd] == ',' || t.UnmarshalText(b) != nil {
		return Value{}, notOfType
	}
	return timeInRange(t.UnixMicro())
}

func timeOfNumber(b []byte, integer bool, unit TimeUnit) (Value, problem) {
	if integer {
		if n, ok := smallInt(b); ok {
			return timeOfInt(n, unit)
		}
	}
	n := parseNumber(b)
	if unit == AutoUnit {
		switch before := n.digits + n.exp; { // digits before the point
		case before <= 11:
			unit = Seconds
		case before <= 14:
			unit = Milliseconds
		default:
			unit = Microseconds
		}
	}
	exp := n.exp + unit.digits()
	us, inexact := n.coef, n.cut
	for ; exp < 0 && us != 0; exp++ {
		inexact = inexact || us%10 != 0
		us /= 10
	}
	us, ok := scaled(us, exp, 1<<63-1)
	if !ok {
		return Value{}, outOfRange
	}
	if !n.neg {
		return timeInRange(int64(us))
	}
	if inexact {
		us++
	}
	return timeInRange(-int64(us))
}

func timeOfInt(n int64, unit TimeUnit) (Value, problem) {
	if unit == AutoUnit {
		switch {
		case -1e11 < n && n < 1e11:
			unit = Seconds
		case -1e14 < n && n < 1e14:
			unit = Milliseconds
		default:
			unit = Microseconds
		}
	}
	factor := int64(1)
	switch unit {
	case Seconds:
		factor = 1e6
	case Milliseconds:
		factor = 1e3
	}
	if n > maxTime/factor || n < minTime/factor {
		return Value{}, outOfRange
	}
	return TimeValue(n * factor), noProblem
}

// digits returns the decimal digits between the unit and the microsecond.
func (u TimeUnit) digits() int {
	switch u {
	case Seconds:
		return 6
	case Milliseconds:
		return 3
	}
	return 0
}

func timeInRange(us int64) (Value, problem) {
	if us < minTime || us > maxTime {
		return Value{}, outOfRange
	}
	return TimeValue(us), noProblem
}

// appendTime appends the time as RFC 3339 in UTC, without trailing zeros.
func appendTime(dst []byte, us int64) []byte {
	return time.UnixMicro(us).UTC().AppendFormat(dst, time.RFC3339Nano)
}
