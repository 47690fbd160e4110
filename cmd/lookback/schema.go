package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/rules"
)

type schemaFlags struct{ rule, emit string }

func newSchema() *cobra.Command {
	var f schemaFlags
	c := &cobra.Command{
		Use:   "schema [rules|tests|rows] [RULES.yaml]",
		Short: "Print the JSON Schema of rules files, of tests files or of output rows",
		Long: `Print a JSON Schema (draft-07). Editors complete and check rules.yaml by that of rules, which is the default, and rules_test.yaml by
that of tests; readers of output topics check rows by that of rows. Written to a file, a YAML file refers to it in its first line:

  # yaml-language-server: $schema=rules.schema.json

What a schema cannot say is for check and test: what names refer to, and whether expressions are right.

With a rules file, tests have its streams, fields, classes and columns, and rows its columns with their types. Rows of several rules or
forms are definitions of their own, named by rule and form, as in attributed.deltas. Rejected and late records have no schema: they
are the bytes that came.`,
		Example: "  lookback schema rules > rules.schema.json\n" +
			"  lookback schema tests rules.yaml > rules_test.schema.json\n" +
			"  lookback schema rows rules.yaml --rule attributed --emit deltas > deltas.schema.json",
		Args:      arguments(0, 2),
		ValidArgs: []string{"rules", "tests", "rows"},
		RunE:      func(c *cobra.Command, args []string) error { return printSchema(c, f, args) },
	}
	c.Flags().StringVar(&f.rule, "rule", "", "rows of this rule only")
	c.Flags().StringVar(&f.emit, "emit", "", "rows of this form only: deltas, upserts, or final, as replay prints them (default: all that there are)")
	return c
}

func printSchema(c *cobra.Command, f schemaFlags, args []string) error {
	what := "rules"
	if len(args) > 0 {
		what = args[0]
	}
	switch {
	case !slices.Contains(c.ValidArgs, what):
		return usagef("schema: %q: there are schemas of rules, tests and rows", what)
	case what == "rules" && len(args) > 1:
		return usagef("schema: unexpected argument %q: the schema of rules files is one for all", args[1])
	case what != "rows" && (f.rule != "" || f.emit != ""):
		return usagef("--rule and --emit: they choose among rows")
	case f.emit != "" && !slices.Contains(rules.RowForms, f.emit):
		return usagef("--emit %s: use deltas, upserts or final", f.emit)
	case f.rule != "" && len(args) < 2:
		return usagef("--rule %s: of which rules file?", f.rule)
	}
	var plan *rules.Plan
	if len(args) > 1 {
		var err error
		if plan, err = loadPlan(args[1]); err != nil {
			return err
		}
	}
	if f.rule != "" && !plan.Only(f.rule) {
		return usagef("--rule %s: no such rule", f.rule)
	}
	schema := rules.RulesSchema()
	switch what {
	case "tests":
		schema = rules.TestsSchema(plan)
	case "rows":
		schema = rules.RowsSchema(plan, f.emit)
	}
	return writeIndented(c.OutOrStdout(), schema)
}
