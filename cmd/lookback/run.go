package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/processors"
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
			config, err := s.config(c, plan)
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
			if err := processors.Run(c.Context(), plan, config); err != nil {
				return err
			}
			config.Logger.Info("stopped")
			return nil
		},
	}
	s.flags(c.Flags())
	return c
}
