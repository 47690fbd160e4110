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

// of returns a conversion's rows if it is in the interval, none otherwise.
func (i *interval) of(rows []*codecs.Credit) []*codecs.Credit {
	if len(rows) == 0 || !i.contains(rows[0].EventTime) {
		return nil
	}
	return rows
}

// clear emits a delete for a conversion of the interval that comes in and has no row: under the rules as they were it may have
// had one, which nothing else would take back.
func (p *partition) clear(r *rules.Rule, version uint64, cause codecs.Row, raw *Raw) {
	if r.IsRefund(cause) || !p.interval.replaces || cause.Stream() != r.Conversion || !p.interval.contains(cause.Time()) {
		return
	}
	// What an expression fails on is reported with rows that count.
	for _, m := range r.Models {
		row, _ := nobody(p.eval, r, m, cause)
		p.upsert(r, row, codecs.OpDelete, version, raw)
	}
}
