package rules

import (
	"bytes"
	"crypto/sha256"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Content returns what a row of the stream says of its event: all of the row but its stamps, which are what tables said
// when the record came, and from when on it was accepted late. Where the stream has nothing of that kind it is the row itself, else a copy.
func (s *Stream) Content(row codecs.Row) codecs.Row {
	if !s.stamped() {
		return row
	}
	content := append(make(codecs.Row, 0, len(row)), row[:codecs.RowLen(row, 0)]...)
	for slot := range s.Kept {
		if s.Slots[slot].Field >= 0 {
			content = append(content, row.Field(slot)...)
		}
	}
	return content
}

func (s *Stream) stamped() bool {
	for _, slot := range s.Slots[:s.Kept] {
		if slot.Field < 0 {
			return true
		}
	}
	return false
}

// Precedes tells which of two rows of the stream with the same id is the event: the one with the larger version, where the stream has them;
// then the one with the smaller time, then the smaller hash of its content. Never the first to arrive. Of rows with the same content, which are one event sent twice,
// neither precedes the other.
func (s *Stream) Precedes(a, b codecs.Row) bool {
	if c := s.compareVersions(a, b); c != 0 {
		return c > 0
	}
	if a.Time() != b.Time() {
		return a.Time() < b.Time()
	}
	ha, hb := sha256.Sum256(s.Content(a)), sha256.Sum256(s.Content(b))
	return bytes.Compare(ha[:], hb[:]) < 0
}

// Corrects tells whether a row is a later version of an event than another.
func (s *Stream) Corrects(a, b codecs.Row) bool { return s.compareVersions(a, b) > 0 }

// compareVersions orders rows by their versions. An absent one comes first.
func (s *Stream) compareVersions(a, b codecs.Row) int {
	if s.Version == NoSlot {
		return 0
	}
	return comparePriorities(a.Value(s.Version), b.Value(s.Version))
}
