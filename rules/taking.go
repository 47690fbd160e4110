package rules

import (
	"math/big"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Taking is a way of a stream to take back events: refunds take back what a conversion is worth, or a part of it; others take a touch or
// a conversion out of the set of events.
type Taking struct {
	Stream int  // whose events take back
	Target int  // stream of the events that are taken back; of refunds it may be Stream itself
	Refund bool // else the event is taken out
	Link   int  // slot of Stream with the id of the target; where it is absent nothing is taken back
	Valued bool // refunds: Value and Of are given; else all is taken back
	Value  int  // slot of Stream: how much is taken back; absent: all that is left
	Of     int  // slot of Target: how much there is
	Path   int  // access path of Stream by Link, of one key
}

// takingInfo is a Taking while it is compiled.
type takingInfo struct {
	by, target      *streamInfo
	refund          bool
	link, value, of int // indexes into Declared; -1: none
}

// takings reads `refund_of` and `invalidate` of all streams, once all are declared.
func (c *compiler) takings() {
	for _, s := range c.plan.Streams {
		info := c.streams[s.Name]
		for _, key := range []string{"refund_of", "invalidate"} {
			if v, ok := info.takes[key]; ok {
				if t := c.taking(info, v, key == "refund_of"); t != nil {
					c.takes = append(c.takes, t)
				}
			}
		}
	}
}

func (c *compiler) taking(by *streamInfo, v value, refund bool) *takingInfo {
	t := &takingInfo{by: by, refund: refund, link: -1, value: -1, of: -1}
	keys := []string{"stream", "id"}
	if refund {
		keys = append(keys, "value", "of")
		t.target = by
	}
	got := v.section(keys)
	if v.node.Kind != yaml.MappingNode {
		return nil
	}
	if name, ok := got["stream"]; ok {
		if t.target = c.stream(name); t.target == nil {
			return nil
		}
	}
	switch {
	case t.target == nil:
		v.errorf("stream is missing: the one whose events are taken out")
		return nil
	case t.target == by && !refund:
		got["stream"].errorf("%s cannot take out events of its own", by.stream.Name)
		return nil
	}
	id, ok := got["id"]
	if !ok {
		v.errorf("id is missing: the field with the id of the %s that is taken back", t.target.stream.Name)
		return nil
	}
	if t.target.broken || by.broken || t.target.stream.ID < 0 {
		return nil
	}
	kind := t.target.stream.Declared[t.target.stream.ID].Type
	if t.link = by.roleField(id, kind.String()+", as is the id of "+t.target.stream.Name, kind); t.link < 0 {
		return nil
	}
	if t.target == by && t.link == by.stream.ID {
		id.errorf("is the id of the record itself; a refund names the id of another")
		return nil
	}
	if value, ok := got["value"]; ok {
		if t.value = by.roleField(value, "int or decimal", codecs.Int, codecs.Decimal); t.value < 0 {
			return nil
		}
		of := value
		if given, ok := got["of"]; ok {
			of = given
		} else if name := by.stream.Declared[t.value].Name; !t.target.has(name) {
			value.errorf("%s has no field %q; say of which field this is a part: of", t.target.stream.Name, name)
			return nil
		}
		if t.of = t.target.roleField(of, "int or decimal", codecs.Int, codecs.Decimal); t.of < 0 {
			return nil
		}
		by.note(fieldRef(t.value), useKept)
		t.target.note(fieldRef(t.of), useKept)
	} else if of, ok := got["of"]; ok {
		of.errorf("is what value is a part of, and there is no value")
	}
	by.note(fieldRef(t.link), useKey)
	return t
}

func (info *streamInfo) has(field string) bool {
	_, has := info.fields[field]
	return has
}

// takes returns how events of the rule's own streams are taken back. Refunds are of its conversions.
func (r *ruleInfo) takes() (list []*takingInfo) {
	own := r.own()
	for _, t := range r.c.takes {
		if slices.Contains(own, t.target) && (!t.refund || t.target == r.conversion) {
			list = append(list, t)
		}
	}
	return list
}

// adjustWithin reads how long after an event, or before, it may be taken back.
func (r *ruleInfo) adjustWithin(got map[string]value) {
	r.rule.AdjustWithin = max(r.lookback, 0)
	v, ok := got["adjust_within"]
	if !ok {
		return
	}
	if us, ok := v.duration(); ok && us == 0 {
		v.errorf("must be longer than 0")
	} else if ok {
		r.rule.AdjustWithin = us
	}
	if r.sure && r.conversion != nil && !r.isTaken() {
		v.errorf("nothing takes back what this rule is about: no stream has refund_of or invalidate for its streams, and none of these has versions")
	}
}

// isTaken tells whether events that the rule is about may be taken back, or corrected by a later version.
func (r *ruleInfo) isTaken() bool {
	return len(r.takes()) > 0 || slices.ContainsFunc(r.own(), func(s *streamInfo) bool { return s.version >= 0 })
}

// resolveTakings fills in what the rule's events may be taken back by.
func (r *ruleInfo) resolveTakings(slots []map[ref]int) {
	for _, s := range r.own() {
		if s.version < 0 {
			continue
		}
		r.rule.versions = true
		// Under the rule that keeps for the shortest time all that a correction can change is there.
		if have := &r.rule.Key.Corrected[s.stream.Rank]; *have == 0 || r.rule.AdjustWithin < *have {
			*have = r.rule.AdjustWithin
		}
	}
	for _, t := range r.takes() {
		rank := t.by.stream.Rank
		taking := &Taking{Stream: rank, Target: t.target.stream.Rank, Refund: t.refund, Link: slots[rank][fieldRef(t.link)]}
		taking.Path = r.rule.Key.path(rank, Path{taking.Link})
		if t.value >= 0 {
			taking.Valued, taking.Value, taking.Of = true, slots[rank][fieldRef(t.value)], slots[taking.Target][fieldRef(t.of)]
		}
		r.rule.Takings = append(r.rule.Takings, taking)
	}
}

// adjusted is how long after a conversion its rows can change because something is taken back.
func (r *Rule) adjusted() int64 {
	if len(r.Takings) == 0 && !r.versions {
		return 0
	}
	return r.AdjustWithin
}

// Takes tells whether the row takes something back. A row of a conversion stream that does is no conversion.
func (t *Taking) Takes(row codecs.Row) bool {
	return row.Stream() == t.Stream && (t.Link < 0 || !codecs.IsNullValue(row.Field(t.Link)))
}

// IsRefund tells whether a row of the conversion stream is a refund.
func (r *Rule) IsRefund(row codecs.Row) bool {
	for _, t := range r.Takings {
		if t.Target == t.Stream && t.Takes(row) {
			return true
		}
	}
	return false
}

// Near tells whether two events are near enough for one to take back the other.
func (r *Rule) Near(a, b codecs.Row) bool {
	return max(a.Time()-b.Time(), b.Time()-a.Time()) <= r.AdjustWithin
}

// Terms are what a conversion has less than its touches give it.
type Terms struct {
	Capped   codecs.Value // what Counting.Cap leaves of its measure; Null: all
	Refunded bool         // Left of Of remain of each measure; where Left is 0 there is no credit either
	Left, Of uint64
}

// fraction returns the terms of a conversion of which such a part is left, in lowest terms; cut alike where the numbers are too large.
func fraction(part *big.Rat) Terms {
	num, denom := part.Num(), part.Denom()
	if num.Sign() == 0 {
		return Terms{Refunded: true, Of: 1}
	}
	cut := uint(max(denom.BitLen()-62, 0))
	return Terms{Refunded: true, Left: max(new(big.Int).Rsh(num, cut).Uint64(), 1), Of: new(big.Int).Rsh(denom, cut).Uint64()}
}

func (n *normal) takings(p *Plan, r *Rule) {
	if r.versions {
		n.line("versions", r.AdjustWithin)
	}
	for _, t := range r.Takings {
		n.line("taking", p.SlotName(t.Stream, t.Link), p.Streams[t.Target].Name, t.Refund, r.AdjustWithin)
		if t.Valued {
			n.line("of", p.SlotName(t.Stream, t.Value), p.SlotName(t.Target, t.Of))
		}
	}
}
