package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// fromTopics looks into what Kafka holds.
func (q *inquiry) fromTopics(c *cobra.Command, f *whyFlags) error {
	if len(f.tables) > 0 {
		return usagef("--table: tables of topics are read as the app reads them; it is for files")
	}
	bar := newProgress(c.ErrOrStderr())
	config, err := f.run.config(c, q.plan, bar)
	if err != nil {
		return err
	}
	inspect := func(what string, o processors.InspectOptions) (gap string, err error) {
		begun := false
		o.Progress = func(_ string, done, total int64) {
			if !begun {
				begun = true
				bar.begin(what, "records", 0)
			}
			bar.update(done, total)
		}
		defer bar.end()
		return processors.Inspect(c.Context(), q.plan, config, o)
	}
	_, err = inspect("looking for "+q.id, processors.InspectOptions{
		Streams: func(rank int) bool {
			return slices.ContainsFunc(q.plan.Rules, func(r *rules.Rule) bool { return r.Conversion == rank })
		},
		Event: func(k *rules.Key, key []byte, row codecs.Row, _ *processors.Raw, _ processors.Observation) {
			q.lines++
			q.identify(k, key, row)
		},
		Refused: func(stream int, raw *processors.Raw, why *codecs.Reject) {
			q.lines++
			q.refusal(stream, raw, why.Message)
		},
	})
	if err != nil {
		return err
	}
	if len(q.found) == 0 {
		return q.unknown()
	}
	from := q.found[0].Conversion.Time()
	for _, found := range q.found {
		from = min(from, found.Conversion.Time())
	}
	written := writtenRows{q: q, versions: map[string]uint64{}, sums: map[string]int{}}
	gap, err := inspect("reading", processors.InspectOptions{From: time.UnixMicro(from), Event: q.collect, Row: written.take})
	if err != nil {
		return err
	}
	if gap != "" {
		fmt.Fprintf(c.ErrOrStderr(), "some of what it needs is gone: %s\n", gap)
	}
	return nil
}

// collect takes an event of the conversion's key, or one of another that comes near.
func (q *inquiry) collect(k *rules.Key, key []byte, row codecs.Row, raw *processors.Raw, what processors.Observation) {
	f := q.at(k, key)
	if f == nil {
		q.near(k, key, row, raw)
		return
	}
	if _, known := f.Origins[string(row)]; known {
		return // sent twice
	}
	row = bytes.Clone(row)
	other := why.Placed{Row: row, Origin: raw.Origin}
	switch what {
	case processors.ObservedLate:
		f.Late = append(f.Late, other)
	case processors.ObservedRefused:
		f.Refused = append(f.Refused, other)
	case processors.ObservedInFlight:
		f.InFlight = append(f.InFlight, other)
	default:
		f.Rows = append(f.Rows, row)
		f.Origins[string(row)] = raw.Origin
	}
}

// writtenRows collects the rows of the conversion as they were written.
type writtenRows struct {
	q        *inquiry
	versions map[string]uint64 // of upserts, by topic and key
	sums     map[string]int    // of deltas, by rule and row
}

func (w *writtenRows) take(r *rules.Rule, at codecs.Origin, key []byte, row *codecs.WrittenRow) {
	if row.Conversion != w.q.id {
		return
	}
	for _, f := range w.q.found {
		if !slices.Contains(f.Key.Rules, r) {
			continue
		}
		if row.Sign == 0 {
			w.upsert(f, r, key, row)
		} else {
			w.delta(f, r, at, row)
		}
	}
}

// upsert keeps the row of the largest version.
func (w *writtenRows) upsert(f *foundKey, r *rules.Rule, key []byte, row *codecs.WrittenRow) {
	id := r.Into + "\x00" + string(key)
	if row.Version < w.versions[id] {
		return
	}
	w.versions[id] = row.Version
	if delete(f.final, id); !row.Deleted {
		f.final[id] = finalRow{r.Into, string(key), bytes.Clone(row.Said)}
	}
}

// delta notes a change, and where the rule writes deltas alone what they add up to.
func (w *writtenRows) delta(f *foundKey, r *rules.Rule, at codecs.Origin, row *codecs.WrittenRow) {
	var d why.Delta
	if json.Unmarshal(row.Said, &d) != nil {
		return
	}
	d.Sign = row.Sign
	written := time.UnixMicro(at.Timestamp).UTC().Format(time.RFC3339Nano)
	f.History = append(f.History, why.Changed{Rule: r.Name, Event: "written " + written, Origin: at, Deltas: []why.Delta{d}})
	if r.Upserts {
		return
	}
	id := r.Into + "\x00" + string(row.Said)
	if w.sums[id] += row.Sign; w.sums[id] == 0 {
		delete(f.final, id)
	} else {
		f.final[id] = finalRow{r.Into, "", bytes.Clone(row.Said)}
	}
}
