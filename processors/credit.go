package processors

import (
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// wholeCredit is one conversion in micro-credits.
const wholeCredit = 1_000_000

// Reasons of deltas. They are part of the message format.
const (
	deltaAttributed   = "attributed"
	deltaUnattributed = "unattributed"
	deltaCorrected    = "corrected"
)

// credit returns the row of a conversion under a rule, nil where the rule has none for it. An error is an expression's;
// the row is right all the same.
func (p *partition) credit(r *rules.Rule, conv codecs.Row, h rules.History) (*codecs.Credit, error) {
	w, err := p.eval.Winner(r, conv, h)
	w.Tuple.Conversion = conv
	c, err2 := buildCredit(p.plan, p.eval, r, &w)
	if err == nil {
		err = err2
	}
	return c, err
}

// buildCredit renders a winner.
func buildCredit(plan *rules.Plan, e *rules.Evaluator, r *rules.Rule, w *rules.Winner) (*codecs.Credit, error) {
	if w.Class == nil && !r.Unattributed {
		return nil, nil
	}
	return renderCredit(plan, e, r, w)
}

// renderCredit renders a winner, also one that the rule has no row for.
func renderCredit(plan *rules.Plan, e *rules.Evaluator, r *rules.Rule, w *rules.Winner) (*codecs.Credit, error) {
	conv := w.Tuple.Conversion
	c := &codecs.Credit{Rule: r.Name, Model: r.Model, Conversion: conv.IDValue(), Class: codecs.NoClass, EventTime: conv.Time()}
	if w.Class != nil {
		c.Class, c.Credit = w.Class.Name, wholeCredit
		c.TouchID, c.Touch = w.Tuple.Touch.IDValue(), plan.Streams[w.Tuple.Touch.Stream()].Name
	}
	var failed error
	columns := func(list []rules.Column) []codecs.NamedValue {
		values := make([]codecs.NamedValue, len(list))
		for i := range list {
			v, err := e.Value(&list[i], &w.Tuple)
			if failed == nil {
				failed = err
			}
			values[i] = codecs.NamedValue{Name: list[i].Name, Value: v}
		}
		return values
	}
	c.Select, c.Measure = columns(r.Select), columns(r.Measure)
	for i := range c.Measure {
		if c.Measure[i].Value.IsNull() {
			c.Measure[i].Value = codecs.IntValue(0) // additive: nothing to add
		}
	}
	return c, failed
}

// sameCredit tells whether two rows say the same.
func sameCredit(a, b *codecs.Credit) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Class == b.Class && a.Touch == b.Touch && a.TouchID == b.TouchID && a.EventTime == b.EventTime &&
		slices.Equal(a.Select, b.Select) && slices.Equal(a.Measure, b.Measure)
}

// change emits the difference between a conversion's row as it was and as it is.
func (p *partition) change(r *rules.Rule, before, after *codecs.Credit, version uint64, cause codecs.Row, raw *Raw) {
	if p.interval != nil {
		before, after = p.interval.of(before), p.interval.of(after)
		if before == nil && after == nil {
			p.clear(r, version, cause, raw)
		}
	}
	if sameCredit(before, after) {
		return
	}
	if p.changed != nil {
		p.changed(r, before, after)
	}
	if before != nil {
		p.tally.correction(r.Name)
		p.delta(r, before, -1, deltaCorrected, cause, raw)
	}
	switch {
	case after == nil:
		p.upsert(r, before, codecs.OpDelete, version, raw)
		return
	case before != nil:
		p.delta(r, after, 1, deltaCorrected, cause, raw)
	case after.Class == codecs.NoClass:
		p.delta(r, after, 1, deltaUnattributed, cause, raw)
	default:
		p.delta(r, after, 1, deltaAttributed, cause, raw)
	}
	p.upsert(r, after, codecs.OpUpsert, version, raw)
}

func (p *partition) delta(r *rules.Rule, c *codecs.Credit, sign int, reason string, cause codecs.Row, raw *Raw) {
	p.tally.row(r.Name, c.Class, sign)
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
		Key:         codecs.AppendRowKey(nil, r.Name, r.Model, c.Conversion),
		PartitionBy: codecs.AppendText(nil, c.Conversion),
	})
}
