package processors

import (
	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Reasons of deltas. They are part of the message format.
const (
	deltaAttributed   = "attributed"
	deltaUnattributed = "unattributed"
	deltaCorrected    = "corrected"
	deltaRefund       = "refund"
	deltaInvalidated  = "invalidated"
)

// changeReason is why a conversion's rows change because of an event.
func changeReason(r *rules.Rule, cause codecs.Row) string {
	for _, t := range r.Takings {
		switch {
		case !t.Takes(cause):
		case t.Refund:
			return deltaRefund
		default:
			return deltaInvalidated
		}
	}
	return deltaCorrected
}

// change emits the difference between a conversion's rows as they were and as they are. Both are in the order of rows. own tells that, if the
// cause is a conversion, it is this one.
func (p *partition) change(r *rules.Rule, before, after []*codecs.Credit, own bool, version uint64, cause codecs.Row, raw *Raw) {
	if p.interval != nil {
		before, after = p.interval.of(before), p.interval.of(after)
		if own && len(before) == 0 && len(after) == 0 {
			p.clear(r, version, cause, raw)
		}
	}
	isNew := len(before) == 0
	changed := changeReason(r, cause)
	for _, m := range r.Models {
		var old, now []*codecs.Credit
		old, before = cutModel(before, m.Name)
		now, after = cutModel(after, m.Name)
		p.pairs = pairRows(p.pairs[:0], m, old, now)
		for _, pair := range p.pairs {
			if p.changed != nil {
				p.changed(r, pair.before, pair.after)
			}
			if pair.before != nil {
				p.tally.correction(r.Name, changed)
				p.delta(r, pair.before, -1, changed, cause, raw)
			}
		}
		for _, pair := range p.pairs {
			switch c := pair.after; {
			case c == nil:
			case !isNew:
				p.delta(r, c, 1, changed, cause, raw)
			case c.Class == codecs.NoClass:
				p.delta(r, c, 1, deltaUnattributed, cause, raw)
			default:
				p.delta(r, c, 1, deltaAttributed, cause, raw)
			}
		}
		for _, pair := range p.pairs {
			if pair.after == nil {
				p.upsert(r, pair.before, codecs.OpDelete, version, raw)
			}
		}
		for _, pair := range p.pairs {
			if pair.after != nil {
				p.upsert(r, pair.after, codecs.OpUpsert, version, raw)
			}
		}
	}
}

func (p *partition) delta(r *rules.Rule, c *codecs.Credit, sign int, reason string, cause codecs.Row, raw *Raw) {
	p.tally.row(c, sign)
	if !r.Deltas {
		return
	}
	id := codecs.DeltaID(c, sign, p.plan.Streams[cause.Stream()].Content(cause))
	value, err := codecs.AppendDelta(make([]byte, 0, 512), c, sign, reason, id)
	p.output(r, c, r.Into+".deltas", OpDelta, value, err, raw)
}

func (p *partition) upsert(r *rules.Rule, c *codecs.Credit, op string, version uint64, raw *Raw) {
	if !r.Upserts {
		return
	}
	value, err := codecs.AppendUpsert(make([]byte, 0, 512), c, op, version, op == codecs.OpDelete, r.Hash)
	p.output(r, c, r.Into, op, value, err, raw)
}

// output emits a row to the partition of its conversion. A row that cannot be written exactly is a reject.
func (p *partition) output(r *rules.Rule, c *codecs.Credit, topic, op string, value []byte, err error, raw *Raw) {
	if err != nil {
		why := codecs.Rejectf(codecs.ReasonOutOfRange, "%v", err)
		p.tally.reject(why.Reason)
		p.emit(rejected(p.plan.App, raw, why, r.Name))
		return
	}
	p.tally.output(r.Name, op)
	p.emit(codecs.Record{
		Topic: topic, Partition: -1, Value: value,
		Key:         codecs.AppendRowKey(nil, c),
		PartitionBy: codecs.AppendText(nil, c.Conversion),
	})
}
