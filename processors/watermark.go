package processors

import (
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// noTime is the time of a source that has not shown an event, and the watermark that promises nothing.
const noTime = math.MinInt64

// sourceID is one partition of one stream's topic.
type sourceID struct {
	stream    int
	partition int32
}

// tracker derives the watermark of one partition from how far the sources of its events have come. All sources are known
// from the start, from the partition counts of their topics: one that has said nothing yet holds the watermark back.
type tracker struct {
	sources  []codecs.Source
	disorder []int64 // by source
	index    map[sourceID]int
	changed  bool // since the last call of snapshot
}

// newTracker returns a tracker over the given sources. Disorder is, by stream rank, how far behind its source's largest
// event time an event may be without being out of order.
func newTracker(sources []sourceID, disorder func(stream int) int64) *tracker {
	t := &tracker{index: make(map[sourceID]int, len(sources))}
	for i, id := range sources {
		t.index[id] = i
		t.sources = append(t.sources, codecs.Source{Stream: id.stream, Partition: id.partition, Time: noTime})
		t.disorder = append(t.disorder, disorder(id.stream))
	}
	return t
}

// set takes what is said about a source: its time never falls, its idleness is the last one said. Sources that the tracker
// does not have, of a stream that the rules no longer read, are ignored.
func (t *tracker) set(s codecs.Source) {
	i, ok := t.index[sourceID{s.Stream, s.Partition}]
	if !ok {
		return
	}
	have := &t.sources[i]
	if s.Time > have.Time {
		have.Time = s.Time
		t.changed = true
	}
	if s.Idle != have.Idle {
		have.Idle = s.Idle
		t.changed = true
	}
}

// watermark returns the minimum over the sources that are not idle of their time less their disorder; noTime while one of
// them is unknown. Where all are idle nobody holds anybody back, so it is the maximum.
func (t *tracker) watermark() int64 {
	lowest, highest, active := int64(math.MaxInt64), int64(noTime), false
	for i, s := range t.sources {
		w := int64(noTime)
		if s.Time != noTime {
			w = s.Time - t.disorder[i]
		}
		highest = max(highest, w)
		if !s.Idle {
			lowest, active = min(lowest, w), true
		}
	}
	if !active {
		return highest
	}
	return lowest
}

// snapshot returns the sources that have been heard of, for the table's meta record, and whether anything has changed
// since the last time.
func (t *tracker) snapshot() (known []codecs.Source, changed bool) {
	if !t.changed {
		return nil, false
	}
	t.changed = false
	for _, s := range t.sources {
		if s.Time != noTime || s.Idle {
			known = append(known, s)
		}
	}
	return known, true
}
