package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

type checkFlags struct {
	format    string
	lintFatal bool
	connect   bool
}

func newCheck() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check [RULES.yaml...]",
		Short: "Check rules files, all errors at once",
		Long: `Check rules files (default rules.yaml): every error with file, line, column and the line itself, and warnings about what
is allowed and still likely to surprise. Tables that come from files are read. --connect also reaches the brokers and
checks the topics, without changing anything.`,
		RunE: func(c *cobra.Command, args []string) error {
			if f.format != "text" && f.format != "json" {
				return usagef("--format %s: use text or json", f.format)
			}
			if len(args) == 0 {
				args = []string{defaultRules}
			}
			return check(c, f, args)
		},
	}
	c.Flags().StringVar(&f.format, "format", "text", "text or json")
	c.Flags().BoolVar(&f.lintFatal, "lint-fatal", false, "exit with code 3 where there are warnings")
	c.Flags().BoolVar(&f.connect, "connect", false, "reach the brokers and check the topics")
	c.Flags().String("brokers", "", "brokers for --connect, host:port,... (default: as run)")
	return c
}

// defaultRules is the rules file where none is named.
const defaultRules = "rules.yaml"

// checked is what check says of one file.
type checked struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Hash     string    `json:"hash,omitempty"`
	Errors   []finding `json:"errors,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
}

type finding struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func check(c *cobra.Command, f checkFlags, files []string) error {
	failed, warned := false, false
	for _, file := range files {
		r := checked{File: file}
		plan, err := loadPlan(file)
		if err == nil {
			_, err = openDimensions(plan, nil)
		}
		if err == nil && f.connect {
			err = checkTopics(c, plan)
		}
		if usage := (*exitError)(nil); errors.As(err, &usage) {
			return err
		}
		if err == nil {
			r.OK, r.Hash, r.Warnings = true, plan.Hash, warnings(plan)
			warned = warned || len(r.Warnings) > 0
		} else {
			failed = true
			r.Errors = findings(err)
		}
		if err := r.print(c, f.format, plan, err); err != nil {
			return err
		}
	}
	switch {
	case failed:
		return &exitError{code: exitFailed}
	case warned && f.lintFatal:
		return &exitError{code: exitFindings}
	}
	return nil
}

func findings(err error) []finding {
	var errs rules.Errors
	if !errors.As(err, &errs) {
		return []finding{{Message: err.Error()}}
	}
	var out []finding
	for _, e := range errs {
		out = append(out, finding{e.Line, e.Col, e.Msg})
	}
	return out
}

func (r *checked) print(c *cobra.Command, format string, plan *rules.Plan, err error) error {
	if format == "json" {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
		return err
	}
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr(), err)
		return nil
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "%s: warning: %s\n", r.File, w)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: app %s, %d streams, %d tables, %d rules, hash %s\n",
		r.File, plan.App, len(plan.Streams), len(plan.Tables), len(plan.Rules), plan.Hash)
	return err
}

// checkTopics reaches the brokers and looks at the topics.
func checkTopics(c *cobra.Command, plan *rules.Plan) error {
	var s runSettings
	config, err := s.config(c, plan, c.ErrOrStderr())
	if err != nil {
		return err
	}
	return processors.CheckTopics(plan, config.ClientID)
}
