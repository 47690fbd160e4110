package tables

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A log that is lost or cut in the middle leaves a store that opens without a word. It must not be taken for complete, however
// many commits there were; without damage it must.
func TestAStoreWithoutSomeOfItsCommitsIsStale(t *testing.T) {
	for _, commits := range []int{1, 5, chainLength - 1, chainLength, chainLength + 1, 3*chainLength + 7} {
		for _, drop := range []int{-1, 0, 1, commits / 2, commits - 2} {
			if drop >= commits-1 || drop >= 0 && drop < commits-chainLength {
				continue // the last one may be missing: that is an earlier state; those before the ring are in tables
			}
			t.Run(fmt.Sprint(commits, " without ", drop), func(t *testing.T) {
				dir := t.TempDir()
				table, err := Open(testShape, Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				for i := range commits {
					table.SetMeta(codecs.Meta{Watermark: int64(i)})
					if err := table.Commit(int64(i + 1)); err != nil {
						t.Fatal(err)
					}
				}
				if drop >= 0 {
					lost := uint64(drop + 1)
					if before := lost - chainLength; lost > chainLength {
						err = table.disk.db.Set(chainKey(lost), chainValue(before), nil)
					} else {
						err = table.disk.db.Delete(chainKey(lost), nil)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if err := table.Close(); err != nil {
					t.Fatal(err)
				}
				table, err = Open(testShape, Options{Dir: dir})
				if stale := (*StaleError)(nil); errors.As(err, &stale) != (drop >= 0) {
					t.Fatalf("opened with %v", err)
				}
				if err == nil {
					if table.Position() != int64(commits) {
						t.Errorf("position %d, want %d", table.Position(), commits)
					}
					if err := table.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}
