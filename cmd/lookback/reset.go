package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

type resetFlags struct {
	processors.ResetOptions
	yes bool
	run runSettings
}

func newReset() *cobra.Command {
	var f resetFlags
	c := &cobra.Command{
		Use:   "reset [RULES.yaml]",
		Short: "Let an app begin anew: forget its offsets and its state",
		Long: `Let an app begin anew: forget how far its consumer groups have read, empty its state topics, and remove this machine's
local state. The next run reads the source topics from their beginning. Source topics and tables are never touched.

First it prints what it found and would do. Then it asks, on a terminal, or goes on if --yes was given; otherwise nothing
is changed. It refuses while an instance is running. If it fails in the middle, run it again: until it has succeeded the
app must not be started.

Outputs stay unless --outputs is given. Rows that are written again have a higher _version, so stores that keep the
largest one take them. Deltas that are written again count twice for readers that sum them up.`,
		Example: "  lookback reset rules.yaml\n" +
			"  lookback reset --yes rules.yaml\n" +
			"  lookback reset --outputs --yes rules.yaml\n" +
			"  lookback reset --key user_id rules.yaml",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error { return reset(c, f, args) },
	}
	c.Flags().StringVar(&f.run.rules, "rules", "", "rules file (default rules.yaml; env LOOKBACK_RULES)")
	c.Flags().BoolVar(&f.yes, "yes", false, "do it, without asking")
	c.Flags().BoolVar(&f.Outputs, "outputs", false, "empty the topics of rows, deltas, late and rejected records, too")
	c.Flags().StringVar(&f.Key, "key", "", "reset the state of this key alone")
	c.Flags().Uint64Var(&f.Epoch, "epoch", 0, "lowest epoch of the versions to come (default: one above the changelogs')")
	connectionFlags(c.Flags(), &f.run, "brokers", "state-dir")
	return c
}

func reset(c *cobra.Command, f resetFlags, args []string) error {
	plan, config, err := f.run.load(c, args, c.ErrOrStderr())
	if err != nil {
		return err
	}
	found, err := processors.PlanReset(c.Context(), plan, config, f.ResetOptions)
	if err != nil {
		return err
	}
	defer found.Close()
	if err := printReset(c.OutOrStdout(), plan, found); err != nil {
		return err
	}
	if err := found.Busy(); err != nil {
		return err
	}
	if !f.yes {
		agreed, err := confirm(c, plan.App)
		if err != nil || !agreed {
			fmt.Fprintln(c.OutOrStdout(), "Nothing was changed.")
			return err
		}
	}
	done := 0
	err = found.Do(c.Context(), func(what string) {
		done++
		fmt.Fprintln(c.OutOrStdout(), what)
	})
	if err != nil && done > 0 {
		return fmt.Errorf("the reset is not complete: run it again before the app is started: %w", err)
	}
	if err == nil {
		fmt.Fprintf(c.OutOrStdout(), "app %s begins anew with its next run\n", plan.App)
	}
	return err
}

// printReset prints what a reset would do.
func printReset(w io.Writer, plan *rules.Plan, r *processors.Reset) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "A reset of app %s forgets the offsets of the consumer groups\n", plan.App)
	for _, g := range r.Groups {
		fmt.Fprintf(t, "  %s\t%s\n", g.Name, cmp.Or(strings.Join(g.Members, ", "), "no members"))
	}
	fmt.Fprintf(t, "so that they read from their beginning\n")
	for _, name := range r.Sources {
		fmt.Fprintf(t, "  %s\n", name)
	}
	fmt.Fprintf(t, "and deletes all records of\n")
	for _, topic := range r.Topics {
		state := fmt.Sprintf("%d partitions\tabout %d records", topic.Partitions, topic.Records)
		if topic.Partitions == 0 {
			state = "is created\t"
		}
		fmt.Fprintf(t, "  %s\t%s\n", topic.Name, state)
	}
	for _, dir := range r.Folders {
		fmt.Fprintf(t, "  %s\tfolder of this machine\n", dir)
	}
	if len(r.Outputs) > 0 {
		fmt.Fprintf(t, "It leaves what was written to\n")
		for _, name := range r.Outputs {
			fmt.Fprintf(t, "  %s\n", name)
		}
	}
	fmt.Fprintf(t, "Versions of rows go on with epoch %d: larger than all there are.\n", r.Epoch)
	if len(r.Recounted) > 0 {
		fmt.Fprintf(t, "Deltas are written once more: readers of %s that sum them up must begin anew, too.\n", strings.Join(r.Recounted, ", "))
	}
	return t.Flush()
}

// confirm asks on a terminal for the app's name. Where nobody can be asked the answer is no.
func confirm(c *cobra.Command, app string) (bool, error) {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		fmt.Fprintln(c.OutOrStdout(), "To do it, add --yes.")
		return false, nil
	}
	fmt.Fprintf(c.OutOrStdout(), "To do it, type the app's name: ")
	line, err := bufio.NewReader(interruptible(c.Context(), in)).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line) == app, nil
}

// connectionFlags adds the flags of a command that reaches brokers for a while: those overrides that it names, and logs.
func connectionFlags(fs *pflag.FlagSet, s *runSettings, names ...string) {
	for _, o := range overrides {
		if slices.Contains(names, o.flag) {
			overrideFlags(fs, o)
		}
	}
	s.logFlags(fs)
}
