package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// bugs are what a build with fail points can be given for the soak to find, and where processes must die for it to show.
var bugs = []struct {
	name   string
	points []string
}{
	// Of a transaction that is aborted the store has the events, so they are duplicates when they are read again.
	{"apply-before-commit", []string{beforeOffsets, afterOffsets, beforeEnd}},
	// What is between the two is done twice.
	{"offsets-outside-transaction", []string{afterEnd, beforeApply}},
	// Restored tables have events of transactions that were aborted.
	{"read-uncommitted-restore", []string{beforeOffsets, afterOffsets, beforeEnd}},
}

// findBugs soaks with one bug after the other and tells whether each was found.
func findBugs(ctx context.Context, cfg config, out io.Writer) (bool, error) {
	all := true
	for _, bug := range bugs {
		own := cfg
		own.Bug, own.Points = bug.name, bug.points
		own.Round, own.FailpointEvery = 30*time.Second, 8*time.Second
		if cfg.Dir != "" {
			own.Dir = filepath.Join(cfg.Dir, bug.name) // each begins with an empty broker
		}
		fmt.Fprintf(out, "bug %s is put in\n", bug.name)
		began := time.Now()
		res, err := soak(ctx, own, out)
		if err != nil && res.differences == 0 {
			return false, fmt.Errorf("bug %s: %w", bug.name, err)
		}
		const shown = 3
		res.explained = res.explained[:min(shown, len(res.explained))]
		res.print(out)
		verdict := "found"
		if res.differences == 0 {
			verdict, all = "NOT FOUND", false
		}
		fmt.Fprintf(out, "bug %s was %s after %s: %d differences\n\n", bug.name, verdict, time.Since(began).Round(time.Second), res.differences)
	}
	return all, nil
}
