package processors

import (
	"maps"
	"slices"
	"sync"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Stats says what a run does and has done, for live views, metrics and readiness. It is safe for concurrent use. What a
// session did and could not commit is not counted; the session that reads it again counts it.
type Stats struct {
	streams []string // names, by rank
	latency Latency

	mu         sync.Mutex
	counts     counts
	stage      string            // what is done before the processors run, or instead; "": they run
	processors []*ProcessorStats // in the order of their first mention
}

// counts is what becomes of records.
type counts struct {
	streams     []streamCounts // by rank
	rejected    map[string]int64
	rows        map[RowKind]int64
	corrections map[Correction]int64
	written     map[Output]int64
}

type streamCounts struct {
	accepted, duplicates int64
	late                 [4]int64 // by index of LateActions
	behind               Lateness // of all of these
}

// RowKind is what signed rows are counted by: the net of a model's class is its rows of sign 1 less those of sign -1.
type RowKind struct {
	Rule, Model, Class string
	Sign               int // 1 or -1
}

// Correction is what rows that were taken back are counted by.
type Correction struct {
	Rule   string
	Reason string // of the delta: "corrected", "refund" or "invalidated"
}

// CorrectionReasons are the reasons for which rows are taken back.
var CorrectionReasons = []string{deltaCorrected, deltaRefund, deltaInvalidated}

// LateCount is what late events are counted by.
type LateCount struct{ Stream, Action string }

// Output is what records of output topics are counted by.
type Output struct {
	Rule string
	Op   string // "delta", or what an upsert's _op says
}

// OpDelta is the Output.Op of deltas; those of upserts are codecs.OpUpsert and codecs.OpDelete.
const OpDelta = "delta"

// Snapshot is what a Stats knows at one moment. It belongs to the caller.
type Snapshot struct {
	Accepted    map[string]int64 // by stream
	Late        map[string]int64 // by stream, whatever became of them
	LateBy      map[LateCount]int64
	Duplicates  map[string]int64     // by stream; of conflicting versions of an event, those that lost
	Lateness    map[string]*Lateness // by stream
	Rejected    map[string]int64     // by reason
	Rows        map[RowKind]int64
	Corrections map[Correction]int64
	Written     map[Output]int64 // records of output topics

	Stage      string // what is done before the processors run, or instead; "": they run
	Processors []ProcessorSnapshot
}

// NewStats returns the Stats of a run, or replay, of the plan.
func NewStats(plan *rules.Plan) *Stats {
	s := &Stats{counts: newCounts(len(plan.Streams)), stage: "starting"}
	for _, stream := range plan.Streams {
		s.streams = append(s.streams, stream.Name)
	}
	return s
}

func newCounts(streams int) counts {
	return counts{
		streams:     make([]streamCounts, streams),
		rejected:    map[string]int64{},
		rows:        map[RowKind]int64{},
		corrections: map[Correction]int64{},
		written:     map[Output]int64{},
	}
}

// Snapshot returns what is known now.
func (s *Stats) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := Snapshot{
		Accepted:    map[string]int64{},
		Late:        map[string]int64{},
		LateBy:      map[LateCount]int64{},
		Duplicates:  map[string]int64{},
		Lateness:    map[string]*Lateness{},
		Rejected:    maps.Clone(s.counts.rejected),
		Rows:        maps.Clone(s.counts.rows),
		Corrections: maps.Clone(s.counts.corrections),
		Written:     maps.Clone(s.counts.written),
		Stage:       s.stage,
	}
	for i, stream := range s.counts.streams {
		n.Accepted[s.streams[i]] = stream.accepted
		n.Late[s.streams[i]] = 0
		for k, action := range LateActions {
			n.Late[s.streams[i]] += stream.late[k]
			n.LateBy[LateCount{s.streams[i], action}] = stream.late[k]
		}
		n.Duplicates[s.streams[i]] = stream.duplicates
		n.Lateness[s.streams[i]] = &stream.behind
	}
	for _, p := range s.processors {
		n.Processors = append(n.Processors, p.snapshot())
	}
	return n
}

// Latency returns the times from a record's Kafka timestamp to the commit of what it caused.
func (s *Stats) Latency() *Latency { return &s.latency }

// Restore returns how many changelog records the assigned partitions have to load, and how many of them are still to come.
// Partitions that are in service already count, so the first does not fall before the next session.
func (s *Stats) Restore() (total, remaining int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processors {
		t, r := p.restore()
		total, remaining = total+t, remaining+r
	}
	return total, remaining
}

// enter says what is done before the processors run, or instead; "" that they run.
func (s *Stats) enter(stage string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stage
}

// processor returns what is known of a processor, which is known of from then on.
func (s *Stats) processor(name string) *ProcessorStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.processors, func(p *ProcessorStats) bool { return p.name == name })
	if i < 0 {
		i = len(s.processors)
		s.processors = append(s.processors, newProcessorStats(name))
	}
	return s.processors[i]
}

// tally returns new counters, whose counts join those of s with each call of commit.
func (s *Stats) tally() *tally {
	return &tally{stats: s, counts: newCounts(len(s.streams))}
}

// tally counts what becomes of records between two commits. It belongs to what owns the records: one partition's goroutine
// and, when that is at rest, the committer. So counting costs no more than adding.
type tally struct {
	stats *Stats
	counts
	changed bool
}

// arrived notes how far an event is behind the watermark.
func (t *tally) arrived(stream int, us int64) {
	t.streams[stream].behind.observe(us)
	t.changed = true
}

func (t *tally) accepted(stream int) {
	t.streams[stream].accepted++
	t.changed = true
}

func (t *tally) late(stream int, action string) {
	t.streams[stream].late[slices.Index(LateActions, action)]++
	t.changed = true
}

func (t *tally) duplicate(stream int) {
	t.streams[stream].duplicates++
	t.changed = true
}

func (t *tally) reject(reason string) {
	t.rejected[reason]++
	t.changed = true
}

func (t *tally) row(c *codecs.Credit, sign int) {
	t.rows[RowKind{c.Rule, c.Model, c.Class, sign}]++
	t.changed = true
}

func (t *tally) correction(rule, reason string) {
	t.corrections[Correction{rule, reason}]++
	t.changed = true
}

func (t *tally) output(rule, op string) {
	t.written[Output{rule, op}]++
	t.changed = true
}

// commit adds what was counted to the Stats and begins anew.
func (t *tally) commit() {
	if !t.changed {
		return
	}
	t.changed = false
	t.stats.mu.Lock()
	defer t.stats.mu.Unlock()
	all := &t.stats.counts
	for i := range t.streams {
		n := &t.streams[i]
		if *n == (streamCounts{}) { // a replay commits after each record
			continue
		}
		all.streams[i].accepted += n.accepted
		for k := range n.late {
			all.streams[i].late[k] += n.late[k]
		}
		all.streams[i].duplicates += n.duplicates
		all.streams[i].behind.add(&n.behind)
		*n = streamCounts{}
	}
	move(all.rejected, t.rejected)
	move(all.rows, t.rows)
	move(all.corrections, t.corrections)
	move(all.written, t.written)
}

// move adds the counts of one map to another and forgets them.
func move[K comparable](to, from map[K]int64) {
	if len(from) == 0 {
		return
	}
	for k, n := range from {
		to[k] += n
	}
	clear(from)
}
