package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback"
	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

type demoFlags struct {
	length time.Duration
	rate   float64
	users  int
	seed   uint64
	logs   runSettings
}

func newDemo() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch credits and corrections on a generated stream, and see them proved",
		Long: `Start an embedded broker, the shipped rules and a generator in one process, and watch: a live table, and corrections as
they happen. At the end (--for, or Ctrl-C) it proves itself, as lookback verify does: a batch recount of the records that were consumed
must equal the net of what was emitted, to the row. Exit code 1 where it does not.

The stream is a day of attribution in a minute: clicks follow their impressions within seconds, some events come seconds
late, some twice and some broken, and the lateness of the rules is 5 s unless LATENESS says otherwise.`,
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return demo(c, f) },
	}
	c.Flags().DurationVar(&f.length, "for", time.Minute, "how long; 0: until Ctrl-C")
	c.Flags().Float64Var(&f.rate, "rate", 2000, "events per second")
	c.Flags().IntVar(&f.users, "users", 20_000, "number of users")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the stream")
	overrideFlags(c.Flags(), httpOverride, pprofOverride)
	f.logs.logFlags(c.Flags())
	return c
}

// demoEnv is the environment of the demo's rules.
func demoEnv(name string) (string, bool) {
	if v, ok := os.LookupEnv(name); ok || name != "LATENESS" {
		return v, ok
	}
	return "5s", true
}

func demo(c *cobra.Command, f demoFlags) error {
	plan, err := rules.Compile("rules.yaml (shipped)", lookback.Rules, demoEnv)
	if err != nil {
		return err
	}
	if f.logs.logLevel == "" && os.Getenv("LOOKBACK_LOG_LEVEL") == "" {
		f.logs.logLevel = "warn" // the table is the view
	}
	log, err := f.logs.logger(c.ErrOrStderr())
	if err != nil {
		return err
	}
	plan.Settings.HTTPAddr = "" // unless it is asked for
	if err := applyOverrides(c, &plan.Settings, httpOverride, pprofOverride); err != nil {
		return err
	}
	source, err := gen.New(demoStream(f))
	if err != nil {
		return &exitError{exitUsage, err}
	}
	b, err := broker.Start(broker.Config{Logger: log})
	if err != nil {
		return err
	}
	defer b.Close()
	plan.Settings.Brokers = []string{b.Addr()}
	if err := createSources(plan, b.Addr(), 4); err != nil {
		return err
	}

	stats, lookups := processors.NewStats(plan), processors.NewLookups(plan)
	stopHTTP, err := serveHTTP(plan, stats, lookups, log)
	if err != nil {
		return err
	}
	defer stopHTTP()
	ready := make(chan struct{})
	running, stop := context.WithCancel(context.WithoutCancel(c.Context()))
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- processors.Run(running, plan, processors.Config{Logger: log, Stats: stats, Lookups: lookups, OnReady: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the processors did not start: %w", err)
	case <-c.Context().Done():
		return nil
	}

	feeding := c.Context()
	if f.length > 0 {
		var cancel context.CancelFunc
		feeding, cancel = context.WithTimeout(feeding, f.length)
		defer cancel()
	}
	view := newView(c.OutOrStdout(), stats)
	deltas, err := newFollower(plan, b.Addr(), view.correction)
	if err != nil {
		return err
	}
	defer deltas.close()
	watching, unwatch := context.WithCancel(context.WithoutCancel(feeding))
	defer unwatch()
	watched := make(chan error, 1)
	go func() { watched <- deltas.follow(watching) }()
	go view.run(watching)

	fmt.Fprintf(c.OutOrStdout(), "broker %s, %0.f events/s for %s; corrections as they happen:\n\n", b.Addr(), f.rate, f.length)
	topics, err := genTopics(nil)
	if err != nil {
		return err
	}
	failed := feedBroker(feeding, []string{b.Addr()}, topics, source, true)
	if failed == nil {
		failed = deltas.settle(context.WithoutCancel(feeding), time.Minute)
	}
	stop()
	failed = errors.Join(failed, <-ended)
	unwatch()
	failed = errors.Join(failed, <-watched)
	view.last()
	if failed != nil {
		return failed
	}
	fmt.Fprintf(c.OutOrStdout(), "\nproof, as lookback verify gives it:\n\n")
	result, err := processors.Verify(context.WithoutCancel(c.Context()), plan, processors.Config{Logger: log}, processors.VerifyOptions{Examples: 3})
	if err != nil {
		return err
	}
	return concludeVerify(c.OutOrStdout(), verifyText, result)
}

// demoStream is a stream whose stories take seconds.
func demoStream(f demoFlags) gen.Config {
	g := gen.Default()
	g.Seed, g.Events, g.Users, g.Rate = f.seed, 0, f.users, f.rate
	g.Advertisers = 10
	g.Start = time.Now()
	g.Mix = gen.Mix{Impressions: 0.85, Clicks: 0.1, Conversions: 0.05}
	g.ClickLag = gen.Lag{Median: 3 * time.Second, Max: 30 * time.Second}
	g.ConversionLag = gen.Lag{Median: 6 * time.Second, Max: time.Minute}
	g.Disorder = gen.Disorder{Share: 0.05, Max: 8 * time.Second}
	g.Duplicates, g.ResendWithin = 0.02, 4*time.Second
	g.Broken = 0.005
	return g
}
