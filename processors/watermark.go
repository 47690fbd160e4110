package processors

import (
	"math"
	"time"

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
//
// That a source is idle holds for a while only. Who said so may have died since, and nobody tells that there is something to read
// again, so it must be said anew; by the clocks of those who say it, not by that of who reads it, perhaps much later.
type tracker struct {
	sources  []codecs.Source
	heard    []int64 // by source: when something was last said about it, noTime: not in this life
	disorder []int64 // by source
	index    map[sourceID]int
	patience int64 // how long a source is idle after it was said to be
	latest   int64 // when something was last said about any
	changed  bool  // since the last call of snapshot
}

// newTracker returns a tracker over the given sources. Disorder is, by stream rank, how far behind its source's largest
// event time an event may be without being out of order. Patience is how long a source is idle after it was said to be.
func newTracker(sources []sourceID, patience time.Duration, disorder func(stream int) int64) *tracker {
	t := &tracker{index: make(map[sourceID]int, len(sources)), patience: patience.Microseconds(), latest: noTime}
	for i, id := range sources {
		t.index[id] = i
		t.heard = append(t.heard, noTime)
		t.sources = append(t.sources, codecs.Source{Stream: id.stream, Partition: id.partition, Time: noTime})
		t.disorder = append(t.disorder, disorder(id.stream))
	}
	return t
}

// recall takes what was kept of a source. Whether it is still idle is not known.
func (t *tracker) recall(s codecs.Source) {
	s.Idle = false
	t.set(s, noTime)
}

// set takes what is said about a source, and when, in microseconds: its time never falls, its idleness is the last one said. Sources
// that the tracker does not have, of a stream that the rules no longer read, are ignored.
func (t *tracker) set(s codecs.Source, at int64) {
	i, ok := t.index[sourceID{s.Stream, s.Partition}]
	if !ok {
		return
	}
	t.latest = max(t.latest, at)
	have := &t.sources[i]
	if s.Idle && have.Idle && !t.idle(i) {
		t.changed = true
	}
	t.heard[i] = max(t.heard[i], at)
	if s.Time > have.Time {
		have.Time = s.Time
		t.changed = true
	}
	if s.Idle != have.Idle {
		have.Idle = s.Idle
		t.changed = true
	}
}

// idle tells whether a source is idle: it was said to be, not long before the last that was said about any.
func (t *tracker) idle(i int) bool {
	return t.sources[i].Idle && t.heard[i] != noTime && t.heard[i] >= t.latest-t.patience
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
		if !t.idle(i) {
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
