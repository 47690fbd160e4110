package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/processors"
)

// summarize prints what has happened to a number of events.
func summarize(w io.Writer, events int64, s processors.Snapshot, took time.Duration) {
	total := func(m map[string]int64) (n int64) {
		for _, v := range m {
			n += v
		}
		return n
	}
	fmt.Fprintf(w, "events      %d in %s (%.0f/s)\n", events, took.Round(time.Millisecond), float64(events)/max(took.Seconds(), 1e-9))
	fmt.Fprintf(w, "accepted    %d\n", total(s.Accepted))
	fmt.Fprintf(w, "duplicates  %d\n", total(s.Duplicates))
	fmt.Fprintf(w, "late        %d\n", total(s.Late))
	fmt.Fprintf(w, "rejected    %d\n", total(s.Rejected))
	for _, reason := range slices.Sorted(maps.Keys(s.Rejected)) {
		fmt.Fprintf(w, "  %-18s %d\n", reason, s.Rejected[reason])
	}
	kinds := slices.SortedFunc(maps.Keys(s.Rows), func(a, b processors.RowKind) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Class, b.Class), cmp.Compare(b.Sign, a.Sign))
	})
	if len(kinds) > 0 {
		fmt.Fprintln(w, "rows")
	}
	for _, k := range kinds {
		fmt.Fprintf(w, "  %-18s %-10s %-8s %+d  %d\n", k.Rule, k.Model, k.Class, k.Sign, s.Rows[k])
	}
}

// appendCompact appends valid JSON without its white space between tokens.
func appendCompact(dst, src []byte) []byte {
	b := bytes.NewBuffer(dst)
	if json.Compact(b, src) != nil {
		return append(dst, "null"...)
	}
	return b.Bytes()
}
