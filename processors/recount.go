package processors

import (
	"maps"
	"math"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Recount is the batch answer: the rules' rows over a set of records, by definition (rules.Naive) and in no order. What
// the stream's net is held against. It keeps every row in memory and is not safe for concurrent use.
type Recount struct {
	plan      *rules.Plan
	cleansers []*cleanser
	rows      []map[string][]codecs.Row // by index of plan.Keys, by key
	event     codecs.Event
}

// NewRecount returns a recount without records. dims are by index of plan.Tables.
func NewRecount(plan *rules.Plan, dims []*tables.Dimension) *Recount {
	r := &Recount{plan: plan}
	for _, s := range plan.Streams {
		r.cleansers = append(r.cleansers, newCleanser(plan, s, dims))
	}
	for range plan.Keys {
		r.rows = append(r.rows, map[string][]codecs.Row{})
	}
	return r
}

// Add takes a record of the stream with that rank. What the stream would reject counts nothing; what it found late must
// not be added.
func (r *Recount) Add(stream int, raw *Raw) { r.add(stream, raw, math.MinInt64) }

// AddAccepted takes a record that the stream found late and accepted for conversions from a time on, as AcceptedFrom says.
func (r *Recount) AddAccepted(stream int, raw *Raw, from int64) { r.add(stream, raw, from) }

func (r *Recount) add(stream int, raw *Raw, from int64) {
	ev := &r.event
	if r.cleansers[stream].clean(raw, ev) != nil {
		return
	}
	row := codecs.AppendRow(nil, ev, r.plan.Streams[stream].Kept)
	if from != math.MinInt64 {
		row = r.plan.Streams[stream].AppendAccepted(nil, row, from)
	}
	for i, k := range r.plan.Keys {
		if !slices.Contains(k.Streams, stream) {
			continue
		}
		if key, why := keyOf(nil, k, ev); why == nil {
			r.rows[i][string(key)] = append(r.rows[i][string(key)], row)
		}
	}
}

// Rows calls yield with every row, in no order.
func (r *Recount) Rows(yield func(rule *rules.Rule, c *codecs.Credit)) error {
	eval := rules.NewEvaluator(r.plan)
	for i, k := range r.plan.Keys {
		for rows := range maps.Values(r.rows[i]) {
			for _, rule := range k.Rules {
				for _, o := range rules.Naive(r.plan, rule, rows) {
					for j, m := range rule.Models {
						rendered, err := appendRows(nil, r.plan, eval, rule, m, o.Conversion, o.Parts[j], o.Terms)
						if err != nil {
							return err
						}
						for _, c := range rendered {
							yield(rule, c)
						}
					}
				}
			}
		}
	}
	return nil
}
