package infer

import (
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// maxRecordBytes is the largest record that Lookback decodes.
const maxRecordBytes = 448 << 10

// maxSkew is how far ahead of its record's timestamp an event time may be, where the rules do not say more.
const maxSkew = 3600 * 1_000_000

// decoded is what comes of the samples when the draft's declaration reads them.
type decoded struct {
	accepted int
	reasons  map[string]int    // of records that are rejected
	example  map[string]string // by reason: the first place, and the message
	ahead    int               // of accepted: events that are ahead of their record's timestamp by more than maxSkew
	behind   []int64           // how far each came behind the largest event time before it in its partition; sorted
	delays   []int64           // record's timestamp minus event time; sorted
}

// decode reads all samples as the draft declares them.
func (o *observed) decode(fields []*declared, time, id *declared) *decoded {
	spec := codecs.DecodeSpec{MaxBytes: maxRecordBytes}
	for _, d := range fields {
		f := d.as()
		f.Name = d.name
		switch {
		case d.kind == "":
			continue
		case d == time:
			spec.Time = f
		case d == id:
			spec.ID = f
		}
		spec.Slots = append(spec.Slots, f)
	}
	r := &decoded{reasons: map[string]int{}, example: map[string]string{}}
	decoder := codecs.NewDecoder(spec)
	largest := map[int32]int64{}
	var ev codecs.Event
	for i := range o.Records {
		rec := &o.Records[i]
		if err := decoder.Decode(rec.Value, &ev); err != nil {
			reject := err.(*codecs.Reject)
			if r.reasons[reject.Reason]++; r.example[reject.Reason] == "" {
				r.example[reject.Reason] = rec.Place + ": " + reject.Message
			}
			continue
		}
		r.accepted++
		if time == nil {
			continue
		}
		if rec.Timestamp != 0 {
			if ev.Time > rec.Timestamp+maxSkew {
				r.ahead++
				continue
			}
			r.delays = append(r.delays, rec.Timestamp-ev.Time)
		}
		behind := int64(0)
		if max, any := largest[rec.Partition]; any && max > ev.Time {
			behind = max - ev.Time
		} else {
			largest[rec.Partition] = ev.Time
		}
		r.behind = append(r.behind, behind)
	}
	slices.Sort(r.behind)
	slices.Sort(r.delays)
	return r
}

// late counts the events that came behind another.
func (r *decoded) late() int {
	n, _ := slices.BinarySearch(r.behind, 1)
	return len(r.behind) - n
}

// steps are durations that people write, in microseconds. The first is the least that a draft proposes: samples do not show the worst.
var steps = func() []int64 {
	const second = 1_000_000
	var list []int64
	for _, s := range []int64{60, 300, 900, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 90 * 86400, 365 * 86400} {
		list = append(list, s*second)
	}
	return list
}()

// roundUp returns the first duration that people write which is at least us.
func roundUp(us int64) int64 {
	for _, step := range steps {
		if us <= step {
			return step
		}
	}
	return (us/steps[len(steps)-1] + 1) * steps[len(steps)-1]
}
