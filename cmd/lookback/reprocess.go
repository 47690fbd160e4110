package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// suffixName is what may follow the name of a topic.
var suffixName = regexp.MustCompile(`^[A-Za-z0-9._-]{0,100}$`)

// reprocessFlags are those of run that compute an interval again.
type reprocessFlags struct {
	from, to, suffix, emit string
	allowMissing, keep     bool
}

func (f *reprocessFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.from, "from", "", "compute the rows of conversions from this event time on again, and end")
	fs.StringVar(&f.to, "to", "", "... up to this time, which is excluded")
	fs.StringVar(&f.suffix, "into-suffix", "", "with --from: write to new topics, whose names end in this, instead of the same")
	fs.StringVar(&f.emit, "emit", "", "with --from: deltas, upserts or both (default: as each rule says)")
	fs.BoolVar(&f.allowMissing, "allow-missing", false, "with --from: go on where the topics do not reach back far enough")
	fs.BoolVar(&f.keep, "keep", false, "with --from: leave the groups and state topics that it has had for itself")
}

// asked tells whether run is to compute an interval again, and then checks what it is told.
func (f *reprocessFlags) asked(c *cobra.Command, plan *rules.Plan) (bool, processors.ReprocessOptions, error) {
	var o processors.ReprocessOptions
	if f.from == "" && f.to == "" {
		for _, name := range []string{"into-suffix", "emit", "allow-missing", "keep"} {
			if c.Flags().Changed(name) {
				return false, o, usagef("--%s: there is no --from and --to", name)
			}
		}
		return false, o, nil
	}
	if f.from == "" || f.to == "" {
		return false, o, usagef("--from and --to: give both, the interval is fixed")
	}
	var err error
	if o.From, err = parseTime(f.from); err != nil {
		return false, o, usagef("--from: %w", err)
	}
	if o.To, err = parseTime(f.to); err != nil {
		return false, o, usagef("--to: %w", err)
	}
	if !o.From.Before(o.To) {
		return false, o, usagef("--from %s is not before --to %s", f.from, f.to)
	}
	if !suffixName.MatchString(f.suffix) {
		return false, o, usagef("--into-suffix %q: use up to 100 of A-Z, a-z, 0-9, '.', '_' and '-'", f.suffix)
	}
	if err := chooseOutput(plan, replayFlags{emit: f.emit}); err != nil || f.emit == "final" {
		return false, o, usagef("--emit %s: use deltas, upserts or both", f.emit)
	}
	o.Suffix, o.AllowMissing, o.Keep = f.suffix, f.allowMissing, f.keep
	for _, r := range plan.Rules {
		if o.Suffix == "" && r.Deltas {
			return false, o, usagef("rule %q writes deltas, which would count twice: add --into-suffix to write to new topics, or --emit upserts to replace the upserts alone", r.Name)
		}
	}
	return true, o, nil
}

// reprocess computes an interval again and says what came of it.
func reprocess(c *cobra.Command, plan *rules.Plan, config processors.Config, bar *progress, o processors.ReprocessOptions) error {
	stopHTTP, err := serveHTTP(plan, config.Stats, nil, config.Logger)
	if err != nil {
		return err
	}
	defer stopHTTP()
	begun := false
	o.Progress = func(done, total int64) {
		if !begun {
			begun = true
			bar.begin("re-processing", "records", 0)
		}
		bar.update(done, total)
	}
	started := time.Now()
	finished, err := processors.Reprocess(c.Context(), plan, config, o)
	bar.end()
	switch {
	case err != nil:
		return err
	case !finished:
		return &exitError{exitFailed, errors.New("interrupted; the same command goes on where it was")}
	}
	snapshot := config.Stats.Snapshot()
	events := int64(0)
	for stream := range snapshot.Accepted {
		events += snapshot.Accepted[stream] + snapshot.Late[stream] + snapshot.Duplicates[stream]
	}
	fmt.Fprintf(c.ErrOrStderr(), "re-processed %s to %s\n", o.From.UTC().Format(time.RFC3339), o.To.UTC().Format(time.RFC3339))
	summarize(c.ErrOrStderr(), events, snapshot, time.Since(started))
	return nil
}
