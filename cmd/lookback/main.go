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
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "lookback: "+text)
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "Run 'lookback --help' for usage.")
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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.AddCommand(newCheck(), newReplay(), newGen(), newRun(), newDev(), newDemo(), newVersion())
	return root
}

// positional wraps cobra's check of positional arguments, so that a wrong number of them is a usage error.
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usagef("%s: %v", c.Name(), err)
		}
		return nil
	}
}
