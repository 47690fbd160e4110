package processors

import (
	"hash/fnv"
	"maps"
	"math"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Traffic is what an app takes in, by which its state is reckoned (see NewBudget).
type Traffic struct {
	Streams []StreamTraffic // by rank
	Keys    []KeyTraffic    // by index of Plan.Keys
}

// StreamTraffic is how the events of a stream come, and how large they are.
type StreamTraffic struct {
	Rate float64 // events that are accepted, per second
	Row  float64 // bytes of a row, as the state has it, on the average
	ID   float64 // of them, those of the id
}

// KeyTraffic is how many keys there are, and how busy. Either Distinct or Counts says so.
type KeyTraffic struct {
	Bytes    float64         // of an encoded key, on the average
	Distinct float64         // keys among the events that are kept, all of them equally busy
	Counts   map[int]float64 // of a sample of events: keys, by how many of the events they have
}

// TrafficSampler finds out what the traffic is from events. Its memory is bounded, but for a counter for each minute of event time.
// It is not safe for concurrent use.
type TrafficSampler struct {
	plan      *rules.Plan
	cleansers []*cleanser
	event     codecs.Event
	key, row  []byte
	streams   []sampledStream
	keys      []sampledKeys
	minutes   map[int64]int64 // events, of all streams
	rates     []float64       // by rank, where they are known otherwise; nil: they are not
}

type sampledStream struct{ events, rows, ids int64 }

// sampledKeys counts the events of those keys whose hashes are small: of all of them until they are too many, then of half of them...
type sampledKeys struct {
	events, bytes int64
	counts        map[uint64]int64
	halved        int
}

// maxSampledKeys is how many keys of a group are counted at most.
const maxSampledKeys = 1 << 17

// NewTrafficSampler returns a sampler that has seen nothing. dims are by index of plan.Tables.
func NewTrafficSampler(plan *rules.Plan, dims []*tables.Dimension) *TrafficSampler {
	s := &TrafficSampler{plan: plan, streams: make([]sampledStream, len(plan.Streams)), minutes: map[int64]int64{}}
	for _, stream := range plan.Streams {
		s.cleansers = append(s.cleansers, newCleanser(plan, stream, dims))
	}
	for range plan.Keys {
		s.keys = append(s.keys, sampledKeys{counts: map[uint64]int64{}})
	}
	return s
}

// Record takes a record of the stream with that rank. What is wrong with it is returned.
func (s *TrafficSampler) Record(stream int, raw *Raw) *codecs.Reject {
	ev := &s.event
	if why := s.cleansers[stream].clean(raw, ev); why != nil {
		return why
	}
	s.row = codecs.AppendRow(s.row[:0], ev, s.plan.Streams[stream].Kept)
	var failed *codecs.Reject
	for _, k := range s.plan.Keys {
		if k.Slots[stream] == nil {
			continue
		}
		var why *codecs.Reject
		if s.key, why = keyOf(s.key[:0], k, ev); why != nil {
			failed = why
			continue
		}
		s.Event(k, s.key, s.row)
	}
	return failed
}

// Event takes an event of a key. It is called for each key that uses the event.
func (s *TrafficSampler) Event(k *rules.Key, key []byte, row codecs.Row) {
	index := slices.Index(s.plan.Keys, k)
	s.keys[index].add(key)
	rank := row.Stream()
	if firstKeyOf(s.plan, rank) != index {
		return
	}
	at := &s.streams[rank]
	at.events++
	at.rows += int64(len(row))
	at.ids += int64(len(row.ID()))
	s.minutes[row.Time()/minute]++
}

const minute = 60 * 1_000_000

// firstKeyOf returns the index of the first key that uses a stream, -1 where none does.
func firstKeyOf(plan *rules.Plan, rank int) int {
	return slices.IndexFunc(plan.Keys, func(k *rules.Key) bool { return slices.Contains(k.Streams, rank) })
}

func (s *sampledKeys) add(key []byte) {
	s.events++
	s.bytes += int64(len(key))
	h := fnv.New64a()
	_, _ = h.Write(key)
	hash := h.Sum64() * 0x9E3779B97F4A7C15 // mixes into the upper bits, which decide
	hash ^= hash >> 32
	hash *= 0xD6E8FEB86659FD93
	if hash>>(64-s.halved) != 0 {
		return
	}
	s.counts[hash]++
	for len(s.counts) > maxSampledKeys {
		s.halved++
		maps.DeleteFunc(s.counts, func(hash uint64, _ int64) bool { return hash>>(64-s.halved) != 0 })
	}
}

// Events returns how many events of a stream it was given.
func (s *TrafficSampler) Events(rank int) int64 { return s.streams[rank].events }

// Seconds returns how much event time the events cover, 0 where there are none. The outermost ones, of which some have a wrong time, count
// for nothing.
func (s *TrafficSampler) Seconds() float64 {
	const outer = 0.005 // of the events, on either side
	total := int64(0)
	for _, n := range s.minutes {
		total += n
	}
	if total == 0 {
		return 0
	}
	sorted := slices.Sorted(maps.Keys(s.minutes))
	at := func(rank int64) float64 {
		for _, m := range sorted {
			n := s.minutes[m]
			if rank < n {
				return float64(m) + (float64(rank)+0.5)/float64(n)
			}
			rank -= n
		}
		return float64(sorted[len(sorted)-1] + 1)
	}
	skipped := int64(float64(total) * outer)
	inner := at(total-1-skipped) - at(skipped)
	return max(inner*60, 1) * float64(total) / float64(max(total-2*skipped-1, 1))
}

// Traffic returns what it was given. Rates are those over the event time that it covers.
func (s *TrafficSampler) Traffic() Traffic {
	t := Traffic{Streams: make([]StreamTraffic, len(s.streams)), Keys: make([]KeyTraffic, len(s.keys))}
	seconds := s.Seconds()
	for i, have := range s.streams {
		if n := float64(have.events); n > 0 {
			rate := n / seconds
			if s.rates != nil {
				rate = s.rates[i]
			}
			t.Streams[i] = StreamTraffic{Rate: rate, Row: float64(have.rows) / n, ID: float64(have.ids) / n}
		}
	}
	for i := range s.keys {
		have := &s.keys[i]
		counts := map[int]float64{}
		for _, n := range have.counts {
			counts[int(n)] += math.Exp2(float64(have.halved))
		}
		t.Keys[i] = KeyTraffic{Bytes: float64(have.bytes) / float64(max(have.events, 1)), Counts: counts}
	}
	return t
}
