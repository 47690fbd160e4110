package gen

import "sort"

// ring remembers the last events of one stream, ordered by time.
type ring struct {
	buf  []event
	head int // the oldest once the ring is full
	n    int
}

func newRing(size int) *ring { return &ring{buf: make([]event, size)} }

func (r *ring) push(e event) {
	if r.n < len(r.buf) {
		r.buf[r.n] = e
		r.n++
		return
	}
	r.buf[r.head] = e
	r.head = (r.head + 1) % len(r.buf)
}

// at returns the i-th oldest event.
func (r *ring) at(i int) *event { return &r.buf[(r.head+i)%len(r.buf)] }

// span returns the time from the oldest event to now.
func (r *ring) span(now int64) int64 {
	if r.n == 0 {
		return 0
	}
	return now - r.at(0).time
}

// unusedReach is how far a pick looks for an event that nothing refers to yet.
const unusedReach = 16

// pick returns the latest event at or before a time, preferring one of its neighbours that nothing refers to yet, and
// marks it as referred to. It returns nil where all events are later.
func (r *ring) pick(until int64) *event {
	last := sort.Search(r.n, func(i int) bool { return r.at(i).time > until }) - 1
	if last < 0 {
		return nil
	}
	for i := last; i >= 0 && i > last-unusedReach; i-- {
		if e := r.at(i); !e.used {
			e.used = true
			return e
		}
	}
	return r.at(last)
}
