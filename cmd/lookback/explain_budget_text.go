package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// writeBudgetText writes a budget for people.
func writeBudgetText(w io.Writer, a *budgetAnswer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	size := processors.FormatBytes
	fmt.Fprintf(t, "app %s, rules %s: state in the long run\n", a.App, a.RulesHash)
	for i := range a.Keys {
		k := &a.Keys[i]
		fmt.Fprintf(t, "\nkey %s, %s keys of %.0f bytes\n", k.Key, about(k.Keys), k.KeyBytes)
		fmt.Fprintf(t, "  stream\trate\tkept for\tevents kept\trow\tmemory/row\tdisk/row\tchangelog/record\trepartition/record\n")
		for _, s := range k.Streams {
			repartition := "read directly"
			if !k.Direct {
				repartition = size(s.Repartition)
			}
			fmt.Fprintf(t, "  %s\t%s/s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Stream, about(s.Rate), durationText(s.Kept), about(s.Events), size(s.Row), size(s.Memory),
				size(s.Disk), size(s.Changelog), repartition)
		}
		fmt.Fprintf(t, "  store: memory\t%s\thistories of %s events\n", size(k.Memory), about(k.Events))
		fmt.Fprintf(t, "  store: disk\t%s\tin %d partitions\n", size(k.Disk), k.Partitions)
		c := k.Changelog
		fmt.Fprintf(t, "  changelog\t%s\t%s records; %s before compaction; %s a day without trimming; up to %s more, as Kafka deletes whole segments\n",
			size(c.Bytes), about(c.Records), size(c.Raw), size(c.PerDay), size(c.Segments))
		if !k.Direct {
			fmt.Fprintf(t, "  repartition\t%s\twritten, %s a day; and up to a segment of each partition\n", size(k.Repartition.Bytes), size(k.Repartition.PerDay))
		}
		fmt.Fprintf(t, "  restore\t%s\tof CPU into memory, %s onto the disk\n", secondsText(k.Restore.ToMemory), secondsText(k.Restore.ToDisk))
	}
	fmt.Fprintf(t, "\nin all\n  memory\t%s\thistories, of processes that take %s\n  disk\t%s\t\n  changelog\t%s\t\n  restore\t%s\tof CPU into memory, %s onto the disk\n",
		size(a.Memory), size(a.Process), size(a.Disk), size(a.Changelog), secondsText(a.Restore.ToMemory), secondsText(a.Restore.ToDisk))
	s := &a.Suggestion
	fmt.Fprintf(t, "\nsuggested\n  topics.partitions\t%d\n  state.store\t%s\n", s.Partitions, s.Store)
	if s.MaxMemory > 0 {
		fmt.Fprintf(t, "  state.max_memory\t%s\n  disk of an instance\t%s\n", sizeSetting(s.MaxMemory), size(s.Disk))
	} else {
		fmt.Fprintf(t, "  memory of an instance\t%s\n", size(s.Process))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, list := range []struct {
		title string
		lines []string
	}{{"because", s.Reasons}, {"assumed", a.Assumed}} {
		fmt.Fprintf(w, "\n%s\n", list.title)
		for _, line := range list.lines {
			fmt.Fprintf(w, "  - %s\n", line)
		}
	}
	return nil
}

// sizeSetting writes bytes as rules files have them.
func sizeSetting(n int64) string {
	switch {
	case n%1e9 == 0:
		return fmt.Sprintf("%dGB", n/1e9)
	case n%1e6 == 0:
		return fmt.Sprintf("%dMB", n/1e6)
	}
	return fmt.Sprintf("%dB", n)
}

// about writes a count in three digits or so.
func about(n float64) string {
	switch {
	case n < 0:
		return "-" + about(-n)
	case n >= 99.5:
		return compact(int64(math.Round(n)))
	case n >= 10:
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.2g", n)
}

// durationText writes seconds as rules files have durations, in two units at most.
func durationText(seconds float64) string {
	unit := 1.0
	for _, u := range []float64{60, 3600, 86_400} {
		if seconds >= 48*u || seconds >= u && math.Mod(seconds, u) == 0 {
			unit = u
		}
	}
	return rules.FormatDuration(int64(math.Round(seconds/unit)*unit) * 1e6)
}

// secondsText writes seconds of CPU.
func secondsText(seconds float64) string {
	switch {
	case seconds < 100:
		return fmt.Sprintf("%.2g s", seconds)
	case seconds < 6000:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}
