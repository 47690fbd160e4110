package processors

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// modelEvents is how many events the model of a class of keys keeps, about.
const modelEvents = 8_000

// modelledState is what a table in memory comes to in the long run, on the average.
type modelledState struct {
	keys  float64
	rows  []float64 // by rank
	bytes float64
}

// modelState lets a table live with some of the keys of each class, and reckons what it would take with all of them. So what a row takes
// is what a table says of itself: blocks, indexes, what is due and has not left yet.
func modelState(plan *rules.Plan, k *rules.Key, t *Traffic, traffic *KeyTraffic) (*modelledState, error) {
	m := newTableModel(plan, k, t, traffic)
	all := &modelledState{rows: m.rows(traffic)}
	for _, class := range m.classes(traffic) {
		one, err := m.run(class)
		if err != nil {
			return nil, err
		}
		all.keys += one.keys
		all.bytes += one.bytes
	}
	return all, nil
}

func newTableModel(plan *rules.Plan, k *rules.Key, t *Traffic, traffic *KeyTraffic) *tableModel {
	m := &tableModel{plan: plan, key: k, traffic: t, keyBytes: max(int(math.Round(traffic.Bytes)), 5), shape: shapeOf(plan, k)}
	for _, rank := range k.Streams {
		s, keep := t.Streams[rank], m.shape.Streams[rank].Keep
		if s.Rate <= 0 {
			continue
		}
		m.rate += s.Rate
		m.shares = append(m.shares, streamShare{rank, m.rate})
		m.kept += s.Rate * float64(keep) / 1e6
		m.longest = max(m.longest, float64(keep))
	}
	if m.rate > 0 {
		m.window = m.kept / m.rate * 1e6
	}
	return m
}

// classes are those of the keys among the events that are kept; none where nothing is.
func (m *tableModel) classes(traffic *KeyTraffic) []keyClass {
	if m.kept < 1 {
		return nil
	}
	return classesOf(traffic, m.kept)
}

// rows returns how many rows of each stream, by rank, are in the state.
func (m *tableModel) rows(traffic *KeyTraffic) []float64 {
	rows := make([]float64, len(m.plan.Streams))
	for _, class := range m.classes(traffic) {
		whole := min(class.events, float64(m.key.MaxTouches))
		for _, rank := range m.key.Streams {
			each := m.traffic.Streams[rank].Rate / m.rate * whole / m.window // of a key, per microsecond
			rows[rank] += class.keys * each * tables.Stay(m.shape, rank, each)
		}
	}
	return rows
}

// tableModel is a table that lives on events that are made up.
type tableModel struct {
	plan     *rules.Plan
	key      *rules.Key
	traffic  *Traffic
	shape    tables.Shape
	keyBytes int
	kept     float64       // events that the rules need, on the average
	rate     float64       // events per second of all streams
	shares   []streamShare // of them
	window   float64       // microseconds in which the events come that are kept, on the average
	longest  float64       // microseconds that the longest-lived stay
}

// streamShare is the rate of a stream and of those before it.
type streamShare struct {
	rank int
	upTo float64
}

// run returns what the keys of a class come to.
func (m *tableModel) run(class keyClass) (*modelledState, error) {
	// Beyond max_touches the oldest leave; so long histories cost the same per row that one of a part stands for all.
	each := min(class.events, float64(m.key.MaxTouches))
	whole := each
	each = min(each, 2*modelEvents)
	keys := math.Ceil(max(1, min(class.keys, modelEvents/each, sparse*modelEvents)))
	table, err := tables.Open(m.shape, tables.Options{Untracked: true})
	if err != nil {
		return nil, err
	}
	defer table.Close()
	rng := rand.New(rand.NewPCG(uint64(keys), math.Float64bits(each)))
	gap := m.window / each / keys // microseconds between two events
	// What is kept the longest is kept for an eighth longer (and a bucket), and leaves in waves: two of them are looked at. Blocks
	// that have seen rows come and go have more gaps than those that have only grown.
	begin := int64(m.longest * 2.2)
	end := begin + int64(m.longest/4)
	const looks = 16
	out := &modelledState{}
	key := make([]byte, m.keyBytes)
	nextLook, looked := begin, 0
	var event codecs.Event
	var row codecs.Row
	for n, now := uint32(0), 0.0; looked < looks; n++ {
		now += rng.ExpFloat64() * gap
		for int64(now) >= nextLook && looked < looks {
			if err := table.Advance(nextLook); err != nil {
				return nil, err
			}
			out.keys += float64(table.Keys()) / looks
			out.bytes += float64(table.Bytes()) / looks
			looked++
			nextLook += (end - begin) / looks
		}
		m.makeUp(&event, int64(now), n, rng)
		row = codecs.AppendRow(row[:0], &event, m.plan.Streams[event.Stream].Kept)
		binary.BigEndian.PutUint32(key[len(key)-4:], uint32(rng.IntN(int(keys))))
		h, err := table.History(key)
		if err != nil {
			return nil, err
		}
		h.Insert(row)
		if err := table.Advance(int64(now)); err != nil {
			return nil, err
		}
	}
	times := class.keys / keys
	return &modelledState{keys: out.keys * times, bytes: out.bytes * times * whole / each}, nil
}

// makeUp makes the n-th event.
func (m *tableModel) makeUp(e *codecs.Event, now int64, n uint32, rng *rand.Rand) {
	at := rng.Float64() * m.rate
	e.Stream = m.shares[len(m.shares)-1].rank
	for _, s := range m.shares {
		if at < s.upTo {
			e.Stream = s.rank
			break
		}
	}
	e.Time = now
	traffic, kept := m.traffic.Streams[e.Stream], m.plan.Streams[e.Stream].Kept
	id := max(int(math.Round(traffic.ID)), 5)
	e.ID = codecs.StringValue(numbered(n, id))
	e.Fields = e.Fields[:0]
	const header = 9 // stream and time
	rest := max(int(math.Round(traffic.Row))-header-id, kept)
	for i := range kept {
		size := rest / (kept - i)
		rest -= size
		e.Fields = append(e.Fields, codecs.StringValue(numbered(n, size)))
	}
}

// numbered returns a text that takes so many bytes when it is encoded as a value, and begins with a number where there is room.
func numbered(n uint32, size int) string {
	text := size - 1 // behind a tag
	if text >= 64 {
		text-- // and a length
	}
	if text >= 128 {
		text--
	}
	var number [4]byte
	binary.LittleEndian.PutUint32(number[:], n)
	if text <= len(number) {
		return string(number[:max(text, 0)])
	}
	return string(number[:]) + strings.Repeat(".", text-len(number))
}
