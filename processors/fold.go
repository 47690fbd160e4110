package processors

import (
	"bytes"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// recounted is a rule with rules.Counting under which the event at hand may change which conversions count.
//
// What a conversion has then depends on others, so more is evaluated before and after the event than what it can reach: all conversions from
// the first that it reaches on, those that this one could keep from counting, and, unseen, those that decide about them.
type recounted struct {
	rule  *rules.Rule
	since codecs.Row // the first conversion that the event reaches, or is
	alone bool       // it is the event, and nothing that is there is after it or can change by it
	from  int64      // conversions before have no say
	shown int64      // those before are not changed

	before *recount
}

// recount is one count of a key's conversions.
type recount struct {
	order []string // ids
	rows  map[string][]*codecs.Credit
	lost  map[string]lostTouch // by the id of the touch's mark
}

// lostTouch is a touch that is out, and the conversion that it lost.
type lostTouch struct{ touch, by codecs.Row }

// recountOf prepares a rule's count for an event, and says whether there is anything to count.
func (p *partition) recountOf(r *rules.Rule, row, old codecs.Row, h *tables.History) (recounted, bool) {
	c := recounted{rule: r}
	if row.Stream() == r.Conversion {
		c.since = row
		if old != nil && old.Compare(row) < 0 {
			c.since = old
		}
		c.alone = old == nil && h.Latest(r.Conversion) < row.Time()
	}
	first := earliest{row: c.since}
	p.reachRow(r, row, h, &first)
	if old != nil {
		p.reachRow(r, old, h, &first)
	}
	if first.row == nil {
		return c, false
	}
	c.alone = c.alone && first.row.Compare(row) == 0
	c.since = first.row
	c.shown, c.from = r.Affected(c.since.Time())
	c.alone = c.alone && c.shown == c.since.Time()
	return c, true
}

// earliest keeps the first of the rows in the total order.
type earliest struct{ row codecs.Row }

func (e *earliest) Visit(row codecs.Row) bool {
	if e.row == nil || row.Compare(e.row) < 0 {
		e.row = bytes.Clone(row)
	}
	return true
}

// countBefore counts before the event is in the history.
func (p *partition) countBefore(c *recounted, h *tables.History) error {
	if c.alone {
		c.before = &recount{}
		return nil
	}
	var err error
	c.before, err = p.count(c, nil, h)
	return err
}

// countAfter counts again with the event, emits what differs and remembers who is out.
func (p *partition) countAfter(c *recounted, h *tables.History, version uint64, cause codecs.Row, raw *Raw) error {
	after, err := p.count(c, c.since, h)
	own := "" // no id is empty
	if cause.Stream() == c.rule.Conversion {
		own = string(cause.ID())
	}
	for _, id := range c.before.order {
		if _, still := after.rows[id]; !still {
			p.change(c.rule, c.before.rows[id], nil, id == own, version, cause, raw)
		}
	}
	for _, id := range after.order {
		p.change(c.rule, c.before.rows[id], after.rows[id], id == own, version, cause, raw)
	}
	if c.rule.Retires() {
		p.retire(c, after, h)
	}
	return err
}

// count counts a rule's conversions. Those from since on are counted anew, the others by what is remembered.
func (p *partition) count(c *recounted, since codecs.Row, h *tables.History) (*recount, error) {
	of := &recount{rows: map[string][]*codecs.Credit{}, lost: map[string]lostTouch{}}
	counted, failed := p.eval.Count(c.rule, h, c.from, since, marksOf{p, h})
	for i := range counted {
		conv := &counted[i]
		if conv.Conversion.Compare(c.since) >= 0 {
			for _, touch := range conv.Lost {
				if id := markID(c.rule, touch); of.lost[id].touch == nil {
					of.lost[id] = lostTouch{bytes.Clone(touch), bytes.Clone(conv.Conversion)}
				}
			}
		}
		if conv.Conversion.Time() < c.shown {
			continue
		}
		rows, err := p.countedRows(c.rule, conv, h)
		if failed == nil {
			failed = err
		}
		id := string(conv.Conversion.ID())
		of.order = append(of.order, id)
		of.rows[id] = rows
	}
	return of, failed
}

// countedRows returns the rows of a conversion that has been counted.
func (p *partition) countedRows(r *rules.Rule, c *rules.Counted, h *tables.History) ([]*codecs.Credit, error) {
	var found []rules.Candidate
	var failed error
	switch {
	case c.Winner.Class == nil || c.Silent != "":
	case len(r.Models) == 1 && r.Models[0].Kind == rules.Last:
		found = []rules.Candidate{c.Winner}
	default:
		found, failed = p.eval.Candidates(r, c.Conversion, h)
	}
	return p.divide(r, c.Conversion, found, c.Terms, failed)
}

// markStream is the stream under which a history remembers the touches that are out, behind the plan's. Such a row has the time of the touch,
// so that it leaves with it, and holds the conversion that the touch lost.
func markStream(plan *rules.Plan) int { return len(plan.Streams) }

// retires tells whether a rule of the key takes touches out.
func retires(key *rules.Key) bool { return slices.ContainsFunc(key.Rules, (*rules.Rule).Retires) }

// markID is the id of the row that remembers a touch for a rule.
func markID(r *rules.Rule, touch codecs.Row) string {
	return r.Name + "\x00" + touch.Identity()
}

// marksOf reads what a history remembers of the touches that are out.
type marksOf struct {
	p *partition
	h *tables.History
}

// By returns the conversion that a touch lost.
func (m marksOf) By(r *rules.Rule, touch codecs.Row) codecs.Row {
	row := m.h.Get(markStream(m.p.plan), codecs.AppendValue(nil, codecs.StringValue(markID(r, touch))))
	if row == nil {
		return nil
	}
	return codecs.Row(row.Value(0).Str)
}

// retire brings what the history remembers up to what was counted. What a conversion took out before the first that was counted anew was offered
// to none that was, and stays.
func (p *partition) retire(c *recounted, after *recount, h *tables.History) {
	stream := markStream(p.plan)
	for id, lost := range c.before.lost {
		if _, still := after.lost[id]; !still {
			after.lost[id] = lostTouch{touch: lost.touch}
		}
	}
	for id, lost := range after.lost {
		encoded := codecs.AppendValue(nil, codecs.StringValue(id))
		if known := h.Get(stream, encoded); known != nil {
			if by := codecs.Row(known.Value(0).Str); lost.by != nil && by.Compare(lost.by) == 0 && known.Time() == lost.touch.Time() {
				continue
			}
			h.Remove(stream, encoded)
		}
		if lost.by == nil {
			continue
		}
		by := codecs.AppendRow(nil, &codecs.Event{Stream: lost.by.Stream(), Time: lost.by.Time(), ID: lost.by.IDValue()}, 0)
		h.Insert(codecs.AppendRow(nil, &codecs.Event{Stream: stream, Time: lost.touch.Time(), ID: codecs.StringValue(id),
			Fields: []codecs.Value{{Kind: codecs.Bytes, Str: string(by)}}}, 1))
	}
}

// forget drops what the history remembers of a touch.
func (p *partition) forget(h *tables.History, touch codecs.Row) {
	for _, r := range p.key.Rules {
		if r.Retires() {
			h.Remove(markStream(p.plan), codecs.AppendValue(nil, codecs.StringValue(markID(r, touch))))
		}
	}
}

// markShape says how long marks are kept: as long as the touches.
func markShape(plan *rules.Plan, key *rules.Key) tables.StreamShape {
	shape := tables.StreamShape{Used: true, Fields: 1, Paths: [][]int{{}}}
	for _, rank := range key.Streams {
		shape.Keep = max(shape.Keep, key.Retention[rank]+key.Lateness)
	}
	return shape
}
