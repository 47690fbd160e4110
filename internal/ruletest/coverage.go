package ruletest

import (
	"context"
	"fmt"

	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Covered is one thing that tests may reach.
type Covered struct {
	What    string `json:"what"`           // `rule "attributed": class PC`
	File    string `json:"file,omitempty"` // where the rules say it
	Line    int    `json:"line,omitempty"`
	Reached bool   `json:"reached"`
	Missing string `json:"missing,omitempty"` // what no test has, where it is not reached
}

// cover takes note of what a test has reached.
func (r *Runner) cover(o *observation) {
	if o == nil {
		return
	}
	note := func(of row) {
		r.reached[classItem(of.text("rule"), of.text("class"))] = true
		if of.text("sign") == "-1" {
			r.reached[correctionItem(of.text("rule"))] = true
		}
	}
	for _, s := range o.steps {
		for _, d := range s.deltas {
			note(d)
		}
	}
	for _, f := range o.final {
		note(f)
	}
	for _, f := range o.rejected {
		r.reached[rejectItem(f.text(rules.RecordStream), f.text(rules.RecordReason))] = true
	}
	for _, f := range o.late {
		r.reached[lateItem(f.text(rules.RecordStream))] = true
	}
	if o.duplicate {
		r.reached[duplicateItem] = true
	}
}

const duplicateItem = "an event that arrives twice"

func classItem(rule, class string) string     { return fmt.Sprintf("rule %q: class %s", rule, class) }
func correctionItem(rule string) string       { return fmt.Sprintf("rule %q: correction", rule) }
func rejectItem(stream, reason string) string { return fmt.Sprintf("stream %q: %s", stream, reason) }
func lateItem(stream string) string           { return fmt.Sprintf("stream %q: late", stream) }

// Coverage tells what the tests that were run have reached: classes, corrections and ways in which records are refused, by having
// occurred; and what the rules need not say, by whether some test fails without it. tests are those to try that with. tablesOf opens the
// tables of a plan.
func (r *Runner) Coverage(ctx context.Context, tests []*rules.Test, tablesOf func(*rules.TestFile) ([]*tables.Dimension, error)) ([]Covered, error) {
	var list []Covered
	occurs := func(item, missing string) {
		c := Covered{What: item, Reached: r.reached[item]}
		if !c.Reached {
			c.Missing = missing
		}
		list = append(list, c)
	}
	for _, s := range r.plan.Streams {
		const refused = "no test has such a record"
		if s.Where != nil {
			occurs(rejectItem(s.Name, "filtered"), refused)
		}
		if s.MaxAge > 0 {
			occurs(rejectItem(s.Name, "over_age"), refused)
		}
		occurs(rejectItem(s.Name, "future_time"), refused)
		occurs(lateItem(s.Name), "no test has a late event of it")
	}
	for _, rule := range r.plan.Rules {
		for _, c := range rule.Classes {
			occurs(classItem(rule.Name, c.Name), "no test has a row of it")
		}
		if rule.Unattributed {
			occurs(classItem(rule.Name, "none"), "no test has a row of it")
		}
		occurs(correctionItem(rule.Name), "no test has a row taken back")
	}
	occurs(duplicateItem, "no test has one")
	options, err := r.file.Options()
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		c := Covered{What: o.Name, File: o.File, Line: o.Line}
		if c.Reached, err = r.noticed(ctx, o, tests, tablesOf); err != nil {
			return nil, err
		}
		if !c.Reached {
			c.Missing = "no test fails without it"
		}
		list = append(list, c)
	}
	return list, nil
}

// noticed tells whether a test fails, or cannot be compiled, without an option.
func (r *Runner) noticed(ctx context.Context, o rules.Option, tests []*rules.Test, tablesOf func(*rules.TestFile) ([]*tables.Dimension, error)) (bool, error) {
	without, err := r.file.Without(o)
	if err != nil {
		return true, nil
	}
	dims, err := tablesOf(without)
	if err != nil {
		return false, err
	}
	other := NewRunner(without, dims)
	named := map[string]*rules.Test{}
	for _, t := range without.Tests {
		named[t.Name] = t
	}
	for _, t := range tests {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		t, order := named[t.Name], written(t)
		o, err := other.observe(t, order)
		if err != nil {
			return false, err
		}
		failures, err := other.judge(t, o, order)
		if err != nil || len(failures) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}
