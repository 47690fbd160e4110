// Command lookback does real-time ad attribution on Kafka: it compiles a rules file, keeps the history of events per
// key, and writes credits and corrections. Each subcommand is one file here; what it does is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitFindings = 3 // nothing is wrong but for what `check` warns of
)

// exitError is an error with an exit code of its own. A nil cause prints nothing more.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}
func (e *exitError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
	}
	var faults rules.Errors
	switch text := err.Error(); {
	case errors.As(err, &faults):
		fmt.Fprintln(stderr, faults) // each begins with file:line:column, for editors to jump to
	case text != "":
		fmt.Fprintln(stderr, "lookback: "+text)
	}
	if code == exitUsage {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", command.CommandPath())
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "lookback",
		Short:         "Real-time ad attribution on Kafka",
		Long:          "Lookback joins impressions, clicks and conversions from Kafka by the rules of one YAML file, and writes credits\nand, when an event comes late, corrections.\n\nExit codes: 0 ok, 1 failed, 2 usage, 3 findings (check --lint-fatal).",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetHelpCommand(newHelp())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.AddCommand(newCheck(), newTest(), newWhy(), newReplay(), newVerify(), newExplain(), newSchema(), newInfer(), newGen(), newRun(), newSeed(), newReset(), newHealth(), newDev(), newDemo(), newVersion())
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return usagef("unknown command %q (did you mean %q?)", name, near[0])
	}
	return usagef("unknown command %q", name)
}

// newHelp is cobra's help command, but a usage error where there is no such command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about a command",
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(c.Root(), args[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// arguments says how many positional arguments a command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch use := c.Parent().Name() + " " + c.Use; {
		case len(args) < least:
			return usagef("%s: arguments are missing: %s", c.Name(), use)
		case len(args) > most:
			return usagef("%s: unexpected argument %q: %s", c.Name(), args[most], use)
		}
		return nil
	}
}
