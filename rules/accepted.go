package rules

import (
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// AcceptedFrom returns the time of the first conversion that may have the row's event: math.MinInt64, unless it was accepted late.
func (s *Stream) AcceptedFrom(row codecs.Row) int64 {
	if s.From == NoSlot {
		return math.MinInt64
	}
	v := row.Value(s.From)
	if v.IsNull() {
		return math.MinInt64
	}
	return v.Num
}

// AppendAccepted appends the row of a stream of LateKept with the time of the first conversion that may have it. The row must have none yet.
func (s *Stream) AppendAccepted(dst []byte, row codecs.Row, from int64) codecs.Row {
	dst = append(dst, row[:len(row)-1]...) // a Null, which is one byte, is the last of its values
	return codecs.AppendValue(dst, codecs.TimeValue(from))
}

// Counts tells which of two rows of the stream with the same id, given without the order in which they came, is the event: as Precedes says and,
// of the same content, the one that was accepted late. What comes again later is no news.
func (s *Stream) Counts(a, b codecs.Row) bool {
	return s.Precedes(a, b) || s.From != NoSlot && !s.Precedes(b, a) && s.AcceptedFrom(a) > s.AcceptedFrom(b)
}

// accepts tells whether an event counts for conversions of a time.
func (e *Evaluator) accepts(row codecs.Row, at int64) bool {
	return row == nil || at >= e.plan.Streams[row.Stream()].AcceptedFrom(row)
}
