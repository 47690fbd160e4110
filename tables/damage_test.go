package tables

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// A store lives through kills in the middle of everything, and through damage of any of its files while it is down. Whenever it
// opens, it has each row in the last version before its position, or it finds out that it does not.
func TestAStoreSurvivesItsLives(t *testing.T) {
	const lives = 12
	for seed := range uint64(lifeSeeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 11))
			l := life{t: t, rng: rng, dir: t.TempDir(), shape: Shape{
				Streams: []StreamShape{{Used: true, Fields: 1, Paths: [][]int{{}}, Keep: 1 << 40}}, Layout: "versions",
			}}
			l.append(2000)
			for n := range lives {
				l.live(n)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// life is a store and the changelog that it follows.
type life struct {
	t     *testing.T
	rng   *rand.Rand
	dir   string
	shape Shape
	log   []int // key of each record; its version is its offset
}

const (
	lifeKeys  = 400
	lifeSeeds = 40
)

func lifeKey(i int) []byte { return codecs.AppendValue(nil, codecs.IntValue(int64(i))) }

func lifeRow(version int) codecs.Row {
	return codecs.AppendRow(nil, &codecs.Event{Time: 1, ID: codecs.StringValue("id"), Fields: []codecs.Value{codecs.IntValue(int64(version))}}, 1)
}

// append lets the changelog grow, as another instance would.
func (l *life) append(n int) {
	for range n {
		l.log = append(l.log, l.rng.IntN(lifeKeys))
	}
}

// live opens the store, catches up, commits, and ends in some way, after which its files may be damaged.
func (l *life) live(n int) {
	t := l.t
	options := Options{Dir: l.dir, WriteBytes: 64 << 10}
	table, err := Open(l.shape, options)
	if stale := (*StaleError)(nil); errors.As(err, &stale) {
		if err := os.RemoveAll(l.dir); err != nil {
			t.Fatal(err)
		}
		table, err = Open(l.shape, options)
	}
	if err != nil {
		t.Fatalf("life %d: %v", n, err)
	}
	from := int(table.Position())
	t.Logf("life %d begins at %d of %d", n, from, len(l.log))
	if from > len(l.log) {
		t.Fatalf("life %d: it is at %d, the changelog ends at %d", n, from, len(l.log))
	}
	for at := from; at < len(l.log); at++ {
		row := lifeRow(at)
		if l.spoiled(n, table, table.Load(codecs.AppendEntryKey(nil, lifeKey(l.log[at]), 0, row.ID()), codecs.AppendEntry(nil, row), int64(at))) {
			return
		}
		if l.rng.IntN(2000) == 0 {
			break // killed in the middle of its restore
		}
	}
	if int(table.Position()) == len(l.log) {
		if l.spoiled(n, table, table.Loaded(t.Context(), int64(len(l.log)))) {
			return
		}
		if !l.check(n, from, table) {
			l.end(table, false)
			return
		}
		for range l.rng.IntN(60) {
			for range 1 + l.rng.IntN(40) {
				key := l.rng.IntN(lifeKeys)
				h, err := table.History(lifeKey(key))
				if l.spoiled(n, table, err) {
					return
				}
				row := lifeRow(len(l.log))
				h.Remove(0, row.ID())
				h.Insert(row)
				l.log = append(l.log, key)
			}
			if l.spoiled(n, table, table.Commit(int64(len(l.log)))) {
				return
			}
		}
	}
	l.end(table, l.rng.IntN(3) > 0)
	if l.rng.IntN(3) > 0 {
		l.append(l.rng.IntN(500))
	}
}

// spoiled ends the life of a store that has found out that it is of no use, and removes it. Another error is a failure.
func (l *life) spoiled(n int, table *Table, err error) bool {
	if err == nil {
		return false
	}
	if table.Stale() == nil {
		l.t.Fatalf("life %d: %v", n, err)
	}
	if err := errors.Join(table.Close(), os.RemoveAll(l.dir)); err != nil {
		l.t.Fatal(err)
	}
	return true
}

// check tells whether the store was usable, and fails the test where it was wrong.
func (l *life) check(n, from int, table *Table) bool {
	last := map[int]int{}
	for at, key := range l.log {
		last[key] = at
	}
	for key, version := range last {
		h, err := table.History(lifeKey(key))
		if err != nil {
			if table.Stale() == nil {
				l.t.Fatalf("life %d: %v", n, err)
			}
			return false
		}
		have := -1
		if r := h.Get(0, lifeRow(0).ID()); r != nil {
			have = int(r.Value(0).Num)
		}
		if have != version {
			l.t.Errorf("life %d: opened at %d, loaded to %d, key %d has version %d, want %d", n, from, len(l.log), key, have, version)
		}
	}
	return true
}

// end ends a life, by a kill or in peace, and may damage what is left.
func (l *life) end(table *Table, killed bool) {
	t := l.t
	t.Logf("it ends, killed: %t", killed)
	if killed {
		crashed := filepath.Join(t.TempDir(), "crashed")
		copyLive(t, l.dir, crashed)
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(l.dir), os.Rename(crashed, l.dir)); err != nil {
			t.Fatal(err)
		}
	} else if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if l.rng.IntN(2) == 0 {
		return
	}
	files, err := os.ReadDir(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	how := l.rng.IntN(3)
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() == "LOCK" || info.Size() == 0 && how > 0 || l.rng.IntN(3) > 0 {
			continue
		}
		name := filepath.Join(l.dir, f.Name())
		t.Logf("%s, %d bytes: %s", f.Name(), info.Size(), [...]string{"removed", "cut", "flipped"}[how])
		switch how {
		case 0:
			err = os.Remove(name)
		case 1:
			err = os.Truncate(name, l.rng.Int64N(info.Size()))
		case 2:
			err = flipOneBit(l.rng, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func flipOneBit(rng *rand.Rand, name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
	return os.WriteFile(name, content, 0o644)
}
