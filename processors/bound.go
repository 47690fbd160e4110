package processors

import (
	"bytes"
	"hash/fnv"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// boundEvery is how many events of a key come, on average, until its history is looked at again whether it is full; fewer where
// few touches make it full. The look needs all of the history, which the others may spare the disk.
const boundEvery = 1024

// looksForBound tells whether the event with that id is one after which the history is looked at. It is the same in every run.
func looksForBound(id []byte, limit int) bool {
	h := fnv.New64a()
	h.Write(id)
	return h.Sum64()>>32%uint64(min(limit/16+1, boundEvery)) == 0
}

// bound keeps the history of a hot key within Key.MaxTouches, about. Of the touches that hold no credit the oldest leave, a
// sixteenth more than must, so that the next events need not look for more; conversions, and the touches that hold their
// credit, stay. What leaves changes no row.
func (p *partition) bound(h *tables.History, row codecs.Row, raw *Raw) error {
	limit := p.key.MaxTouches
	if limit == 0 || !looksForBound(row.ID(), limit) || h.Len() <= limit {
		return nil
	}
	o := overflow{p: p, bounded: make([]bool, markStream(p.plan)+1), holders: map[string]bool{}}
	for _, s := range p.key.Streams {
		o.bounded[s] = true
	}
	for _, r := range p.key.Rules {
		o.bounded[r.Conversion] = false
		for _, t := range r.Takings {
			o.bounded[t.Stream] = false
		}
	}
	for s, bounded := range o.bounded {
		if bounded {
			o.excess += h.Count(s)
		}
	}
	if o.excess -= limit; o.excess <= 0 {
		return nil
	}
	o.excess += limit / 16
	hold := func(holder *rules.Candidate) {
		o.holders[holder.Touch.Identity()] = true
		if holder.Parent != nil {
			o.holders[holder.Parent.Identity()] = true
		}
	}
	for _, r := range p.key.Rules {
		if r.Counting != nil {
			p.eval.CountHolders(r, h, marksOf{p, h}, hold)
			continue
		}
		conversions := rowsOf{stream: r.Conversion}
		h.Ascend(&conversions)
		for _, conv := range conversions.rows {
			// What an expression fails on here was reported when the row was emitted.
			found, _ := p.eval.Candidates(r, conv, h)
			for _, holder := range p.eval.Holders(r, found) {
				hold(&holder)
			}
		}
	}
	p.holdParents(h, hold)
	h.Ascend(&o)
	for _, leaving := range o.leaving {
		h.Remove(leaving.Stream(), leaving.ID())
		p.forget(h, leaving)
		why := codecs.Rejectf(reasonMaxTouches, "the key has more than %d touches, and this is the oldest without credit", limit)
		p.tally.reject(why.Reason)
		from := Raw{Value: p.render(leaving), Origin: codecs.Origin{
			Topic: p.plan.Streams[leaving.Stream()].Topic, Partition: -1, Offset: -1, Timestamp: raw.Origin.Timestamp}}
		p.emit(rejected(p.plan.App, &from, why, ""))
	}
	if len(o.leaving) > 0 {
		h.Cap()
	}
	return nil
}

// overflow looks for the touches that leave a full history, oldest first.
type overflow struct {
	p       *partition
	bounded []bool // by stream
	excess  int
	holders map[string]bool
	leaving []codecs.Row
}

// Visit takes a row that may leave.
func (o *overflow) Visit(row codecs.Row) bool {
	if o.bounded[row.Stream()] && !o.holders[row.Identity()] {
		o.leaving = append(o.leaving, bytes.Clone(row))
	}
	return len(o.leaving) < o.excess
}

// holdParents holds the parents of touches that would count without: once they had left, such a touch would seem to have none.
func (p *partition) holdParents(h *tables.History, hold func(*rules.Candidate)) {
	for _, r := range p.key.Rules {
		if !r.Orphans {
			continue
		}
		var touches rowsOf
		for _, s := range p.key.Streams {
			if r.Parents[s] >= 0 {
				touches.stream = s
				h.Ascend(&touches)
			}
		}
		for _, touch := range touches.rows {
			p.eval.Tied(r, touch, h, func(parent codecs.Row) {
				hold(&rules.Candidate{Tuple: rules.Tuple{Touch: parent}})
			})
		}
	}
}
