package tables

import (
	"fmt"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// When time makes a leap over everything, it leaves with several commits, each of a bounded size.
func TestALeapOfTimeIsTakenInSteps(t *testing.T) {
	const keys = 3 * expireKeys
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			table := store.open(t, testShape)
			for n := range int64(keys) {
				h, err := table.History(codecs.AppendValue(nil, codecs.IntValue(n)))
				if err != nil {
					t.Fatal(err)
				}
				h.Insert(testRow(0, n%500, fmt.Sprint(n), "a", "0"))
			}
			var log [][2][]byte
			commit(t, table, &log)
			left, steps := 0, 0
			for ; left < keys && steps < keys; steps++ {
				before := table.pending.rows()
				if err := table.Advance(1e9); err != nil {
					t.Fatal(err)
				}
				if err := table.Advance(1e9); err != nil { // nothing more before the commit
					t.Fatal(err)
				}
				n := table.pending.rows() - before
				if n == 0 || n > expireKeys+packBytes {
					t.Fatalf("%d rows leave with a commit", n)
				}
				left += n
				commit(t, table, &log)
			}
			if steps < keys/expireKeys {
				t.Errorf("%d rows left in %d steps", left, steps)
			}
			if h, err := table.History(codecs.AppendValue(nil, codecs.IntValue(7))); err != nil || h.Len() != 0 {
				t.Errorf("%d rows are left of a key (%v)", h.Len(), err)
			}
			if n := table.Keys(); n != 0 {
				t.Errorf("%d keys are left in memory", n)
			}
		})
	}
}

// rows returns how many entries change with the next commit.
func (p *pending) rows() int { return len(p.entries) }
