package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2058fbc3/lookback/processors"
)

// causeTexts say what a cause means, to readers of reports.
var causeTexts = map[processors.Cause]string{
	processors.CauseLate:        "events that came too late would change them",
	processors.CauseMaxTouches:  "their keys had more touches than max_touches",
	processors.CauseForgotten:   "the late topic does not reach back to when events of their keys came",
	processors.CauseRuleVersion: "last written by another version of the rule",
	processors.CauseMisKeyed:    "events of their keys are in several partitions, against partitioned_by",
	processors.CauseRejected:    "an event of their keys was rejected that these rules accept",
	processors.CauseDuplicate:   "they count more than once",
	processors.CauseLost:        "they have no rows",
	processors.CauseUnknown:     "they have rows, and no such conversion is in the topics",
	processors.CauseUnexplained: "for no cause that is known",
}

// interval says which conversions were judged.
func verifiedInterval(v *processors.Verification) string {
	switch text := func(t *time.Time) string { return t.Format(time.RFC3339Nano) }; {
	case v.From == nil && v.To == nil:
		return "all conversions that the topics hold"
	case v.From == nil:
		return "conversions before " + text(v.To)
	case v.To == nil:
		return "conversions from " + text(v.From) + " on"
	default:
		return "conversions of " + text(v.From) + " to " + text(v.To)
	}
}

// verdict says in a sentence what came of it.
func verdict(v *processors.Verification) string {
	judged, explained, wrong := v.Judged(), int64(0), v.Wrong()
	for i := range v.Rules {
		explained += v.Rules[i].Explained()
	}
	switch {
	case judged == 0:
		return "no conversions were judged"
	case wrong > 0:
		return fmt.Sprintf("different: %s of %s conversions are not what the batch answer says", grouped(wrong), grouped(judged))
	case explained > 0:
		return fmt.Sprintf("equal: %s conversions are what the batch answer over the accepted events says; %s (%s) would be others over all events",
			grouped(judged), grouped(explained), percent(explained, judged))
	}
	return fmt.Sprintf("equal: %s conversions are what the batch answer says, to the row", grouped(judged))
}

// percent is a share, with digits enough to tell it from nothing.
func percent(part, whole int64) string {
	if part == 0 || whole == 0 {
		return "0%"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'g', 3, 64) + "%"
}

// grouped writes a count in groups of three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// rejectsOf lists reasons and counts.
func rejectsOf(s *processors.VerifiedStream) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(s.Rejected)) {
		list = append(list, grouped(s.Rejected[reason])+" "+reason)
	}
	if len(list) == 0 {
		return "0"
	}
	return strings.Join(list, ", ")
}

func verifyText(w io.Writer, v *processors.Verification) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "app %s, rules %s: %s\n", v.App, v.RulesHash, verifiedInterval(v))
	if v.Gap != "" {
		fmt.Fprintln(t, v.Gap)
	}
	fmt.Fprintf(t, "\nstream\tevents\tlate\trejected\n")
	for i := range v.Streams {
		s := &v.Streams[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Stream, grouped(s.Events), grouped(s.Late), rejectsOf(s))
	}
	for i := range v.Rules {
		verifiedRuleText(t, &v.Rules[i])
	}
	if v.LargeKeys > 0 {
		fmt.Fprintf(t, "\n%s histories were too large to try all combinations; they were counted by look-ups, as the app counts.\n", grouped(v.LargeKeys))
	}
	fmt.Fprintf(t, "\n%s\n", verdict(v))
	return t.Flush()
}

func verifiedRuleText(t io.Writer, r *processors.VerifiedRule) {
	fmt.Fprintf(t, "\nrule %s: %s conversions, %s equal, %s explained, %s wrong", r.Rule, grouped(r.Conversions), grouped(r.Equal), grouped(r.Explained()), grouped(r.Wrong()))
	if r.InFlight > 0 {
		fmt.Fprintf(t, "; %s in flight", grouped(r.InFlight))
	}
	if r.RowsGone > 0 {
		fmt.Fprintf(t, "; %s not judged, because their rows may be gone from the output topics", grouped(r.RowsGone))
	}
	fmt.Fprintln(t)
	for _, cause := range processors.VerifyCauses() {
		if n := r.Different[cause]; n > 0 {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", cause, grouped(n), causeTexts[cause])
		}
	}
	for i, total := range r.Totals {
		if i == 0 {
			fmt.Fprintf(t, "  model\tclass\t\tbatch\tstream\n")
		}
		for _, name := range measuresOf(&total) {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", total.Model, total.Class, name, total.Batch[name], total.Stream[name])
		}
	}
	for i := range r.Examples {
		d := &r.Examples[i]
		fmt.Fprintf(t, "  %s: conversion %s of %s\n", d.Cause, d.Conversion, d.EventTime)
		for _, said := range []struct {
			who  string
			rows []string
		}{{"batch", d.Batch}, {"deltas", d.Deltas}, {"upsert", d.Upserts}} {
			for _, row := range said.rows {
				fmt.Fprintf(t, "    %s %s\n", said.who, row)
			}
		}
	}
}

// measuresOf returns the names of a total, the credit first.
func measuresOf(t *processors.VerifiedTotal) []string {
	names := slices.Sorted(maps.Keys(t.Batch))
	at := slices.Index(names, "credit")
	return append([]string{"credit"}, slices.Delete(names, at, at+1)...)
}
