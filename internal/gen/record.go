package gen

import "strconv"

// Record is one generated record as a producer would send it. A Record may be reused for call after call of Next, which
// writes over Key and Value in place; whoever keeps them copies.
type Record struct {
	Stream    string // "impression", "click" or "conversion"
	Key       []byte // the user's id, also of broken records
	Value     []byte // not nil, but empty for kind Empty
	EventTime int64  // microseconds; what the record says, or would have said if it were not broken
	Arrival   int64  // microseconds, never less than that of the record before
	Kind      Kind
}

// Kind says what became of an event on its way.
type Kind uint8

// The kinds of records. Those from Truncated on are broken.
const (
	OK        Kind = iota
	Delayed        // whole, and later than records that happened after it
	Duplicate      // sent before, byte for byte
	Conflict       // sent before with another amount
	Truncated      // JSON that ends too early
	WrongType      // a number as user_id
	MissingID
	MissingTime
	FutureTime // two days ahead of its arrival
	Empty
	NotJSON
	numKinds
)

var kindNames = [numKinds]string{"ok", "delayed", "duplicate", "conflict", "truncated", "wrong_type", "missing_id",
	"missing_time", "future_time", "empty", "not_json"}

// String returns the kind's name, as in "missing_time".
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return "invalid"
}

// Broken tells whether no consumer can take the record as an event.
func (k Kind) Broken() bool { return k >= Truncated }

// AppendLine appends the record as a line of a replay file, `{"click": {...}}` and a newline; with stamp, the arrival in
// milliseconds follows as "_ts". A record that is no JSON makes a line that is none either.
func (r *Record) AppendLine(dst []byte, stamp bool) []byte {
	dst = append(append(append(dst, `{"`...), r.Stream...), `":`...)
	dst = append(dst, r.Value...)
	if stamp {
		dst = strconv.AppendInt(append(dst, `,"_ts":`...), r.Arrival/microsPerMilli, 10)
	}
	return append(dst, "}\n"...)
}

// Stats counts what a Generator has made, by stream and kind.
type Stats struct {
	counts [numStreams][numKinds]uint64
}

// Of returns the number of records of a stream and kind.
func (s *Stats) Of(stream string, kind Kind) uint64 {
	for i, name := range streamNames {
		if name == stream && kind < numKinds {
			return s.counts[i][kind]
		}
	}
	return 0
}

// Stream returns the number of records of a stream.
func (s *Stats) Stream(stream string) uint64 {
	var n uint64
	for k := range numKinds {
		n += s.Of(stream, k)
	}
	return n
}

// Kind returns the number of records of a kind.
func (s *Stats) Kind(kind Kind) uint64 {
	var n uint64
	for _, name := range streamNames {
		n += s.Of(name, kind)
	}
	return n
}

// Broken returns the number of broken records.
func (s *Stats) Broken() uint64 {
	var n uint64
	for k := range numKinds {
		if k.Broken() {
			n += s.Kind(k)
		}
	}
	return n
}

// Total returns the number of all records.
func (s *Stats) Total() uint64 {
	var n uint64
	for k := range numKinds {
		n += s.Kind(k)
	}
	return n
}
