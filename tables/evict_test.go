package tables

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A cache that was full of short histories, and is then full of long ones, does not keep the room of both; and what it moves
// stays what it was.
func TestACacheKeepsToItsBound(t *testing.T) {
	const cache, keys, long, rows, commits = 24 << 20, 300_000, 20, 400, 14
	table := mustOpen(t, testShape, Options{Dir: t.TempDir(), CacheBytes: cache})
	text := strings.Repeat("x", 200)
	row := func(n int64) codecs.Row { return testRow(0, n, fmt.Sprint(n), text, "0") }
	check := func(key int64, want codecs.Row) {
		t.Helper()
		h := &table.current
		encoded := codecs.AppendValue(nil, codecs.IntValue(key))
		if !h.open(encoded, hash32(encoded)) {
			return // not in memory
		}
		if got := h.get(want.Stream(), want.ID()); string(got) != string(want) {
			t.Fatalf("key %d: %q, want %q", key, got, want)
		}
	}
	insert := func(key int64, row codecs.Row) {
		t.Helper()
		h, err := table.History(codecs.AppendValue(nil, codecs.IntValue(key)))
		if err != nil {
			t.Fatal(err)
		}
		h.Insert(row)
	}
	short := func(key int64) codecs.Row { return testRow(0, key, fmt.Sprint(key), "a", "0") }
	for key := range int64(keys) {
		insert(key, short(key))
	}
	most := int64(0)
	var log [][2][]byte
	for n := range int64(commits) {
		for key := n * long; key < (n+1)*long; key++ {
			for i := range int64(rows) {
				insert(keys+key, row(i))
			}
		}
		commit(t, table, &log)
		most = max(most, table.arena.size()+table.Bytes()-table.arena.live)
	}
	for key := range int64(keys) {
		check(key, short(key))
	}
	for key := range int64(long * commits) {
		check(keys+key, row(rows-1))
	}
	if bound := int64(cache + cache/gapShare + gapBytes); most > bound {
		t.Errorf("the cache takes %d bytes, which is more than %d", most, bound)
	}
	if table.Bytes() > cache || table.Keys() == 0 {
		t.Errorf("the cache has %d keys in %d bytes", table.Keys(), table.Bytes())
	}
}
