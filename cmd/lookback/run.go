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
	c := &cobra.Command{
		Use:   "run [RULES.yaml]",
		Short: "Run the rules beside Kafka",
		Long: `Run the rules beside Kafka until it is told to stop (SIGINT, SIGTERM). Topics that Lookback writes are created where
they are missing; those that exist are checked before the first record. A broker that cannot be reached is tried again.

A flag wins over its environment variable, which wins over the rules file.`,
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
			bar := newProgress(c.ErrOrStderr())
			config, err := s.config(c, plan, bar)
			if err != nil {
				return err
			}
			for _, w := range warnings(plan) {
				config.Logger.Warn(w)
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
	return c
}

// runPlan processes a plan until ctx ends, with what operators look at: the HTTP server and the bar of restores.
func runPlan(ctx context.Context, plan *rules.Plan, config processors.Config, bar *progress) error {
	stopHTTP, err := serveHTTP(plan, config.Stats, config.Logger)
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
