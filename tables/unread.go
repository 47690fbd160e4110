package tables

import (
	"encoding/binary"
	"math"
)

// streamSet is a set of streams, by rank. Those from lastBit on are in it together.
type streamSet uint16

const (
	lastBit    = 15
	allStreams = streamSet(math.MaxUint16)
)

func (s streamSet) has(stream int) bool { return s>>min(stream, lastBit)&1 != 0 }

// unreadDue is the schedule of a block that has only part of its rows. The others were scheduled when they were written, and a
// visit takes out whatever is due, so none is earlier.
func unreadDue(s streamSet) int64 { return math.MinInt64 + int64(s) }

func blockUnread(b []byte) streamSet {
	if due := int64(binary.LittleEndian.Uint64(b[blkDue:])); due <= unreadDue(allStreams) {
		return streamSet(due - math.MinInt64)
	}
	return 0
}

func (h *History) setUnread(s streamSet) {
	h.unread = s
	if h.addr != 0 {
		binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(unreadDue(s)))
	}
}

// read brings the rows of the stream into memory.
func (h *History) read(stream int) {
	switch {
	case !h.unread.has(stream):
	case stream >= lastBit:
		h.readAll()
	default:
		h.t.fetchStream(h, stream)
	}
}

// readAll brings all rows into memory.
func (h *History) readAll() {
	if h.unread != 0 {
		h.t.fetchRest(h)
	}
}

// Err returns why what the table's History has said may lack rows, nil where it lacks none: the table is then to be closed, or
// Discard to be called.
func (h *History) Err() error { return h.t.readErr }
