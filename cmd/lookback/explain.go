package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

type explainFlags struct {
	format, principal string
	acls              bool
}

// explainFormats write a plan.
var explainFormats = map[string]func(io.Writer, *planAnswer) error{
	"text": writePlanText, "json": writePlanJSON, "dot": writePlanDOT, "mermaid": writePlanMermaid,
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain [RULES.yaml]",
		Short: "Show what rules are compiled to: routes, look-ups, state, topics, rights",
		Long: `Show what rules are compiled to, without reaching a broker: which fields are decoded and which are kept, by which route events come to
their key, what is looked up and what is evaluated for each pair, how long state is kept, and which topics there are. --format dot and
mermaid draw the routes.

--acls lists the rights that the app needs where the cluster has an authorizer, the least that will do; with --principal as commands.`,
		Example: "  lookback explain rules.yaml\n" +
			"  lookback explain rules.yaml --format mermaid\n" +
			"  lookback explain rules.yaml --acls --principal User:lookback",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error { return explain(c, f, args) },
	}
	c.Flags().StringVar(&f.format, "format", "text", "text, json, dot or mermaid; with --acls text or json")
	c.Flags().BoolVar(&f.acls, "acls", false, "list the rights that the app needs in Kafka")
	c.Flags().StringVar(&f.principal, "principal", "", "with --acls: print kafka-acls.sh commands for it, such as User:lookback")
	return c
}

func explain(c *cobra.Command, f explainFlags, args []string) error {
	write := explainFormats[f.format]
	switch {
	case write == nil:
		return usagef("--format %s: use text, json, dot or mermaid", f.format)
	case f.acls && f.format != "text" && f.format != "json":
		return usagef("--format %s: with --acls use text or json", f.format)
	case f.principal != "" && (!f.acls || f.format != "text"):
		return usagef("--principal: it is for --acls, as text")
	}
	file := defaultRules
	if len(args) > 0 {
		file = args[0]
	}
	plan, err := loadPlan(file)
	if err != nil {
		return err
	}
	if f.acls {
		return writeRights(c.OutOrStdout(), f, plan)
	}
	return write(c.OutOrStdout(), describePlan(plan))
}

func writePlanJSON(w io.Writer, p *planAnswer) error { return writeIndented(w, p) }

// writeIndented writes JSON for people and programs.
func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
