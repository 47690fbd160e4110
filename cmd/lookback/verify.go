package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/processors"
)

type verifyFlags struct {
	from, to, format, output, tmp string
	last, every                   time.Duration
	watch                         bool
	examples                      int
	run                           runSettings
}

func newVerify() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify [RULES.yaml]",
		Short: "Prove that the rows in Kafka are the batch answer",
		Long: `Hold what the app has written against the batch answer: read the source topics and the output topics, count every key again by the
definition of the rules, in no order, and compare to the row. It changes nothing and may run beside the app; what the app has not
committed yet is not judged.

A conversion of which the stream says something else than the batch over all events has a cause. Explained ones follow from the
rules and are no fault: late (events that came too late would change it), max_touches, late_forgotten. The others are:
rule_version, mis_keyed, rejected, duplicate, lost, no_such_event, unexplained.

Where topics have lost records that earlier conversions need, it says from when on it can judge. Memory is bounded; temporary
files take about as much as the events.

With --watch it verifies the conversions of the last hours (--last, 24h) again and again until it is stopped, logs what it finds, and
serves metrics and the latest report over HTTP, at 127.0.0.1:9465 unless --http says otherwise.

Exit code 1 where a conversion differs for a cause that is not explained, or where
nothing can be verified.`,
		Example: "  lookback verify rules.yaml\n" +
			"  lookback verify rules.yaml --watch --last 24h --every 10m\n" +
			"  lookback verify rules.yaml --from 2026-11-01 --to 2026-11-02\n" +
			"  lookback verify rules.yaml --last 24h --format html --output report.html",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error { return verify(c, f, args) },
	}
	fs := c.Flags()
	fs.StringVar(&f.run.rules, "rules", "", "rules file (default rules.yaml; env LOOKBACK_RULES)")
	fs.StringVar(&f.from, "from", "", "conversions from this event time on (default: as far as the topics reach)")
	fs.StringVar(&f.to, "to", "", "... up to this time, which is excluded (default: to the end)")
	fs.DurationVar(&f.last, "last", 0, "conversions of the last hours, such as 24h, instead of --from")
	fs.StringVar(&f.format, "format", "text", "text, json or html")
	fs.StringVarP(&f.output, "output", "o", "", "write the report to a file instead of standard output")
	fs.IntVar(&f.examples, "examples", 5, "differences that are shown of each rule and cause")
	fs.StringVar(&f.tmp, "tmp", "", "folder for temporary files (default: the system's)")
	fs.BoolVar(&f.watch, "watch", false, "verify again and again, and serve metrics")
	fs.DurationVar(&f.every, "every", 10*time.Minute, "with --watch: time from the begin of one verification to that of the next")
	fs.String("http", defaultVerifyAddr, "with --watch: address of metrics and the report, host:port or off (env LOOKBACK_VERIFY_HTTP)")
	connectionFlags(fs, &f.run, "brokers")
	return c
}

// options checks what the command is told.
func (f *verifyFlags) options(now time.Time) (o processors.VerifyOptions, err error) {
	if f.format != "text" && f.format != "json" && f.format != "html" {
		return o, usagef("--format %s: use text, json or html", f.format)
	}
	if f.watch && (f.from != "" || f.to != "") {
		return o, usagef("--watch: it looks at the last hours: use --last, without --from and --to")
	}
	if f.watch && f.output == "" && f.format != "text" {
		return o, usagef("--format %s: with --watch it is for --output", f.format)
	}
	if f.watch && f.every <= 0 {
		return o, usagef("--every %s: use a duration above 0", f.every)
	}
	if f.examples < 0 {
		return o, usagef("--examples %d: use at least 0", f.examples)
	}
	if f.last < 0 || f.last > 0 && f.from != "" {
		return o, usagef("--last: a duration above 0, and without --from")
	}
	if f.from != "" {
		if o.From, err = parseTime(f.from); err != nil {
			return o, usagef("--from: %w", err)
		}
	}
	if f.to != "" {
		if o.To, err = parseTime(f.to); err != nil {
			return o, usagef("--to: %w", err)
		}
	}
	if f.last > 0 {
		end := now
		if !o.To.IsZero() {
			end = o.To
		}
		o.From = end.Add(-f.last)
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return o, usagef("--from %s is not before --to %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	}
	o.Dir, o.Examples = f.tmp, f.examples
	return o, nil
}

func verify(c *cobra.Command, f verifyFlags, args []string) error {
	if f.watch && f.last == 0 {
		f.last = defaultWatched
	}
	for _, name := range []string{"every", "http"} {
		if !f.watch && c.Flags().Changed(name) {
			return usagef("--%s: there is no --watch", name)
		}
	}
	options, err := f.options(time.Now())
	if err != nil {
		return err
	}
	bar := newProgress(c.ErrOrStderr())
	plan, config, err := f.run.load(c, args, bar)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(verifyCollectorPercent)
	}
	run := func(o processors.VerifyOptions) (*processors.Verification, error) {
		o.Progress = verifyProgress(bar)
		defer bar.end()
		return processors.Verify(c.Context(), plan, config, o)
	}
	if f.watch {
		plan.Settings.HTTPAddr = defaultVerifyAddr // in the rules file is where the app listens
		if err := applyOverrides(c, &plan.Settings, verifyHTTP); err != nil {
			return err
		}
		return watchVerify(c.Context(), plan, config, f, run)
	}
	result, err := run(options)
	switch {
	case errors.Is(err, processors.ErrNothingToVerify):
		return fmt.Errorf("%w; choose a later interval, or keep more in the topics (retention.ms)", err)
	case err != nil:
		return err
	}
	write := f.writer()
	if f.output != "" {
		write = toFile(f.output, write)
	}
	return concludeVerify(c.OutOrStdout(), write, result)
}

// verifyCollectorPercent is by how much the heap may grow before garbage is collected. It is small, unlike the app's, and most of it
// lives for the length of a key.
const verifyCollectorPercent = 400

// verifyProgress draws a verification.
func verifyProgress(bar *progress) func(stage string, done, total int64) {
	stage := ""
	return func(now string, done, total int64) {
		if now != stage {
			stage = now
			bar.begin(now, map[string]string{"reading": "records"}[now], 0)
		}
		bar.update(done, total)
	}
}

// writer returns what writes the report in the format that is wanted.
func (f *verifyFlags) writer() writeVerification {
	return map[string]writeVerification{"text": verifyText, "json": verifyJSON, "html": verifyHTML}[f.format]
}

// writeVerification writes a report.
type writeVerification func(w io.Writer, v *processors.Verification) error

// concludeVerify writes the report; that the stream is not the batch answer is an error.
func concludeVerify(w io.Writer, write writeVerification, v *processors.Verification) error {
	if err := write(w, v); err != nil {
		return err
	}
	if wrong := v.Wrong(); wrong > 0 {
		return fmt.Errorf("%d of %d conversions differ from the batch answer", wrong, v.Judged())
	}
	return nil
}

// toFile writes a report to a file instead. One that exists is replaced whole or not at all.
func toFile(path string, write writeVerification) writeVerification {
	return func(_ io.Writer, v *processors.Verification) error { return replaceFile(path, write, v) }
}

func replaceFile(path string, write writeVerification, v *processors.Verification) error {
	draft, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	err = write(draft, v)
	err = cmp.Or(err, draft.Chmod(0o644), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the report: %w", err), os.Remove(draft.Name()))
	}
	return nil
}

func verifyJSON(w io.Writer, v *processors.Verification) error {
	return writeIndented(w, v)
}
