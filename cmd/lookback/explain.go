package main

import (
	"encoding/json"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

type explainFlags struct {
	format, principal string
	acls              bool
	ofBudget          bool
	ofLateness        bool
	more              []time.Duration
	budget            budgetFlags
}

// explainFormats write a plan.
var explainFormats = map[string]func(io.Writer, *planAnswer) error{
	"text": writePlanText, "json": writePlanJSON, "dot": writePlanDOT, "mermaid": writePlanMermaid,
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain [RULES.yaml] [--lateness EVENTS.jsonl...]",
		Short: "Show what rules are compiled to, what state they take, and what more lateness would recover",
		Long: `Show what rules are compiled to, without reaching a broker: which fields are decoded and which are kept, by which route events come to
their key, what is looked up and what is evaluated for each pair, how long state is kept, and which topics there are. --format dot and
mermaid draw the routes.

--acls lists the rights that the app needs where the cluster has an authorizer, the least that will do; with --principal as commands.

--budget says how much state there will be, and what it takes in memory, on the disk and in Kafka, for each key and stream; how long a
restore takes; and which partitions and store that calls for. It needs a rate for each stream and the number of keys, from flags (--rate,
--keys), from files of events (--sample) or from the source topics (--sample-topics), which alone reaches a broker. What flags say goes
before what is sampled.

--lateness replays files of events, as replay reads them, in the order in which they arrived: how far events are behind the watermark,
how many are refused as late, and what more lateness (1m, 10m, 1h, 6h, --more) would recover and cost. Files are read twice, so
standard input will not do. Memory is that of a replay.`,
		Example: "  lookback explain rules.yaml\n" +
			"  lookback explain rules.yaml --format mermaid\n" +
			"  lookback explain rules.yaml --acls --principal User:lookback\n" +
			"  lookback explain rules.yaml --budget --rate impression=20000/s --rate click=200/s --rate conversion=20/s --keys 5e7\n" +
			"  lookback explain rules.yaml --budget --sample-topics --brokers kafka:9092 --instances 3 --memory 16GB\n" +
			"  lookback explain rules.yaml --lateness events.jsonl.gz --more 24h",
		Args: arguments(0, math.MaxInt),
		RunE: func(c *cobra.Command, args []string) error { return explain(c, f, args) },
	}
	c.Flags().StringVar(&f.format, "format", "text", "text, json, dot or mermaid; with --acls, --budget and --lateness text or json")
	c.Flags().BoolVar(&f.acls, "acls", false, "list the rights that the app needs in Kafka")
	c.Flags().StringVar(&f.principal, "principal", "", "with --acls: print kafka-acls.sh commands for it, such as User:lookback")
	c.Flags().BoolVar(&f.ofBudget, "budget", false, "say what state the rules take")
	c.Flags().BoolVar(&f.ofLateness, "lateness", false, "say what more lateness would recover of files of events, and what it would cost")
	c.Flags().DurationSliceVar(&f.more, "more", nil, "with --lateness: try so much more, too, such as 24h")
	f.budget.flags(c.Flags())
	return c
}

// check checks what the command is told, beside the rules.
func (f *explainFlags) check(c *cobra.Command, args []string) error {
	chosen := 0
	for _, on := range []bool{f.acls, f.ofBudget, f.ofLateness} {
		if on {
			chosen++
		}
	}
	switch {
	case explainFormats[f.format] == nil:
		return usagef("--format %s: use text, json, dot or mermaid", f.format)
	case chosen > 1:
		return usagef("--acls, --budget and --lateness: use one of them")
	case chosen > 0 && f.format != "text" && f.format != "json":
		return usagef("--format %s: with --acls, --budget and --lateness use text or json", f.format)
	case f.principal != "" && (!f.acls || f.format != "text"):
		return usagef("--principal: it is for --acls, as text")
	case f.ofLateness && len(args) < 2:
		return usagef("--lateness: give the rules and files of events: lookback explain RULES.yaml --lateness EVENTS.jsonl...")
	case f.ofLateness && slices.Contains(args[1:], "-"):
		return usagef("standard input cannot be read twice: give files")
	case !f.ofLateness && len(args) > 1:
		return usagef("explain: unexpected argument %q: files of events are for --lateness, or --budget --sample FILE", args[1])
	case !f.ofLateness && len(f.more) > 0:
		return usagef("--more: it is for --lateness")
	case len(f.budget.tables) > 0 && !f.ofLateness && len(f.budget.sample) == 0 && !f.budget.topics:
		return usagef("--table: it is for --sample and --lateness")
	case f.budget.topics:
		return nil
	}
	for _, name := range []string{"brokers", "log-level", "log-format", "sample-records"} {
		if c.Flags().Changed(name) {
			return usagef("--%s: it is for --budget --sample-topics", name)
		}
	}
	return nil
}

func explain(c *cobra.Command, f explainFlags, args []string) error {
	if err := f.check(c, args); err != nil {
		return err
	}
	for _, name := range budgetFlagNames {
		if c.Flags().Changed(name) && !f.ofBudget {
			return usagef("--%s: it is for --budget", name)
		}
	}
	file := defaultRules
	if len(args) > 0 {
		file = args[0]
	}
	plan, err := loadPlan(file)
	if err != nil {
		return err
	}
	switch {
	case f.acls:
		return writeRights(c.OutOrStdout(), f, plan)
	case f.ofBudget:
		return explainBudget(c, &f.budget, plan, f.format)
	case f.ofLateness:
		return explainLateness(c, &f, plan, args[1:])
	}
	return explainFormats[f.format](c.OutOrStdout(), describePlan(plan))
}

func writePlanJSON(w io.Writer, p *planAnswer) error { return writeIndented(w, p) }

// writeIndented writes JSON for people and programs.
func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
