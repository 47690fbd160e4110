package main

import (
	"fmt"
	"maps"
	"slices"
)

// check is called when the app has dealt with all input and all of its output was taken over. It holds what came since the
// last check against the definition, and begins the next round.
func (o *oracle) check() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fileRefusals()
	o.settleInputs()
	for rule, s := range schemes {
		o.checkRule(rule, s)
	}
	o.forget()
	o.deltaIDs = [2]map[string]place{{}, o.deltaIDs[0]}
	o.round++
}

// fileRefusals files late and rejected records with the input records that they stand for.
func (o *oracle) fileRefusals() {
	for _, r := range o.refused {
		in := o.find(r.from)
		switch {
		case in == nil:
			o.differ("%s stands for %s, which was dealt with before or does not exist", r.at, r.from)
		case r.at.topic == lateTopic:
			in.late++
			o.counts.Late++
		default:
			in.rejected = append(in.rejected, r.reject)
			o.counts.Rejected++
		}
	}
	o.refused = nil
}

// settleInputs sees to it that every input record was accepted, late or rejected, and that once, and adds what was accepted
// to the histories.
func (o *oracle) settleInputs() {
	for _, s := range streams {
		for n, p := range o.inputs[s.topic] {
			for i, in := range p.records {
				o.settleInput(place{s.topic, int32(n), p.begin + int64(i)}, in)
			}
			if p.begin >= 0 {
				p.begin += int64(len(p.records))
			}
			p.records = nil
		}
	}
}

// punctual is how far an event may be behind its Kafka timestamp without any way of being late. The watermark is not beyond
// the timestamps of what was sent, and what is sent together differs by less than the rest.
const punctual = lateness - minute

func (o *oracle) settleInput(at place, in *input) {
	if in.event == nil {
		switch {
		case in.late > 0:
			o.differ("%s must be rejected (%s), and is late", at, in.reason)
		case len(in.rejected) != 1:
			o.differ("%s must be rejected once (%s), and is %d times: %v", at, in.reason, len(in.rejected), in.rejected)
		case in.rejected[0].reason != in.reason:
			o.differ("%s must be rejected as %s, and is as %s", at, in.reason, in.rejected[0].reason)
		}
		return
	}
	e := in.event
	switch {
	case len(in.rejected) > 0:
		o.differ("%s, %s %s, is an event, and is rejected: %v", at, e.stream.name, e.id, in.rejected)
	case in.late > 1:
		o.differ("%s, %s %s, is in the late topic %d times", at, e.stream.name, e.id, in.late)
	case in.late == 1 && e.sent-e.at < punctual:
		o.differ("%s, %s %s, is late, although it came in %d s after it happened", at, e.stream.name, e.id, (e.sent-e.at)/second)
	case in.late == 0:
		o.accept(at, e)
	}
}

// accept puts an event into its history, where of two with one id the earlier one counts.
func (o *oracle) accept(at place, e *event) {
	h := o.histories[e.stream.rule][e.key]
	if h == nil {
		h = &history{shown: map[string]*event{}, clicked: map[string]*event{}, converted: map[string]*event{}}
		o.histories[e.stream.rule][e.key] = h
	}
	h.seen = o.round
	events := []map[string]*event{shown: h.shown, clicked: h.clicked, converted: h.converted}[e.stream.role]
	have := events[e.id]
	switch {
	case have == nil || e.at < have.at:
		events[e.id] = e
	case have.sameContent(e):
		o.counts.Duplicates++
	case have.at == e.at:
		o.differ("%s: %s %s has two contents of one time, which this load does not make", at, e.stream.name, e.id)
	}
}

func (o *oracle) checkRule(rule int, s *scheme) {
	expected := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(o.histories[rule])) {
		for id, want := range s.answers(o.histories[rule][key]) {
			expected[id] = true
			o.checkConversion(rule, s, key, id, want)
		}
	}
	for id, a := range o.accounts[rule] {
		if !expected[id] {
			o.differ("rule %s has rows of conversion %s, which is not among the accepted ones\n%s", s.rule, id, a)
		}
	}
}

// checkConversion holds the rows of a conversion against the answer.
func (o *oracle) checkConversion(rule int, s *scheme, key, id string, want row) {
	a := o.accounts[rule][id]
	if a == nil {
		a = &account{}
	}
	explain := func(what string) {
		o.differ("rule %s, conversion %s of %s: %s\n    want %s\n%s", s.rule, id, key, what, want, a)
	}
	if want == (row{}) {
		if len(a.net) > 0 {
			explain("deltas are left over")
		}
		if a.last != (row{}) {
			explain("the last upsert is a row")
		}
		return
	}
	if len(a.net) != 1 || a.net[want] != 1 {
		explain(fmt.Sprintf("the net of the deltas is %v", a.net))
	}
	if a.last != want {
		explain("the last upsert is another row")
	}
}

// forget lets go of the keys for which nothing came in this round, and counts their conversions.
func (o *oracle) forget() {
	for rule := range schemes {
		for key, h := range o.histories[rule] {
			if h.seen == o.round {
				continue
			}
			for id := range h.converted {
				o.counts.book(o.accounts[rule][id])
				delete(o.accounts[rule], id)
			}
			delete(o.histories[rule], key)
		}
	}
}

// book counts a conversion that is over.
func (c *counts) book(a *account) {
	c.Conversions++
	if a != nil && a.last.credit > 0 {
		c.Credits++
	}
}

// all returns what was seen so far, with the conversions that are not forgotten yet.
func (o *oracle) all() counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.counts
	for rule := range schemes {
		for _, h := range o.histories[rule] {
			for id := range h.converted {
				all.book(o.accounts[rule][id])
			}
		}
	}
	return all
}

// found returns how many differences there are so far, and the first ones in words.
func (o *oracle) found() (int, []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.differences, slices.Clone(o.explained)
}
