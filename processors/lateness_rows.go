package processors

import (
	"cmp"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// lateStep is a replay under more lateness, beside the plan's own.
type lateStep struct {
	more     int64
	plan     *rules.Plan
	changes  rowChanges     // of the event in hand
	accepted []int64        // late events, by rank
	again    int64          // late events that the history had
	differ   map[rowID]pair // rows that are others: as they are by the plan itself, and by the step
}

func newLateStep(plan *rules.Plan, more int64) *lateStep {
	return &lateStep{more: more, plan: plan.Later(more), changes: rowChanges{}, accepted: make([]int64, len(plan.Streams)), differ: map[rowID]pair{}}
}

// rowID names a row.
type rowID struct{ rule, key string }

// rowChanges are the rows that an event has changed.
type rowChanges map[rowID]pair

func (c rowChanges) note(r *rules.Rule, before, after *codecs.Credit) {
	c[rowID{r.Name, string(codecs.AppendRowKey(nil, cmp.Or(after, before)))}] = pair{before, after}
}

// settle takes what an event has changed by the plan itself, and by the step. A row that does not differ yet was the same in both.
func (s *lateStep) settle(own rowChanges) {
	for id, c := range own {
		step, changed := s.changes[id]
		if !changed {
			step.after = c.before
			if known, ok := s.differ[id]; ok {
				step.after = known.after
			}
		}
		s.hold(id, c.after, step.after)
	}
	for id, c := range s.changes {
		if _, done := own[id]; done {
			continue
		}
		before := c.before
		if known, ok := s.differ[id]; ok {
			before = known.before
		}
		s.hold(id, before, c.after)
	}
}

// hold remembers a row that differs, and forgets one that does not.
func (s *lateStep) hold(id rowID, own, step *codecs.Credit) {
	if sameCredit(own, step) {
		delete(s.differ, id)
		return
	}
	s.differ[id] = pair{own, step}
}

// touched tells whether a conversion has a touch, by the plan itself and by a step.
type touched struct{ own, step bool }

func (s *lateStep) report(plan *rules.Plan) LatenessStep {
	step := LatenessStep{More: time.Duration(s.more) * time.Microsecond, Seconds: float64(s.more) / 1e6, Accepted: map[string]int64{}, Again: s.again, Rules: []RuleLateness{}}
	for rank, n := range s.accepted {
		if firstKeyOf(plan, rank) >= 0 {
			step.Accepted[plan.Streams[rank].Name] = n
		}
	}
	for _, r := range plan.Rules {
		step.Rules = append(step.Rules, s.rule(r))
	}
	return step
}

// rule sums up what differs of a rule's rows.
func (s *lateStep) rule(r *rules.Rule) RuleLateness {
	out := RuleLateness{Rule: r.Name, Gained: []ClassGained{}}
	sums := map[[2]string]map[string]*exactSum{}
	conversions := map[codecs.Value]*touched{}
	for id, p := range s.differ {
		if id.rule != r.Name {
			continue
		}
		out.Rows++
		of := cmp.Or(p.before, p.after).Conversion
		if conversions[of] == nil {
			conversions[of] = &touched{}
		}
		c := conversions[of]
		take := func(row *codecs.Credit, times int64, has *bool) {
			if row == nil {
				return
			}
			*has = *has || row.Class != codecs.NoClass
			at := [2]string{row.Model, row.Class}
			if sums[at] == nil {
				sums[at] = map[string]*exactSum{}
			}
			addTo(sums[at], totalCredit, codecs.DecimalValue(row.Credit, creditScale), times)
			for _, m := range row.Measure {
				addTo(sums[at], m.Name, m.Value, times)
			}
		}
		take(p.before, -1, &c.own)
		take(p.after, 1, &c.step)
	}
	for _, c := range conversions {
		out.Changed++
		if c.step && !c.own {
			out.Attributed++
		}
	}
	for _, m := range r.Models {
		seen := map[string]bool{}
		for _, class := range r.Classes {
			at := sums[[2]string{m.Name, class.Name}]
			if at == nil || seen[class.Name] {
				continue
			}
			seen[class.Name] = true
			gained := ClassGained{Model: m.Name, Class: class.Name, Sums: map[string]string{}}
			for name, sum := range at {
				gained.Sums[name] = sum.String()
			}
			out.Gained = append(out.Gained, gained)
		}
	}
	return out
}
