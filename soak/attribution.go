package main

import (
	"cmp"
	"fmt"
	"strings"
)

// scheme is a rule of rules.yaml, as the oracle knows it.
type scheme struct {
	rule         string
	into         string
	clickWithin  int64 // the window of class PC
	viewWithin   int64 // the window of class PV
	maxGap       int64 // from an impression to its click
	decides      bool  // preset mediamath: the impression decides about a click, which may come after the conversion
	unattributed bool  // conversions without a touch are rows too
}

var schemes = []*scheme{
	{rule: "attributed", into: app + ".attributed", clickWithin: 2 * hour, viewWithin: hour, maxGap: 3 * hour, unattributed: true},
	{rule: "decided", into: app + ".decided", clickWithin: 45 * minute, viewWithin: hour, maxGap: 90 * minute, decides: true},
}

// event is an input record that is an event.
type event struct {
	stream   *stream
	id       string
	key      string
	at       int64 // event time, microseconds
	sent     int64 // Kafka timestamp, microseconds
	auction  string
	pixel    string
	campaign string
	value    int64 // millionths
}

// sameContent tells whether two events say the same, so that the second is a duplicate.
func (e *event) sameContent(o *event) bool {
	return e.at == o.at && e.auction == o.auction && e.pixel == o.pixel && e.campaign == o.campaign && e.value == o.value
}

// compare is the total order: by time, then by the stream's position in the rules file, then by id.
func compare(a, b *event) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.stream.role, b.stream.role), strings.Compare(a.id, b.id))
}

// row is the answer for a conversion. Its zero value is no row.
type row struct {
	conversion, touch, class string
	touchStream              string
	campaign                 string
	credit, at, revenue      int64 // micro-credits, microseconds, millionths
}

func (r row) String() string {
	if r == (row{}) {
		return "no row"
	}
	return fmt.Sprintf("%s %s %q credit %d campaign %q revenue %d at %d", r.class, r.touchStream, r.touch, r.credit, r.campaign, r.revenue, r.at)
}

// pair is a candidate: a touch and, for a click, the impression that it was made on.
type pair struct{ touch, parent *event }

// history is what happened under one key of one rule: of the accepted events, one of each id.
type history struct {
	shown, clicked, converted map[string]*event // by id
	seen                      int               // the last round in which something came in
}

// answer is what the rule says of a conversion, by its definition: every pair is tried.
func (s *scheme) answer(h *history, byAuction map[string][]*event, c *event) row {
	var best *pair
	for _, click := range h.clicked {
		for _, parent := range byAuction[click.auction] { // click.auction_id == impression.auction_id
			if p := (pair{click, parent}); s.clickFits(c, p) && (best == nil || s.beats(p, *best, true)) {
				best = &p
			}
		}
	}
	if best != nil {
		return s.row(c, "PC", best.touch, best.parent.campaign)
	}
	for _, view := range h.shown {
		if p := (pair{view, nil}); s.viewFits(c, view) && (best == nil || s.beats(p, *best, false)) {
			best = &p
		}
	}
	if best != nil {
		return s.row(c, "PV", best.touch, best.touch.campaign)
	}
	if s.unattributed {
		return row{conversion: c.id, class: "none", at: c.at}
	}
	return row{}
}

// viewFits tells whether an impression is a candidate of class PV.
func (s *scheme) viewFits(c, view *event) bool {
	return view.pixel == c.pixel && view.at < c.at && c.at-view.at <= s.viewWithin
}

// clickFits tells whether a click and its impression, which are of one auction, are a candidate of class PC.
func (s *scheme) clickFits(c *event, p pair) bool {
	click, parent := p.touch, p.parent
	if parent.pixel != c.pixel || parent.at >= c.at || click.at < parent.at || click.at-parent.at > s.maxGap {
		return false
	}
	if s.decides {
		return c.at-parent.at <= min(s.clickWithin, s.viewWithin)
	}
	return click.at < c.at && c.at-click.at <= s.clickWithin
}

// beats orders the candidates of a class: by the time from which its window counts, then by touch, then by parent.
func (s *scheme) beats(a, b pair, click bool) bool {
	if click && s.decides && a.parent.at != b.parent.at {
		return a.parent.at > b.parent.at
	}
	if order := compare(a.touch, b.touch); order != 0 || !click {
		return order > 0
	}
	return compare(a.parent, b.parent) > 0
}

func (s *scheme) row(c *event, class string, touch *event, campaign string) row {
	return row{
		conversion: c.id, class: class, touchStream: touch.stream.name, touch: touch.id, campaign: campaign,
		credit: 1_000_000, at: c.at, revenue: c.value,
	}
}

// answers returns the rows of all conversions of a history, by conversion id.
func (s *scheme) answers(h *history) map[string]row {
	byAuction := map[string][]*event{}
	for _, view := range h.shown {
		byAuction[view.auction] = append(byAuction[view.auction], view)
	}
	rows := make(map[string]row, len(h.converted))
	for id, c := range h.converted {
		rows[id] = s.answer(h, byAuction, c)
	}
	return rows
}
