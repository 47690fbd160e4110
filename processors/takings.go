package processors

import (
	"bytes"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Reasons of notices about events that take others back. The event itself is accepted, and counts for what it can.
const (
	reasonNoSuchEvent  = "no_such_event"  // what it takes back is not there, or not yet
	reasonRefundExcess = "refund_excess"  // it takes back more than was left
	reasonBadRefund    = "invalid_refund" // a reject: its value is not above 0
)

// reachRow visits the conversions that a row can change beside itself: those of which a touch may be a candidate, and those whose rows
// change with what it takes back.
func (p *partition) reachRow(r *rules.Rule, row codecs.Row, h *tables.History, v codecs.Visitor) {
	if row.Stream() != r.Conversion {
		p.eval.Reach(r, row, h, v)
	}
	for _, t := range r.Takings {
		if !t.Takes(row) {
			continue
		}
		target := h.Get(t.Target, row.AppendField(nil, t.Link))
		switch {
		case target == nil, target.Stream() == row.Stream() && bytes.Equal(target.ID(), row.ID()): // nothing takes back itself
		case t.Target == r.Conversion:
			v.Visit(bytes.Clone(target))
		default:
			p.eval.Reach(r, bytes.Clone(target), h, v)
		}
	}
}

// notices tells of what an event takes back that is not there. It comes after the event is in the history; excess is what was too much before.
func (p *partition) notices(h *tables.History, row codecs.Row, raw *Raw, excess map[string]bool) {
	told := map[*rules.Stream]bool{}
	for _, r := range p.key.Rules {
		for _, t := range r.Takings {
			stream := p.plan.Streams[t.Target]
			if !t.Takes(row) || told[stream] {
				continue
			}
			told[stream] = true
			target := h.Get(t.Target, row.AppendField(nil, t.Link))
			id := codecs.AppendText(nil, row.Value(t.Link))
			switch {
			case target == nil || t.Refund && r.IsRefund(target):
				p.reject(row, raw, codecs.Rejectf(reasonNoSuchEvent, "there is no %s %q with this key; should it still come within %s, this takes it back",
					stream.Name, id, rules.FormatDuration(r.AdjustWithin)), r.Name)
			case !r.Near(target, row):
				p.tally.late(row.Stream(), lateDiverted)
				p.reject(row, raw, codecs.Rejectf(reasonLate, "%s %q is of %s, %s apart; adjust_within is %s", stream.Name, id,
					stamp(target.Time()), lag(max(target.Time()-row.Time(), row.Time()-target.Time())), rules.FormatDuration(r.AdjustWithin)), r.Name)
			}
		}
	}
	p.eachExcess(h, row, func(r *rules.Rule, conv, refund codecs.Row) {
		if excess[refund.Identity()] {
			return
		}
		from := raw
		if !bytes.Equal(refund, row) {
			from = &Raw{Origin: codecs.Origin{Topic: p.plan.Streams[refund.Stream()].Topic, Partition: -1, Offset: -1, Timestamp: raw.Origin.Timestamp}}
		}
		p.reject(refund, from, codecs.Rejectf(reasonRefundExcess, "it takes back more than other refunds leave of %s %q",
			p.plan.Streams[conv.Stream()].Name, codecs.AppendText(nil, conv.IDValue())), r.Name)
	})
}

// excessBefore returns which refunds take back too much before the event is in the history; nil where none does.
func (p *partition) excessBefore(h *tables.History, row codecs.Row) (excess map[string]bool) {
	p.eachExcess(h, row, func(_ *rules.Rule, _, refund codecs.Row) {
		if excess == nil {
			excess = map[string]bool{}
		}
		excess[refund.Identity()] = true
	})
	return excess
}

// eachExcess visits the refunds that take back too much, of the conversion that the row is or takes back.
func (p *partition) eachExcess(h *tables.History, row codecs.Row, visit func(r *rules.Rule, conv, refund codecs.Row)) {
	told := map[int]bool{}
	for _, r := range p.key.Rules {
		if len(r.Takings) == 0 || told[r.Conversion] {
			continue
		}
		var conv codecs.Row
		if row.Stream() == r.Conversion && !r.IsRefund(row) {
			conv = row
		}
		for _, t := range r.Takings {
			if t.Refund && t.Takes(row) {
				conv = bytes.Clone(h.Get(t.Target, row.AppendField(nil, t.Link)))
			}
		}
		if conv == nil || p.eval.Out(r, conv, h) {
			continue
		}
		told[r.Conversion] = true
		refunds, _ := p.eval.Refunds(r, conv, h)
		for _, refund := range refunds {
			if refund.Excess {
				visit(r, conv, refund.Row)
			}
		}
	}
}

// takes tells whether anything is taken back under the rules of the key.
func takes(key *rules.Key) bool {
	for _, r := range key.Rules {
		if len(r.Takings) > 0 {
			return true
		}
	}
	return false
}
