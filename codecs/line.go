package codecs

import (
	"bytes"
	"errors"
	"fmt"
)

// timestampMember is the member of a line that stands for the record's Kafka timestamp.
const timestampMember = "_ts"

// SplitLine splits a line of a replay file, {"click": {"click_id": "c1"}, "_ts": 1700000000000}, into the stream's name
// and the record's bytes, which alias line. A null is a tombstone, a nil record. The timestamp is in microseconds, 0
// where the line has none; it is written as a number of AutoUnit or as RFC 3339, before or after the record.
//
// The inside of a record that is an object is not read, so that a line costs one parse: what stands between is taken for
// the record, and Decode refuses it unless it is exactly one object. So a line that is not valid JSON is refused by one
// of the two.
func SplitLine(line []byte) (stream string, record []byte, ts int64, err error) {
	line = bytes.TrimRight(line, " \t\r\n")
	s := scanner{b: line}
	if s.space() != '{' {
		return "", nil, 0, errors.New(`a line must be an object like {"stream": {...}}`)
	}
	s.at++
	timed := false
	name, err := lineMember(&s)
	if err == nil && string(name) == timestampMember {
		timed = true
		ts, err = lineTimestamp(&s)
		if err == nil {
			if more, _ := s.next('}'); !more {
				return "", nil, 0, errors.New(`expected a record beside "_ts"`)
			}
			name, err = lineMember(&s)
		}
	}
	if err != nil {
		return "", nil, 0, err
	}
	if string(name) == timestampMember {
		return "", nil, 0, errTwoTimestamps
	}
	stream = string(name)
	if record, err = lineRecord(&s); err != nil {
		return "", nil, 0, err
	}
	more, ok := s.next('}')
	if more {
		if timed {
			return "", nil, 0, errTwoTimestamps
		}
		name, err := lineMember(&s)
		if err != nil {
			return "", nil, 0, err
		}
		if string(name) != timestampMember {
			return "", nil, 0, fmt.Errorf(`unexpected %q: a line holds one record and "_ts"`, abbreviate(string(name)))
		}
		if ts, err = lineTimestamp(&s); err != nil {
			return "", nil, 0, err
		}
		more, ok = s.next('}')
		ok = ok && !more
	}
	if !ok || s.at != len(line) {
		return "", nil, 0, fmt.Errorf("offset %d: expected the end of the line", s.at)
	}
	return stream, record, ts, nil
}

var errTwoTimestamps = errors.New(`"_ts" is given twice`)

// lineMember reads a member's name and moves to its value.
func lineMember(s *scanner) (name []byte, err error) {
	s.space()
	start, end, escaped, ok := s.str()
	if !ok || !s.colon() {
		return nil, s.lineError()
	}
	s.space()
	if escaped {
		return appendUnescaped(nil, s.b[start:end]), nil
	}
	return s.b[start:end], nil
}

func lineTimestamp(s *scanner) (int64, error) {
	at := s.at
	if !s.skip(1) {
		return 0, s.lineError()
	}
	text := s.b[at:s.at]
	v, p := Value{}, notOfType
	if text[0] == '"' {
		v, p = timeOfText(text[1 : len(text)-1])
	} else {
		v, p = timeOf(text, AutoUnit)
	}
	if p != noProblem {
		return 0, errors.New(mismatch(Field{Name: timestampMember, Type: Time}, p, string(text)).Message)
	}
	return v.Num, nil
}

// lineRecord moves behind the record. An object is taken to end before the line's last bracket, or before its last comma
// where something else than a bracket comes in between (the timestamp has no comma in it).
func lineRecord(s *scanner) ([]byte, error) {
	start := s.at
	if start >= len(s.b) || s.b[start] != '{' {
		if !s.skip(1) {
			return nil, s.lineError()
		}
		if record := s.b[start:s.at]; string(record) != "null" {
			return record, nil
		}
		return nil, nil
	}
	body, ok := bytes.CutSuffix(s.b[start:], []byte("}"))
	if !ok {
		return nil, fmt.Errorf("offset %d: expected the line to end with a bracket", len(s.b))
	}
	body = bytes.TrimRight(body, " \t\r\n")
	if body[len(body)-1] != '}' {
		comma := bytes.LastIndexByte(body, ',')
		if comma < 0 {
			return nil, fmt.Errorf("offset %d: the record does not end", len(s.b))
		}
		body = bytes.TrimRight(body[:comma], " \t\r\n")
	}
	s.at = start + len(body)
	return body, nil
}

func (s *scanner) lineError() error { return fmt.Errorf("offset %d: %s", s.at, s.problem) }
