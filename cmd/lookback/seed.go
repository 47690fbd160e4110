package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
)

type seedFlags struct {
	emit    bool
	startAt string
	run     runSettings
}

func newSeed() *cobra.Command {
	var f seedFlags
	c := &cobra.Command{
		Use:   "seed RULES.yaml EVENTS.jsonl...",
		Short: "Fill the state of a new app with the history in files",
		Long: `Fill the state of a new app with the history in files, so that its first conversions find the touches of the past weeks.

The files are those that replay reads: one event per line, {"click": {"click_id": "c1", ...}}, "_ts" beside it for the
record's Kafka timestamp; "-" is standard input, and files whose names end in .gz are unpacked. Their order does not
matter. Nothing is late in a seed; what is too old leaves the state soon after the first run has begun.

Credits of conversions in the files are taken to be known and are not written, unless --emit is given. An event that comes
later and changes such a credit writes the difference: deltas that take the old credit back and add the new one.

The next run reads the source topics from their beginning, or from --start-at on. Events that are in the files and in the
topics count once. It refuses while an instance is running, and where the app has state. A seed that was interrupted is
begun again after a reset. It needs room in --state-dir for the tables that it works on, which it removes.`,
		Example: "  lookback seed rules.yaml impressions.jsonl.gz clicks.jsonl.gz conversions.jsonl.gz\n" +
			"  lookback seed rules.yaml history.jsonl --start-at 2026-11-01T00:00Z",
		Args: arguments(2, math.MaxInt),
		RunE: func(c *cobra.Command, args []string) error { return seed(c, f, args[0], args[1:]) },
	}
	c.Flags().BoolVar(&f.emit, "emit", false, "write the credits of the history to the outputs, too")
	c.Flags().StringVar(&f.startAt, "start-at", "", "time from which the next run reads the topics, by the records' Kafka timestamps")
	connectionFlags(c.Flags(), &f.run, "brokers", "delivery", "state-dir")
	return c
}

func seed(c *cobra.Command, f seedFlags, rulesFile string, files []string) (err error) {
	plan, err := loadPlan(rulesFile)
	if err != nil {
		return err
	}
	var startAt time.Time
	if f.startAt != "" {
		if startAt, err = parseTime(f.startAt); err != nil {
			return usagef("--start-at: %w", err)
		}
	}
	total := int64(0)
	for _, name := range files {
		if name == "-" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		total += info.Size()
	}
	bar := newProgress(c.ErrOrStderr())
	config, err := f.run.config(c, plan, bar)
	if err != nil {
		return err
	}
	ctx := c.Context()
	s, err := processors.OpenSeed(ctx, plan, config, f.emit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	lines := newEventLines(plan, c.InOrStdin())
	lines.reject = func(raw *processors.Raw, why *codecs.Reject) error {
		s.Reject(raw, why)
		return nil
	}
	lines.record = func(stream int, raw *processors.Raw) error {
		bar.update(lines.read.Load()>>10, total>>10)
		return s.Record(ctx, stream, raw)
	}
	started := time.Now()
	bar.begin("seeding", "KiB", 0)
	defer bar.end()
	for _, name := range files {
		if err := lines.file(ctx, name); err != nil {
			return fmt.Errorf("the seed is not complete: reset the app before it is seeded again: %w", err)
		}
	}
	if err := s.Finish(ctx, startAt); err != nil {
		return err
	}
	bar.end()
	summarize(c.ErrOrStderr(), lines.lines, config.Stats.Snapshot(), time.Since(started))
	return nil
}

// parseTime reads a time of the command line: RFC 3339, of which the seconds or the whole time of day may be left out. It has
// a zone or is a date, which begins in UTC.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-11-01T00:00Z or 2026-11-01", text)
}
