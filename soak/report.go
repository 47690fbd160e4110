package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// print writes what was done and found.
func (r result) print(to io.Writer) {
	for _, text := range r.explained {
		fmt.Fprintf(to, "DIFFERENCE: %s\n", text)
	}
	out := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	line := func(name string, n int) { fmt.Fprintf(out, "%s\t%d\n", name, n) }
	for _, kind := range slices.Sorted(maps.Keys(r.harms)) {
		line(kind, r.harms[kind])
	}
	line("rounds", r.rounds)
	line("input records", r.counts.Events)
	line("duplicates", r.counts.Duplicates)
	line("late", r.counts.Late)
	line("rejected", r.counts.Rejected)
	line("conversions", r.counts.Conversions)
	line("with credit", r.counts.Credits)
	line("deltas", r.counts.Deltas)
	line("of these corrections", r.counts.Corrections)
	line("upserts", r.counts.Upserts)
	line("commit markers in outputs", r.commits)
	line("abort markers in outputs", r.aborts)
	line("problems", r.problems)
	line("differences", r.differences)
	// What cannot be written to the terminal has nobody to be told.
	_ = out.Flush()
}
