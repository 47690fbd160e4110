package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

type whyFlags struct {
	rule, format string
	limit        int
	tables       map[string]string
	instances    []string // their addresses; none: topics or files are read
	token        string
	key          map[string]string
	run          runSettings
}

func newWhy() *cobra.Command {
	var f whyFlags
	c := &cobra.Command{
		Use:   "why RULES.yaml CONVERSION [EVENTS.jsonl...]",
		Short: "Explain which touch has the credit for a conversion, and why no other",
		Long: `Explain a conversion: the rows that it has; every touch of its key, and what it is to the conversion: credited, or what it loses to, or
what keeps it from being a candidate; touches of other keys that come near; events that were late; and how its rows came to be.

Without files it reads what Kafka holds: the sources, what was late and rejected, and the rows as they were written. It changes nothing
and may run beside the app. Looking for the conversion reads all of its topic, the rest only as far back as matters.

With files of events, as replay reads them, the rows are what a replay gives. Files are read twice, so standard input will not do.
Memory follows the events of one key.

With --http it asks a running instance, which answers at once from its state: what has not left it, and what is committed. What only topics
know it says to be unknown. Where several instances share the partitions, give --http for each: all are asked. With the fields of the
conversion's key (--key) it is looked up, without them the instance searches its histories. Where the server wants a token, it is that of
--token (which others on this machine can see), LOOKBACK_HTTP_TOKEN, LOOKBACK_HTTP_TOKEN_FILE or http.token of the rules file.`,
		Example: "  lookback why rules.yaml e1\n" +
			"  lookback why rules.yaml e1 --brokers kafka:9092 --format json\n" +
			"  lookback why rules.yaml e1 --http http://127.0.0.1:9464 --key user_id=u1 --key advertiser_id=a1\n" +
			"  lookback why rules.yaml e1 impressions.jsonl.gz clicks.jsonl.gz conversions.jsonl.gz",
		Args: arguments(2, math.MaxInt),
		RunE: func(c *cobra.Command, args []string) error {
			if f.format != "text" && f.format != "json" {
				return usagef("--format %s: use text or json", f.format)
			}
			if f.limit < 1 {
				return usagef("--limit %d: use at least 1", f.limit)
			}
			if slices.Contains(args[2:], "-") {
				return usagef("standard input cannot be read twice: give files")
			}
			return runWhy(c, f, args[0], args[1], args[2:])
		},
	}
	c.Flags().StringVar(&f.rule, "rule", "", "explain this rule only")
	c.Flags().StringVar(&f.format, "format", "text", "text or json")
	c.Flags().IntVar(&f.limit, "limit", 50, "how many touches the text shows")
	c.Flags().StringToStringVar(&f.tables, "table", nil, "with files: read a table from a file: name=file.csv")
	c.Flags().StringArrayVar(&f.instances, "http", nil, "ask a running instance: http://host:9464; several are all asked")
	c.Flags().StringVar(&f.token, "token", "", "with --http: token of the server (env "+httpTokenEnv+"; default: the rules file's)")
	c.Flags().StringToStringVar(&f.key, "key", nil, "with --http: a field of the conversion's key: name=value")
	connectionFlags(c.Flags(), &f.run, "brokers")
	return c
}

func runWhy(c *cobra.Command, f whyFlags, rulesFile, id string, files []string) error {
	plan, err := loadPlan(rulesFile)
	if err != nil {
		return err
	}
	if f.rule != "" && !plan.Only(f.rule) {
		return usagef("--rule %s: no such rule", f.rule)
	}
	var answers []why.Answer
	if len(f.instances) > 0 {
		answers, err = whyFromInstances(c, &f, plan, id, files)
	} else {
		answers, err = whyFromEvents(c, &f, plan, id, files)
	}
	if err != nil {
		return err
	}
	if f.format == "json" {
		return why.WriteJSON(c.OutOrStdout(), answers)
	}
	return why.WriteText(c.OutOrStdout(), answers, f.limit)
}

// whyFromEvents looks into files, or what Kafka holds.
func whyFromEvents(c *cobra.Command, f *whyFlags, plan *rules.Plan, id string, files []string) ([]why.Answer, error) {
	for _, name := range []string{"token", "key"} {
		if c.Flags().Changed(name) {
			return nil, usagef("--%s: it is for --http", name)
		}
	}
	q := &inquiry{plan: plan, id: id, files: files}
	ask := func() error { return q.fromTopics(c, f) }
	if len(files) > 0 {
		ask = func() error { return q.fromFiles(c, f.tables) }
	}
	if err := ask(); err != nil {
		return nil, err
	}
	return q.answers(), nil
}

// inquiry is a conversion that is looked for, and what is found of it.
type inquiry struct {
	plan  *rules.Plan
	dims  []*tables.Dimension
	id    string
	files []string // none: topics are read
	lines int64

	refusals []string // how records with this id were refused
	found    []*foundKey
	current  *foundKey // of the event in hand; nil: it is of another key
}

// foundKey is a key under which there is a conversion of the id, and all that matters of it.
type foundKey struct {
	why.Case
	bytes []byte
	final finalRows
}

// maxNear is how many touches of other keys are kept for each rule: the latest.
const maxNear = 5

// fromFiles looks into files.
func (q *inquiry) fromFiles(c *cobra.Command, tables map[string]string) (err error) {
	if c.Flags().Changed("brokers") {
		return usagef("--brokers: files are read, not topics")
	}
	for _, r := range q.plan.Rules {
		r.Deltas, r.Upserts = true, false
	}
	if q.dims, err = openFileDimensions(q.plan, tables); err != nil {
		return err
	}
	if err := q.find(c.Context()); err != nil {
		return err
	}
	if len(q.found) == 0 {
		return q.unknown()
	}
	return q.gather(c.Context())
}

// pass replays the files.
func (q *inquiry) pass(ctx context.Context, o processors.ReplayOptions, emit func(codecs.Record), before func(stream int, raw *processors.Raw)) error {
	o.Tables.Untracked = true
	replay, err := processors.NewReplay(q.plan, q.dims, emit, processors.NewStats(q.plan), o)
	if err != nil {
		return err
	}
	defer replay.Close()
	lines := newEventLines(q.plan, nil)
	lines.reject = func(*processors.Raw, *codecs.Reject) error { return nil }
	lines.record = func(stream int, raw *processors.Raw) error {
		before(stream, raw)
		return replay.Record(stream, raw)
	}
	for _, file := range q.files {
		if err := lines.file(ctx, file); err != nil {
			return err
		}
	}
	q.lines = lines.lines
	return nil
}

// find looks for the keys of conversions with the id.
func (q *inquiry) find(ctx context.Context) error {
	stream := 0
	var raw *processors.Raw
	observe := func(k *rules.Key, key []byte, row codecs.Row, _ *processors.Raw, _ processors.Observation) {
		q.identify(k, key, row)
	}
	emit := func(rec codecs.Record) {
		if rec.Topic != processors.RejectedTopic(q.plan.App) || !bytes.Contains(rec.Value, []byte(q.id)) {
			return
		}
		for _, h := range rec.Headers {
			if h.Key == codecs.HeaderMessage {
				q.refusal(stream, raw, string(h.Value))
			}
		}
	}
	return q.pass(ctx, processors.ReplayOptions{Observed: observe}, emit, func(s int, r *processors.Raw) { stream, raw = s, r })
}

// identify takes an event that may be the conversion.
func (q *inquiry) identify(k *rules.Key, key []byte, row codecs.Row) {
	if string(codecs.AppendText(nil, row.IDValue())) != q.id || !q.attributed(k, row.Stream()) || q.at(k, key) != nil {
		return
	}
	q.found = append(q.found, &foundKey{
		Case: why.Case{Key: k, Values: codecs.KeyValues(key, len(k.Fields)), Conversion: bytes.Clone(row),
			Origins: map[string]codecs.Origin{}, Near: map[*rules.Rule][]why.Near{}},
		bytes: bytes.Clone(key), final: finalRows{},
	})
}

// attributed tells whether a rule of the key attributes a stream.
func (q *inquiry) attributed(k *rules.Key, stream int) bool {
	return slices.ContainsFunc(k.Rules, func(r *rules.Rule) bool { return r.Conversion == stream })
}

func (q *inquiry) at(k *rules.Key, key []byte) *foundKey {
	for _, f := range q.found {
		if f.Key == k && bytes.Equal(f.bytes, key) {
			return f
		}
	}
	return nil
}

// refusal takes a record that was rejected, whose id may be the conversion's.
func (q *inquiry) refusal(stream int, raw *processors.Raw, why string) {
	s := q.plan.Streams[stream]
	var fields map[string]any
	if json.Unmarshal(raw.Value, &fields) == nil && fmt.Sprint(fields[s.Declared[s.ID].Name]) == q.id {
		q.refusals = append(q.refusals, fmt.Sprintf("%s: a %s of this id was rejected: %s", q.place(raw.Origin), s.Name, why))
	}
}

// unknown says that there is no such conversion.
func (q *inquiry) unknown() error {
	streams := map[string]bool{}
	for _, r := range q.plan.Rules {
		streams[q.plan.Streams[r.Conversion].Name] = true
	}
	where := strings.Join(q.files, ", ")
	if len(q.files) == 0 {
		topics := map[string]bool{}
		for _, r := range q.plan.Rules {
			topics[q.plan.Streams[r.Conversion].Topic] = true
		}
		where = "topics " + strings.Join(slices.Sorted(maps.Keys(topics)), ", ")
	}
	text := fmt.Sprintf("no %s has the id %q in %d records of %s", strings.Join(slices.Sorted(maps.Keys(streams)), " or "), q.id, q.lines, where)
	return fmt.Errorf("%s", strings.Join(append([]string{text}, q.refusals...), "\n  "))
}

// gather collects what matters of the keys.
func (q *inquiry) gather(ctx context.Context) error {
	event := ""
	var origin codecs.Origin
	observe := func(k *rules.Key, key []byte, row codecs.Row, raw *processors.Raw, what processors.Observation) {
		f := q.at(k, key)
		if q.current = f; f == nil {
			q.near(k, key, row, raw)
			return
		}
		event = fmt.Sprintf("%s %s", q.plan.Streams[row.Stream()].Name, codecs.AppendText(nil, row.IDValue()))
		switch what {
		case processors.ObservedLate:
			f.Late = append(f.Late, why.Placed{Row: bytes.Clone(row), Origin: raw.Origin})
		case processors.ObservedAccepted:
			row = bytes.Clone(row)
			f.Rows = append(f.Rows, row)
			f.Origins[string(row)] = raw.Origin
		}
	}
	var failed error
	options := processors.ReplayOptions{Observed: observe, Changed: func(r *rules.Rule, before, after *codecs.Credit) {
		if c := cmp.Or(after, before); q.current != nil && string(codecs.AppendText(nil, c.Conversion)) == q.id {
			failed = errors.Join(failed, q.current.final.change(r, before, after))
		}
	}}
	emit := func(rec codecs.Record) { q.emitted(rec, event, origin) }
	err := q.pass(ctx, options, emit, func(_ int, raw *processors.Raw) { origin = raw.Origin })
	return errors.Join(err, failed)
}

// near keeps a touch of another key where it comes near.
func (q *inquiry) near(k *rules.Key, key []byte, row codecs.Row, raw *processors.Raw) {
	for _, f := range q.found {
		if f.Key != k {
			continue
		}
		values := codecs.KeyValues(key, len(k.Fields))
		for _, r := range k.Rules {
			if r.Conversion != f.Conversion.Stream() {
				continue
			}
			detail, near := rules.Near(r, f.Conversion, row, f.Values, values)
			if !near {
				continue
			}
			list := append(f.Near[r], why.Near{Placed: why.Placed{Row: bytes.Clone(row), Origin: raw.Origin}, Detail: detail})
			slices.SortStableFunc(list, func(a, b why.Near) int { return b.Row.Compare(a.Row) })
			f.Near[r] = list[:min(len(list), maxNear)]
		}
	}
}

// emitted takes a delta of the conversion.
func (q *inquiry) emitted(rec codecs.Record, event string, origin codecs.Origin) {
	f := q.current
	if f == nil {
		return
	}
	for _, r := range f.Key.Rules {
		var row struct {
			why.Delta
			Conversion json.RawMessage `json:"conversion_id"`
		}
		if rec.Topic != processors.DeltasTopic(r) || json.Unmarshal(rec.Value, &row) != nil || why.Text(row.Conversion) != q.id {
			continue
		}
		if n := len(f.History); n == 0 || f.History[n-1].Origin != origin || f.History[n-1].Rule != r.Name {
			f.History = append(f.History, why.Changed{Rule: r.Name, Event: event, Origin: origin})
		}
		last := &f.History[len(f.History)-1]
		last.Deltas = append(last.Deltas, row.Delta)
	}
}
