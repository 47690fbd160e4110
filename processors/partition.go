package processors

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// partition is one partition of the processor of one key: it takes cleansed events into the history of their key and
// emits what that changes in the rules' rows. It is not safe for concurrent use.
//
// An event's effect is the difference of two evaluations, before and after it is in the history, of the conversions
// that it can reach. Nothing else is kept: what was emitted for a conversion is what its winner was.
type partition struct {
	plan  *rules.Plan
	key   *rules.Key
	table *tables.Table
	emit  func(codecs.Record)
	tally *tally
	eval  *rules.Evaluator
	takes bool // something is taken back under the key's rules

	// changed, where it is set, is told of every change of a conversion's row; nil is no row.
	changed func(r *rules.Rule, before, after *codecs.Credit)

	// observed, where it is set, is told what becomes of every event.
	observed func(key []byte, row codecs.Row, raw *Raw, what Observation)

	interval *interval // of the conversions whose rows are emitted; nil: all

	given   []byte // the row of an event that came as one
	row     []byte // the same, where it was accepted late
	counts  []recounted
	reached []reached
	before  [][]*codecs.Credit
	pairs   []pair
}

// reached is a conversion that the event at hand may change, under one rule.
type reached struct {
	rule *rules.Rule
	old  codecs.Row // as it was; nil: not there
	row  codecs.Row // as it will be
}

// newPartition returns the processor over a table, which must be restored. emit takes over the records' slices.
func newPartition(plan *rules.Plan, key *rules.Key, t *tables.Table, emit func(codecs.Record), tally *tally) *partition {
	return &partition{plan: plan, key: key, table: t, emit: emit, tally: tally, eval: rules.NewEvaluator(plan), takes: takes(key)}
}

// shapeOf says what the table of a key keeps.
func shapeOf(plan *rules.Plan, key *rules.Key) tables.Shape {
	shape := tables.Shape{Streams: make([]tables.StreamShape, len(plan.Streams))}
	var layout []string
	for _, rank := range key.Streams {
		s := plan.Streams[rank]
		paths := make([][]int, len(key.Paths[rank]))
		for i, p := range key.Paths[rank] {
			paths[i] = p
		}
		shape.Streams[rank] = tables.StreamShape{
			Used: true, Fields: s.Kept, Paths: paths,
			Keep: key.Retention[rank] + key.Lateness,
		}
		var fields []string
		for i := range s.Kept {
			f := fieldOf(plan, s, i)
			fields = append(fields, f.Name+" "+f.TypeName())
		}
		layout = append(layout, fmt.Sprintf("%d %s(%s)", rank, s.Name, strings.Join(fields, ", ")))
	}
	if retires(key) {
		shape.Streams = append(shape.Streams, markShape(plan, key))
		layout = append(layout, "touches that are out")
	}
	shape.Layout = strings.Join(layout, "; ")
	return shape
}

// fieldOf returns what a slot holds; a stamp is named table.column.
func fieldOf(plan *rules.Plan, s *rules.Stream, slot int) codecs.Field {
	at := s.Slots[slot]
	switch {
	case slot == s.From:
		return codecs.Field{Name: "accepted_from", Type: codecs.Time}
	case at.Stamp == nil:
		return s.Declared[at.Field]
	}
	t := plan.Tables[at.Stamp.Table]
	f := t.Columns[at.Stamp.Column]
	f.Name = t.Name + "." + f.Name
	return f
}

// watermark is the time that the partition has reached, math.MinInt64 before the first.
func (p *partition) watermark() int64 { return p.table.Meta().Watermark }

// advance raises the watermark, which never falls, and lets go what no accepted event can need any more.
func (p *partition) advance(w int64) error {
	if err := p.table.Advance(w); err != nil {
		return fmt.Errorf("expiring state: %w", err)
	}
	return nil
}

// acceptEvent takes a cleansed event, whose key is given, as accept takes its row.
func (p *partition) acceptEvent(key []byte, ev *codecs.Event, raw *Raw) error {
	p.given = codecs.AppendRow(p.given[:0], ev, p.plan.Streams[ev.Stream].Kept)
	return p.accept(key, p.given, raw)
}

// accept takes the row of an event. Neither key nor row is kept. raw is the record that it came from; its Value is nil
// where the record went through a repartition topic without its original bytes. An error is one of the state store; the
// partition is then to be thrown away. What is wrong with the event becomes a late or rejected record instead.
func (p *partition) accept(key []byte, row codecs.Row, raw *Raw) error {
	rank, at := row.Stream(), row.Time()
	stream := p.plan.Streams[rank]
	w := p.watermark()
	p.tally.arrived(rank, lagOf(w, at))
	late := w != math.MinInt64 && at < w-stream.Lateness
	if late && !p.keeps(stream, at) {
		p.tooLate(key, row, raw)
		return nil
	}
	h, err := p.table.History(key)
	if err != nil {
		return err
	}
	old := h.Get(rank, row.ID())
	switch {
	case old != nil && stream.Corrects(row, old):
		if !p.correctable(stream, min(at, old.Time())) {
			p.correctsTooLate(key, row, old, raw)
			return h.Err()
		}
	case late && stream.Late != rules.LateKept:
		p.tooLate(key, row, raw)
		return h.Err()
	case !late:
	case old == nil:
		row = p.acceptLate(row, raw)
	case !bytes.Equal(stream.Content(old), stream.Content(row)):
		p.tooLate(key, row, raw) // or rows that are final could change
		return h.Err()
	}
	if old != nil {
		if bytes.Equal(old, row) || !stream.Precedes(row, old) {
			p.tally.duplicate(rank)
			p.observe(key, row, raw, ObservedDuplicate)
			return h.Err()
		}
		old = bytes.Clone(old)
	}
	p.tally.accepted(rank)
	p.observe(key, row, raw, ObservedAccepted)
	p.reach(h, row, old)
	failed := p.evaluateBefore(h)
	var excess map[string]bool
	if p.takes {
		excess = p.excessBefore(h, row)
	}
	version := p.table.Accept()
	if old != nil {
		h.Remove(rank, old.ID())
	}
	h.Insert(row)
	for i, r := range p.reached {
		after, err := p.rows(r.rule, r.row, h)
		if failed == nil && err != nil {
			failed = ruleError{r.rule, err}
		}
		p.change(r.rule, p.before[i], after, true, version, row, raw)
	}
	for i := range p.counts {
		if err := p.countAfter(&p.counts[i], h, version, row, raw); failed == nil && err != nil {
			failed = ruleError{p.counts[i].rule, err}
		}
	}
	if failed != nil {
		p.reject(row, raw, codecs.Rejectf(reasonExpression, "%v", failed), failed.(ruleError).rule.Name)
	}
	if p.takes {
		p.notices(h, row, raw, excess)
	}
	if err := p.bound(h, row, raw); err != nil {
		return err
	}
	return h.Err()
}

func (p *partition) observe(key []byte, row codecs.Row, raw *Raw, what Observation) {
	if p.observed != nil {
		p.observed(key, row, raw, what)
	}
}

// ruleError is an expression's failure, which does not stop the event: the expression counts as false, or null.
type ruleError struct {
	rule  *rules.Rule
	cause error
}

func (e ruleError) Error() string { return e.cause.Error() }

// reach collects the conversions whose rows the event may change: itself, or those that the touch can reach, as it was
// and as it will be.
func (p *partition) reach(h *tables.History, row, old codecs.Row) {
	p.reached, p.counts = p.reached[:0], p.counts[:0]
	for _, r := range p.key.Rules {
		if r.Counting != nil {
			if c, ok := p.recountOf(r, row, old, h); ok {
				p.counts = append(p.counts, c)
			}
			continue
		}
		c := collector{p: p, rule: r, from: len(p.reached)}
		if row.Stream() == r.Conversion {
			p.reached = append(p.reached, reached{r, old, row})
			c.from++
		}
		p.reachRow(r, row, h, &c)
		if old != nil {
			p.reachRow(r, old, h, &c)
		}
	}
}

type collector struct {
	p    *partition
	rule *rules.Rule
	from int
}

func (c *collector) Visit(row codecs.Row) bool {
	for _, have := range c.p.reached[c.from:] {
		if bytes.Equal(have.row, row) {
			return true
		}
	}
	row = bytes.Clone(row)
	c.p.reached = append(c.p.reached, reached{c.rule, row, row})
	return true
}

// evaluateBefore sets p.before to the rows of the reached conversions as they are.
func (p *partition) evaluateBefore(h *tables.History) error {
	p.before = p.before[:0]
	var failed error
	for _, r := range p.reached {
		var rows []*codecs.Credit
		if r.old != nil {
			var err error
			if rows, err = p.rows(r.rule, r.old, h); failed == nil && err != nil {
				failed = ruleError{r.rule, err}
			}
		}
		p.before = append(p.before, rows)
	}
	for i := range p.counts {
		if err := p.countBefore(&p.counts[i], h); failed == nil && err != nil {
			failed = ruleError{p.counts[i].rule, err}
		}
	}
	return failed
}

// reject emits a record to the topic of rejected, or late, events.
func (p *partition) reject(row codecs.Row, raw *Raw, why *codecs.Reject, rule string) {
	if why.Reason != reasonLate {
		p.tally.reject(why.Reason)
	}
	r := *raw
	if r.Value == nil {
		r.Value = p.render(row)
	}
	p.emit(rejected(p.plan.App, &r, why, rule))
}

// render writes the kept fields of a row as JSON, where the original bytes are not at hand.
func (p *partition) render(row codecs.Row) []byte {
	s := p.plan.Streams[row.Stream()]
	b := codecs.AppendJSONString([]byte{'{'}, s.Declared[s.ID].Name)
	b = codecs.AppendJSON(append(b, ':'), row.IDValue())
	b = codecs.AppendJSONString(append(b, ','), s.Declared[s.Time].Name)
	b = codecs.AppendJSON(append(b, ':'), codecs.TimeValue(row.Time()))
	for i := range s.Kept {
		b = codecs.AppendJSONString(append(b, ','), fieldOf(p.plan, s, i).Name)
		b = codecs.AppendJSON(append(b, ':'), row.Value(i))
	}
	return append(b, '}')
}
