package processors

import (
	"math"
	"strconv"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// What becomes of late events, as they are counted.
const (
	lateDiverted = "diverted" // written to the late topic
	lateAccepted = "accepted" // accepted for conversions that are not final, and written there
	lateDropped  = "dropped"
	lateSkipped  = "skipped" // written there unread, because it was too old when it was read
)

// LateActions are what becomes of late events.
var LateActions = []string{lateDiverted, lateAccepted, lateDropped, lateSkipped}

// headerAcceptedFrom says in the late topic that the event was accepted, for conversions from a time on, in microseconds.
const headerAcceptedFrom = "lookback.accepted_from"

// AcceptedFrom returns from which time on conversions have the event that a record of the late topic is about, if it was accepted.
func AcceptedFrom(headers []codecs.Header) (from int64, accepted bool) {
	for _, h := range headers {
		if h.Key == headerAcceptedFrom {
			from, err := strconv.ParseInt(string(h.Value), 10, 64)
			return from, err == nil
		}
	}
	return 0, false
}

// keeps tells whether a late event of a time may be accepted: its stream says so, and it would still be kept; or it may be a later version of one
// that is.
func (p *partition) keeps(stream *rules.Stream, at int64) bool {
	return stream.Late == rules.LateKept && at+p.key.Retention[stream.Rank]+p.key.Lateness >= p.watermark() ||
		stream.Version != rules.NoSlot && p.correctable(stream, at)
}

// correctable tells whether all that an event of a time can change is still there.
func (p *partition) correctable(stream *rules.Stream, at int64) bool {
	w := p.watermark()
	return w == math.MinInt64 || at >= w-stream.Lateness-p.key.Corrected[stream.Rank]
}

// tooLate counts an event that is not accepted, and writes it to the late topic unless its stream drops it.
func (p *partition) tooLate(key []byte, row codecs.Row, raw *Raw) {
	rank, at, w := row.Stream(), row.Time(), p.watermark()
	stream := p.plan.Streams[rank]
	p.observe(key, row, raw, ObservedLate)
	if stream.Late == rules.LateDrop {
		p.tally.late(rank, lateDropped)
		return
	}
	p.tally.late(rank, lateDiverted)
	p.reject(row, raw, p.behind(stream, at, w), "")
}

// correctsTooLate is tooLate for a later version of an event of which rows may be final.
func (p *partition) correctsTooLate(key []byte, row, old codecs.Row, raw *Raw) {
	stream, w := p.plan.Streams[row.Stream()], p.watermark()
	first := min(row.Time(), old.Time())
	p.observe(key, row, raw, ObservedLate)
	p.tally.late(row.Stream(), lateDiverted)
	p.reject(row, raw, codecs.Rejectf(reasonLate, "this version corrects an event of %s, %s behind the watermark %s; lateness and adjust_within are %s together",
		stamp(first), lag(w-first), stamp(w), lag(stream.Lateness+p.key.Corrected[row.Stream()])), "")
}

func (p *partition) behind(stream *rules.Stream, at, w int64) *codecs.Reject {
	return codecs.Rejectf(reasonLate, "event time %s is %s behind the watermark %s, lateness is %s", stamp(at), lag(w-at), stamp(w), lag(stream.Lateness))
}

// acceptLate returns the row with the time from which on conversions may have it: none that is final yet. That is part of the event from then
// on, and the late topic says it, so that others can come to the same answer.
func (p *partition) acceptLate(row codecs.Row, raw *Raw) codecs.Row {
	w := p.watermark()
	stream := p.plan.Streams[row.Stream()]
	from := int64(math.MinInt64)
	for _, r := range p.key.Rules {
		from = max(from, w-p.plan.Streams[r.Conversion].Lateness)
	}
	p.tally.late(row.Stream(), lateAccepted)
	told := *raw
	told.Headers = append(told.Headers[:len(told.Headers):len(told.Headers)], codecs.Header{Key: headerAcceptedFrom, Value: strconv.AppendInt(nil, from, 10)})
	p.reject(row, &told, p.behind(stream, row.Time(), w), p.key.Rules[0].Name)
	p.row = stream.AppendAccepted(p.row[:0], row, from)
	return p.row
}

// skips tells whether a record is left out as too old, at a time of the clock, and why.
func skips(plan *rules.Plan, timestamp int64, now time.Time) *codecs.Reject {
	limit := plan.Settings.SkipOlderThan
	if age := now.Sub(time.UnixMicro(timestamp)); limit > 0 && timestamp != 0 && age > limit {
		return codecs.Rejectf(reasonSkipped, "it was written %s before it was read, catch_up.skip_older_than is %s", age.Round(time.Second), rules.FormatDuration(limit.Microseconds()))
	}
	return nil
}
