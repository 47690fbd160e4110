package processors

import (
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// rows returns the rows of a conversion under a rule. An error is an expression's; the rows are right all the same.
func (p *partition) rows(r *rules.Rule, conv codecs.Row, h rules.History) ([]*codecs.Credit, error) {
	if p.eval.Out(r, conv, h) {
		return nil, nil
	}
	found, failed := p.eval.Candidates(r, conv, h)
	_, terms := p.eval.Refunds(r, conv, h)
	return p.divide(r, conv, found, terms, failed)
}

// divide returns the rows of a conversion whose candidates are given. The error is the first one, failed before any of its own.
func (p *partition) divide(r *rules.Rule, conv codecs.Row, found []rules.Candidate, terms rules.Terms, failed error) ([]*codecs.Credit, error) {
	var rows []*codecs.Credit
	for _, m := range r.Models {
		parts, err := p.eval.Parts(m, found)
		if failed == nil {
			failed = err
		}
		rows, err = appendRows(rows, p.plan, p.eval, r, m, conv, parts, terms)
		if failed == nil {
			failed = err
		}
	}
	return rows, failed
}

// appendRows renders what a model gives of a conversion: a row for each part, or the row of nobody, unless the rule has none.
func appendRows(rows []*codecs.Credit, plan *rules.Plan, e *rules.Evaluator, r *rules.Rule, m *rules.Model, conv codecs.Row, parts []rules.Part, terms rules.Terms) ([]*codecs.Credit, error) {
	if len(parts) == 0 {
		if !r.Unattributed {
			return rows, nil
		}
		c, err := nobody(e, r, m, conv)
		return append(rows, c), err
	}
	var failed error
	weights := make([]uint64, len(parts))
	var total uint64
	for i := range parts {
		weights[i] = parts[i].Weight
		total += parts[i].Weight
	}
	credits := codecs.Split(codecs.WholeCredit, weights)
	from := len(rows)
	for i := range parts {
		part := &parts[i]
		c := newRow(r, m, conv)
		c.Class, c.Credit = part.Class.Name, int64(credits[i])
		if terms.Refunded && terms.Left == 0 {
			c.Credit = 0
		}
		c.TouchID, c.Touch = part.Tuple.Touch.IDValue(), plan.Streams[part.Tuple.Touch.Stream()].Name
		var err error
		if c.Select, err = columns(e, r.Select, &part.Tuple); failed == nil {
			failed = err
		}
		c.Measure = make([]codecs.NamedValue, len(r.Measure))
		rows = append(rows, c)
	}
	for k := range r.Measure {
		if err := measure(rows[from:], e, r, k, parts, weights, total, &terms); failed == nil {
			failed = err
		}
	}
	return rows, failed
}

// measure sets the k-th measure of the rows of one model. What the conversion has is divided; of what each touch has for itself it gets its
// part.
func measure(rows []*codecs.Credit, e *rules.Evaluator, r *rules.Rule, k int, parts []rules.Part, weights []uint64, total uint64, terms *rules.Terms) error {
	column := &r.Measure[k]
	var failed error
	value := func(t *rules.Tuple) codecs.Value {
		v, err := e.Value(column, t)
		if !terms.Capped.IsNull() && r.Counting.Cap.Measure == k {
			v, err = terms.Capped, nil
		}
		if terms.Refunded && err == nil && !v.IsNull() {
			v, err = remaining(v, terms)
		}
		if failed == nil {
			failed = err
		}
		if v.IsNull() {
			return codecs.IntValue(0) // additive: nothing to add
		}
		return v
	}
	set := func(c *codecs.Credit, v codecs.Value) {
		c.Measure[k] = codecs.NamedValue{Name: column.Name, Value: v}
	}
	switch {
	case len(rows) == 1:
		set(rows[0], value(&parts[0].Tuple))
	case r.OwnValue(column):
		for i, c := range rows {
			v, err := codecs.PartOfValue(value(&parts[i].Tuple), weights[i], total)
			if err != nil {
				return err
			}
			set(c, v)
		}
	default:
		shares, err := codecs.SplitValue(value(&parts[0].Tuple), weights)
		if err != nil {
			return err
		}
		for i, c := range rows {
			set(c, shares[i])
		}
	}
	return failed
}

// remaining is what refunds leave of a measure.
func remaining(v codecs.Value, terms *rules.Terms) (codecs.Value, error) {
	if terms.Left == 0 {
		return codecs.IntValue(0), nil
	}
	return codecs.PartOfValue(v, terms.Left, terms.Of)
}

// nobody renders the row of a conversion that no touch gets.
func nobody(e *rules.Evaluator, r *rules.Rule, m *rules.Model, conv codecs.Row) (*codecs.Credit, error) {
	c := newRow(r, m, conv)
	tuple := rules.Tuple{Conversion: conv}
	var failed error
	c.Select, failed = columns(e, r.Select, &tuple)
	for i := range r.Measure {
		c.Measure = append(c.Measure, codecs.NamedValue{Name: r.Measure[i].Name, Value: codecs.IntValue(0)})
	}
	return c, failed
}

func newRow(r *rules.Rule, m *rules.Model, conv codecs.Row) *codecs.Credit {
	return &codecs.Credit{Rule: r.Name, Model: m.Name, PerTouch: m.PerTouch(), Conversion: conv.IDValue(), Class: codecs.NoClass, EventTime: conv.Time()}
}

func columns(e *rules.Evaluator, list []rules.Column, t *rules.Tuple) ([]codecs.NamedValue, error) {
	values := make([]codecs.NamedValue, len(list))
	var failed error
	for i := range list {
		v, err := e.Value(&list[i], t)
		if failed == nil {
			failed = err
		}
		values[i] = codecs.NamedValue{Name: list[i].Name, Value: v}
	}
	return values, failed
}

// sameCredit tells whether two rows of one key say the same.
func sameCredit(a, b *codecs.Credit) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Class == b.Class && a.Touch == b.Touch && a.TouchID == b.TouchID && a.Credit == b.Credit && a.EventTime == b.EventTime &&
		slices.Equal(a.Select, b.Select) && slices.Equal(a.Measure, b.Measure)
}

// pair is a row as it was and as it is; nil is no row.
type pair struct{ before, after *codecs.Credit }

// cutModel cuts the rows of a model off the front.
func cutModel(rows []*codecs.Credit, model string) (of, rest []*codecs.Credit) {
	n := 0
	for n < len(rows) && rows[n].Model == model {
		n++
	}
	return rows[:n], rows[n:]
}

// pairRows appends what differs between the rows that a model has given a conversion and those that it gives it now, by their keys.
func pairRows(pairs []pair, m *rules.Model, before, after []*codecs.Credit) []pair {
	add := func(b, a *codecs.Credit) {
		if !sameCredit(b, a) {
			pairs = append(pairs, pair{b, a})
		}
	}
	if !m.PerTouch() {
		add(first(before), first(after))
		return pairs
	}
	type touch struct {
		stream string
		id     codecs.Value
	}
	now := make(map[touch]*codecs.Credit, len(after))
	for _, c := range after {
		now[touch{c.Touch, c.TouchID}] = c
	}
	for _, c := range before {
		key := touch{c.Touch, c.TouchID}
		add(c, now[key])
		delete(now, key)
	}
	for _, c := range after {
		if now[touch{c.Touch, c.TouchID}] != nil {
			add(nil, c)
		}
	}
	return pairs
}

// first returns the row of a conversion that has one at most.
func first(rows []*codecs.Credit) *codecs.Credit {
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}
