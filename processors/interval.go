package processors

import (
	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// interval limits the rows that are emitted to those of conversions with an event time in [from, to), in microseconds.
// Everything else takes part as ever: as history.
type interval struct {
	from, to int64
	replaces bool // the rows replace others that nothing is known about
}

func (i *interval) contains(t int64) bool { return i.from <= t && t < i.to }

// of returns the row if its conversion is in the interval, nil otherwise.
func (i *interval) of(c *codecs.Credit) *codecs.Credit {
	if c == nil || !i.contains(c.EventTime) {
		return nil
	}
	return c
}

// clear emits a delete for a conversion of the interval that comes in and has no row: under the rules as they were it may have
// had one, which nothing else would take back.
func (p *partition) clear(r *rules.Rule, version uint64, cause codecs.Row, raw *Raw) {
	if !p.interval.replaces || cause.Stream() != r.Conversion || !p.interval.contains(cause.Time()) {
		return
	}
	// What an expression fails on is reported with rows that count.
	row, _ := renderCredit(p.plan, p.eval, r, &rules.Winner{Tuple: rules.Tuple{Conversion: cause}})
	p.upsert(r, row, codecs.OpDelete, version, raw)
}
