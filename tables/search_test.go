package tables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A search that goes one step at a time finds every row that was there all the time, however much else comes and goes between the steps,
// and nothing that was not there.
func TestASearchFindsWhatStays(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 1))
			table := store.open(t, testShape)
			var log [][2][]byte
			key := func(n int) []byte { return codecs.AppendValue(nil, codecs.StringValue(fmt.Sprint("key", n))) }
			change := func(n int, do func(h *History)) {
				h, err := table.History(key(n))
				if err != nil {
					t.Fatal(err)
				}
				do(h)
			}
			sought := testRow(2, 5, "wanted", "x")
			insert := func(n int) {
				change(n, func(h *History) {
					if h.Get(0, testRow(0, 1, "a").ID()) == nil {
						h.Insert(testRow(0, 1, "a", "b", "c"))
					}
				})
			}
			want := map[string]bool{}
			for n := range 3000 {
				insert(n)
				if n%500 == 7 {
					want[string(key(n))] = true
					change(n, func(h *History) {
						h.Insert(sought)
						for i := range n / 300 { // some are large
							h.Insert(testRow(0, int64(i), fmt.Sprint(i), "b", "c"))
						}
					})
				}
			}
			commit(t, table, &log)
			search := NewSearch(Sought{0, sought.ID()}, Sought{2, sought.ID()})
			got, steps := map[string]bool{}, 0
			for done := false; !done; steps++ {
				visits := 0
				var err error
				done, err = table.Search(search, func(key []byte) { got[string(key)] = true }, func() bool { visits++; return visits < 40 })
				if err != nil {
					t.Fatal(err)
				}
				for range 20 {
					if n := rng.IntN(6000); n%500 != 7 {
						insert(n)
					}
					if n := rng.IntN(6000); n%500 != 7 {
						change(n, func(h *History) { h.Remove(0, testRow(0, 1, "a").ID()); h.release() })
					}
				}
				commit(t, table, &log)
			}
			if steps < 5 || len(got) != len(want) {
				t.Errorf("in %d steps it finds %d keys, want %d", steps, len(got), len(want))
			}
			for k := range got {
				if !want[k] {
					t.Errorf("it finds %q", k)
				}
			}
			rows, _, err := table.Rows(key(507), 3, 100)
			if err != nil || len(rows) != 3 || !slices.ContainsFunc(rows, func(r codecs.Row) bool { return string(r) == string(sought) }) {
				t.Errorf("rows %q, %v", rows, err)
			}
			if rows, _, err = table.Rows(key(507), 2, 100); err != nil || len(rows) != 2 {
				t.Errorf("rows of the first two streams: %q, %v", rows, err)
			}
			if rows, _, err = table.Rows(key(507), 3, 2); err != nil || rows != nil {
				t.Errorf("rows, of which there are too many: %q, %v", rows, err)
			}
		})
	}
}
