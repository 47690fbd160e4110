package rules

import (
	"fmt"
	"slices"
)

// suggestion returns ` (did you mean "x"?)` for the candidate nearest to a mistyped name, or nothing where none is near.
func suggestion(name string, candidates []string) string {
	best, bestDistance := "", max(1, min(len(name), 24)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := editDistance(name, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b. It gives up
// with limit once the lengths alone cost that much.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(b)]
}
