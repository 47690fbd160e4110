package tables

import (
	"encoding/binary"
	"errors"
)

// trim knows which prefix of the changelog holds nothing that is still of use, so that expired rows leave the topic by
// DeleteRecords instead of a tombstone each.
type trim struct {
	segments []segment
	latest   int64 // latest due time of the rows since the last commit
	any      bool
	meta     int64 // offset at or below the last meta record, which stays; 0: not known
	gone     int64 // offset below which the changelog was given up
	unsaved  int   // segments that have come since the disk store was told of them
}

// segment is a run of changelog records.
type segment struct {
	end int64 // offset behind its last record
	due int64 // when the last of its rows is due
}

const (
	maxSegments = 1024
	// saveSegments is after how many new ones a disk store writes the segments down. It need not be often: what has come since is
	// one segment when the store is opened again.
	saveSegments = 256
)

func (t *trim) put(due int64) {
	if !t.any || due > t.latest {
		t.latest, t.any = due, true
	}
}

// commit ends a segment before offset.
func (t *trim) commit(offset int64) {
	if !t.any {
		return
	}
	t.segments = append(t.segments, segment{offset, t.latest})
	t.any = false
	t.unsaved++
	if len(t.segments) < maxSegments {
		return
	}
	for i := 0; i < len(t.segments)/2; i++ {
		a, b := t.segments[2*i], t.segments[2*i+1]
		t.segments[i] = segment{b.end, max(a.due, b.due)}
	}
	t.segments = t.segments[:len(t.segments)/2]
}

// below returns the end of the last segment such that it and all before it are due, 0 where there never was one. It says so
// again until there is more, as the deletion may fail.
func (t *trim) below(watermark int64) int64 {
	n := 0
	for n < len(t.segments) && t.segments[n].due < watermark && t.segments[n].end <= t.meta {
		t.gone = t.segments[n].end
		n++
	}
	t.segments = t.segments[n:]
	return t.gone
}

// save returns the segments for the disk store, nil where it is not time to write them.
func (t *trim) save() []byte {
	if t.unsaved < saveSegments {
		return nil
	}
	t.unsaved = 0
	value := binary.AppendUvarint(nil, uint64(len(t.segments)))
	var before segment
	for _, s := range t.segments {
		value = binary.AppendUvarint(value, uint64(s.end-before.end))
		value = binary.AppendVarint(value, s.due-before.due)
		before = s
	}
	return value
}

var errSegments = errors.New("trim segments")

// restore takes what save has returned.
func (t *trim) restore(value []byte) error {
	count, n := binary.Uvarint(value)
	if n <= 0 || count > maxSegments {
		return errSegments
	}
	value = value[n:]
	var s segment
	for range count {
		end, n := binary.Uvarint(value)
		if n <= 0 {
			return errSegments
		}
		due, m := binary.Varint(value[n:])
		if m <= 0 {
			return errSegments
		}
		value = value[n+m:]
		s.end += int64(end)
		s.due += due
		t.segments = append(t.segments, s)
	}
	return nil
}
