package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Reasons of rejects that only a replay file can have.
const (
	reasonMalformedLine = "malformed_line"
	reasonUnknownStream = "unknown_stream"
)

type replayFlags struct {
	emit, rule string
	tables     map[string]string
}

func newReplay() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay RULES.yaml EVENTS.jsonl...",
		Short: "Run the rules over files and print every record that would be written",
		Long: `Run the rules over files of events, in memory and without Kafka, and print every record that would be written.

One line per event, in the order of arrival: {"click": {"click_id": "c1", ...}}, the stream's name and the record as it
would stand in its topic; "_ts" beside it may give the record's Kafka timestamp. "-" is standard input, and files whose
names end in .gz are unpacked.

Standard output has one JSON line per record, {"topic": ..., "key": ..., "value": {...}}; rejected and late records come
out to their topics, with their headers. Standard error has the summary.`,
		Example: "  lookback gen --events 100000 > events.jsonl\n  lookback replay rules.yaml events.jsonl --emit final",
		Args:    arguments(2, math.MaxInt),
		RunE: func(c *cobra.Command, args []string) error {
			return replay(c, f, args[0], args[1:])
		},
	}
	c.Flags().StringVar(&f.emit, "emit", "", "deltas, upserts, both, or final: only the net rows at the end, by topic and key (default: as each rule says)")
	c.Flags().StringVar(&f.rule, "rule", "", "run this rule only")
	c.Flags().StringToStringVar(&f.tables, "table", nil, "read a table from a file: name=file.csv")
	return c
}

func replay(c *cobra.Command, f replayFlags, rulesFile string, files []string) error {
	plan, err := loadPlan(rulesFile)
	if err != nil {
		return err
	}
	if err := chooseOutput(plan, f); err != nil {
		return err
	}
	dims, err := openFileDimensions(plan, f.tables)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(c.OutOrStdout(), 1<<18)
	stats := processors.NewStats(plan)
	run := &replayRun{plan: plan, out: out, final: finalRows{}}
	options := processors.ReplayOptions{}
	options.Tables.Untracked = true
	emit := run.print
	if f.emit == "final" {
		emit = func(codecs.Record) {}
		options.Changed = run.change
	}
	if run.replay, err = processors.NewReplay(plan, dims, emit, stats, options); err != nil {
		return err
	}
	defer run.replay.Close()
	started := time.Now()
	lines := newEventLines(plan, c.InOrStdin())
	lines.reject = func(raw *processors.Raw, why *codecs.Reject) error {
		run.replay.Reject(raw, why)
		return run.written()
	}
	lines.record = func(stream int, raw *processors.Raw) error {
		return errors.Join(run.replay.Record(stream, raw), run.written())
	}
	for _, file := range files {
		if err := lines.file(c.Context(), file); err != nil {
			return err
		}
	}
	run.printFinal()
	run.err = cmp.Or(run.err, out.Flush())
	if err := run.written(); err != nil {
		return err
	}
	summarize(c.ErrOrStderr(), lines.lines, stats.Snapshot(), time.Since(started))
	return nil
}

// chooseOutput narrows the plan to what the flags ask for.
func chooseOutput(plan *rules.Plan, f replayFlags) error {
	if !slices.Contains([]string{"", "deltas", "upserts", "both", "final"}, f.emit) {
		return usagef("--emit %s: use deltas, upserts, both or final", f.emit)
	}
	if f.rule != "" && !plan.Only(f.rule) {
		return usagef("--rule %s: no such rule", f.rule)
	}
	for _, r := range plan.Rules {
		if f.emit != "" && f.emit != "final" {
			r.Deltas, r.Upserts = f.emit != "upserts", f.emit != "deltas"
		}
	}
	return nil
}

// replayRun is the state of one replay.
type replayRun struct {
	plan   *rules.Plan
	replay *processors.Replay
	out    *bufio.Writer
	line   []byte
	final  finalRows
	err    error
}

// written returns what has stopped the output.
func (r *replayRun) written() error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("writing the output: %w", r.err)
}

// finalRows are the rows that there are, by topic and key.
type finalRows map[string]finalRow

type finalRow struct {
	topic, key string
	value      []byte
}

// change takes what a row of a rule is now; a nil after is no row.
func (f finalRows) change(rule *rules.Rule, before, after *codecs.Credit) error {
	key := string(codecs.AppendRowKey(nil, cmp.Or(after, before)))
	id := rule.Into + "\x00" + key
	if after == nil {
		delete(f, id)
		return nil
	}
	value, err := codecs.AppendFinal(nil, after)
	f[id] = finalRow{rule.Into, key, value}
	return err
}

// sorted returns the rows by topic and key.
func (f finalRows) sorted() []finalRow {
	var rows []finalRow
	for _, id := range slices.Sorted(maps.Keys(f)) {
		rows = append(rows, f[id])
	}
	return rows
}

// print writes one record as a line.
func (r *replayRun) print(rec codecs.Record) {
	b := codecs.AppendJSONString(append(r.line[:0], `{"topic":`...), rec.Topic)
	b = append(b, `,"key":`...)
	if rec.Key == nil {
		b = append(b, "null"...)
	} else {
		b = codecs.AppendJSONString(b, string(rec.Key))
	}
	b = append(b, `,"value":`...)
	switch {
	case rec.Value == nil:
		b = append(b, "null"...)
	case len(rec.Headers) == 0:
		b = append(b, rec.Value...)
	case json.Valid(rec.Value) && utf8.Valid(rec.Value): // what was rejected comes as it was, on one line
		b = appendCompact(b, rec.Value)
	default:
		b = codecs.AppendJSONString(b, strings.TrimRight(string(rec.Value), "\r\n"))
	}
	if len(rec.Headers) > 0 {
		b = append(b, `,"headers":{`...)
		for i, h := range rec.Headers {
			if i > 0 {
				b = append(b, ',')
			}
			b = codecs.AppendJSONString(b, h.Key)
			b = codecs.AppendJSONString(append(b, ':'), string(h.Value))
		}
		b = append(b, '}')
	}
	r.line = append(b, "}\n"...)
	_, err := r.out.Write(r.line)
	r.err = cmp.Or(r.err, err)
}

func (r *replayRun) change(rule *rules.Rule, before, after *codecs.Credit) {
	err := r.final.change(rule, before, after)
	r.err = cmp.Or(r.err, err)
}

// printFinal writes the net rows, by topic and key.
func (r *replayRun) printFinal() {
	for _, row := range r.final.sorted() {
		r.print(codecs.Record{Topic: row.topic, Key: []byte(row.key), Value: row.value})
	}
}
