package codecs

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// WrittenRow is a row of a rule as a reader of an output topic finds it: what the rule says of a conversion, and what is said of the
// record that says it.
type WrittenRow struct {
	Conversion string // the conversion's id as AppendText writes it
	EventTime  int64  // microseconds
	// Said is the row as AppendFinal writes it: a delta of sign -1 has its signs turned. It is valid until the next call of ReadRow
	// with the same memory.
	Said []byte

	// Of deltas.
	Sign    int // 1 or -1; 0 where the row is an upsert
	DeltaID string

	// Of upserts.
	Version  uint64
	Deleted  bool
	RuleHash string
}

// ReadRow reads the JSON of an upsert or a delta. measure tells which fields carry the sign of a delta, beside the credit. memory is
// overwritten, and returned in Said.
func ReadRow(value, memory []byte, measure func(name []byte) bool) (WrittenRow, error) {
	r := rowReader{scanner: scanner{b: value}, measure: measure}
	r.row.Said = append(memory[:0], '{')
	if err := r.read(); err != nil {
		return WrittenRow{}, fmt.Errorf("this is no row of a rule: byte %d: %w", r.at, err)
	}
	r.row.Said = append(r.row.Said, '}')
	if r.row.Sign < 0 {
		r.turn()
	}
	return r.row, nil
}

type rowReader struct {
	scanner
	measure func(name []byte) bool
	row     WrittenRow
	signed  [][2]int // where in Said the values are that carry the sign
	has     struct{ conversion, time bool }
}

func (r *rowReader) read() error {
	if r.space() != '{' {
		return fmt.Errorf("expected an object")
	}
	r.at++
	more := r.space() != '}'
	if !more {
		r.at++
	}
	for more {
		r.space()
		from := r.at
		start, end, _, ok := r.str()
		if !ok || !r.colon() {
			return fmt.Errorf("%s", r.problem)
		}
		name := r.b[start:end]
		r.space()
		at := r.at
		if !r.skip(1) {
			return fmt.Errorf("%s", r.problem)
		}
		if err := r.member(name, r.b[at:r.at], r.b[from:r.at]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if more, ok = r.next('}'); !ok {
			return fmt.Errorf("%s", r.problem)
		}
	}
	if r.space(); r.at < len(r.b) {
		return fmt.Errorf("something follows the object")
	}
	if !r.has.conversion || !r.has.time {
		return fmt.Errorf("it has no conversion_id or no event_time")
	}
	return nil
}

// member takes a field of the row; whole is its name and its value.
func (r *rowReader) member(name, raw, whole []byte) (err error) {
	switch string(name) {
	case "sign":
		if r.row.Sign, err = strconv.Atoi(string(raw)); err == nil && r.row.Sign != 1 && r.row.Sign != -1 {
			err = fmt.Errorf("%s is neither 1 nor -1", raw)
		}
		return err
	case "delta_id":
		r.row.DeltaID = textOf(raw)
		return nil
	case "_version":
		r.row.Version, err = strconv.ParseUint(string(raw), 10, 64)
		return err
	case "_deleted":
		r.row.Deleted = string(raw) == "true"
		return nil
	case "rule_hash":
		r.row.RuleHash = textOf(raw)
		return nil
	case "reason", "_op":
		return nil
	case "conversion_id":
		r.row.Conversion, r.has.conversion = textOf(raw), true
	case "event_time":
		at, err := time.Parse(time.RFC3339Nano, textOf(raw))
		if err != nil {
			return err
		}
		r.row.EventTime, r.has.time = at.UnixMicro(), true
	}
	if len(r.row.Said) > 1 {
		r.row.Said = append(r.row.Said, ',')
	}
	r.row.Said = append(r.row.Said, whole...)
	if n := len(r.row.Said); string(name) == "credit" || r.measure(name) {
		r.signed = append(r.signed, [2]int{n - len(raw), n})
	}
	return nil
}

// turn gives what carries the sign the other one.
func (r *rowReader) turn() {
	for i := len(r.signed) - 1; i >= 0; i-- {
		at, end := r.signed[i][0], r.signed[i][1]
		switch raw := r.row.Said[at:end]; {
		case raw[0] == '-':
			r.row.Said = append(r.row.Said[:at], r.row.Said[at+1:]...)
		case !isZero(raw):
			r.row.Said = append(r.row.Said, 0)
			copy(r.row.Said[at+1:], r.row.Said[at:])
			r.row.Said[at] = '-'
		}
	}
}

// isZero tells whether a number in JSON is 0, which has no sign.
func isZero(raw []byte) bool { return len(bytes.Trim(raw, "0.")) == 0 }

// textOf returns the text of a JSON string, and anything else as it stands.
func textOf(raw []byte) string {
	if raw[0] != '"' {
		return string(raw)
	}
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	return string(appendUnescaped(nil, raw))
}
