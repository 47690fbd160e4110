package main

import (
	"context"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

func newRun() *cobra.Command {
	var s runSettings
	var again reprocessFlags
	c := &cobra.Command{
		Use:   "run [RULES.yaml]",
		Short: "Run the rules beside Kafka",
		Long: `Run the rules beside Kafka until it is told to stop (SIGINT, SIGTERM). Topics that Lookback writes are created where
they are missing; those that exist are checked before the first record. A broker that cannot be reached is tried again.

A flag wins over its environment variable, which wins over the rules file.

With --from and --to it computes the rows of the conversions of that interval again, from the source topics, and ends. It
works beside the app, under a name of its own; killed, it goes on when the same command is given again. With --into-suffix
rows go to new topics, and the app may run. Without, upserts with a higher _version replace those in the same topics; the
app must be stopped when it begins, and may be started as soon as "re-processing begins" is logged.`,
		Example: "  lookback run --brokers kafka:9092 rules.yaml\n" +
			"  lookback run rules.yaml --from 2026-11-01T00:00Z --to 2026-11-02T00:00Z --into-suffix .again\n" +
			"  lookback run rules.yaml --from 2026-11-01 --to 2026-11-02 --emit upserts",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := s.rulesFile(c, args)
			if err != nil {
				return err
			}
			plan, err := loadPlan(file)
			if err != nil {
				return err
			}
			reprocesses, options, err := again.asked(c, plan)
			if err != nil {
				return err
			}
			if reprocesses {
				plan.Settings.HTTPAddr = "" // of the rules file, where the app listens
			}
			bar := newProgress(c.ErrOrStderr())
			config, err := s.config(c, plan, bar)
			if err != nil {
				return err
			}
			for _, w := range warnings(plan) {
				config.Logger.Warn(w)
			}
			if reprocesses {
				return reprocess(c, plan, config, bar, options)
			}
			started := time.Now()
			config.OnReady = func() {
				config.Logger.Info("ready", "app", plan.App, "rules", file, "hash", plan.Hash, "took", time.Since(started).Round(time.Millisecond))
			}
			if err := runPlan(c.Context(), plan, config, bar); err != nil {
				return err
			}
			config.Logger.Info("stopped")
			return nil
		},
	}
	s.flags(c.Flags())
	again.flags(c.Flags())
	return c
}

// runPlan processes a plan until ctx ends, with what operators look at: the HTTP server and the bar of restores.
func runPlan(ctx context.Context, plan *rules.Plan, config processors.Config, bar *progress) error {
	config.Lookups = processors.NewLookups(plan)
	stopHTTP, err := serveHTTP(plan, config.Stats, config.Lookups, config.Logger)
	if err != nil {
		return err
	}
	defer stopHTTP()
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	watchers.Go(func() { followRestore(watching, bar, config.Stats) })
	defer watchers.Wait()
	defer unwatch()
	return processors.Run(ctx, plan, config)
}
