package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/processors"
)

type devFlags struct {
	runSettings
	dataDir    string
	addr       string
	partitions int32
}

func newDev() *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use:   "dev [RULES.yaml]",
		Short: "Run the rules on an embedded broker: the whole product in one process",
		Long: `Start a Kafka-protocol broker in this process, create the topics that the rules read, and run the rules on it. Any
Kafka client can write to it and read from it. Nothing is kept unless --data-dir says where.`,
		Example: "  lookback dev --data-dir .lookback &\n  lookback gen --rate 1000 --events 60000 --brokers 127.0.0.1:9092",
		Args:    arguments(0, 1),
		RunE:    func(c *cobra.Command, args []string) error { return dev(c, f, args) },
	}
	c.Flags().StringVar(&f.rules, "rules", "", "rules file (default rules.yaml; env LOOKBACK_RULES)")
	c.Flags().StringVar(&f.dataDir, "data-dir", "", "keep the broker's data and the state here, across restarts")
	c.Flags().StringVar(&f.addr, "addr", "127.0.0.1:9092", "where the broker listens")
	c.Flags().Int32Var(&f.partitions, "partitions", 4, "partitions of the topics that the rules read")
	overrideFlags(c.Flags(), httpOverride, pprofOverride)
	f.logFlags(c.Flags())
	return c
}

func dev(c *cobra.Command, f devFlags, args []string) error {
	file, err := f.rulesFile(c, args)
	if err != nil {
		return err
	}
	plan, err := loadPlan(file)
	if err != nil {
		return err
	}
	if f.partitions < 1 {
		return usagef("--partitions %d: use at least 1", f.partitions)
	}
	plan.Settings.HTTPAddr = "" // of the rules file, which means `run`
	bar := newProgress(c.ErrOrStderr())
	config, err := f.config(c, plan, bar)
	if err != nil {
		return err
	}
	at := broker.Config{Addr: f.addr, Logger: config.Logger}
	plan.Settings.Store = "memory"
	if f.dataDir != "" {
		at.DataDir = filepath.Join(f.dataDir, "broker")
		plan.Settings.Store, plan.Settings.StateDir = "disk", filepath.Join(f.dataDir, "state")
	}
	b, err := broker.Start(at)
	if err != nil {
		return err
	}
	defer b.Close()
	plan.Settings.Brokers = []string{b.Addr()}
	if err := createSources(plan, b.Addr(), f.partitions); err != nil {
		return err
	}
	config.OnReady = func() {
		bar.end() // standard output is the same screen
		fmt.Fprintf(c.OutOrStdout(), "ready: broker %s, rules %s\n", b.Addr(), file)
		for _, s := range plan.Streams {
			fmt.Fprintf(c.OutOrStdout(), "  reads  %-24s %s\n", s.Topic, s.Name)
		}
		for _, r := range plan.Rules {
			if r.Upserts {
				fmt.Fprintf(c.OutOrStdout(), "  writes %-24s upserts of rule %s\n", r.Into, r.Name)
			}
			if r.Deltas {
				fmt.Fprintf(c.OutOrStdout(), "  writes %-24s deltas of rule %s\n", processors.DeltasTopic(r), r.Name)
			}
		}
		fmt.Fprintf(c.OutOrStdout(), "  writes %s, %s\n", processors.RejectedTopic(plan.App), processors.LateTopic(plan.App))
	}
	return runPlan(c.Context(), plan, config, bar)
}
