package tables

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// trimRig is a disk table whose every commit writes one row and the meta record, with the changelog by definition.
type trimRig struct {
	t     *testing.T
	dir   string
	table *Table
	dues  []int64 // by offset; records that are no rows are always due
	meta  int64   // offset of the last meta record
}

const alwaysDue = -1 << 62

func (r *trimRig) open() {
	r.t.Helper()
	r.table = mustOpen(r.t, testShape, Options{Dir: r.dir})
}

func (r *trimRig) reopen() {
	r.t.Helper()
	if err := r.table.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// commit inserts a row of a time, for as many units as its stream is kept, and moves the watermark.
func (r *trimRig) commit(time, watermark int64) {
	r.t.Helper()
	h, err := r.table.History(codecs.AppendValue(nil, codecs.IntValue(time%7)))
	if err != nil {
		r.t.Fatal(err)
	}
	row := testRow(0, time, fmt.Sprint(len(r.dues)), "x", "y")
	h.Insert(row)
	m := *r.table.Meta()
	m.Watermark = watermark
	r.table.SetMeta(m)
	if _, err := r.table.Expire(); err != nil {
		r.t.Fatal(err)
	}
	changes := 0
	r.table.Changes(func([]byte, []byte) { changes++ })
	for range changes {
		r.dues = append(r.dues, alwaysDue)
	}
	r.meta = int64(len(r.dues)) - 1
	r.dues[len(r.dues)-changes] = r.table.due(row)
	if err := r.table.Commit(int64(len(r.dues))); err != nil {
		r.t.Fatal(err)
	}
}

// useless returns how many records from the first on are of no use, by definition.
func (r *trimRig) useless(watermark int64) int64 {
	n := slices.IndexFunc(r.dues[:r.meta], func(due int64) bool { return due >= watermark })
	if n < 0 {
		return r.meta
	}
	return int64(n)
}

// A disk table gives up what is due, never more, however often it is closed and opened in between.
func TestTrimmableOutlivesTheProcess(t *testing.T) {
	r := &trimRig{t: t, dir: t.TempDir()}
	r.open()
	const commits = 6000
	for i := range int64(commits) {
		r.commit(i, i)
		if i%500 == 499 {
			r.reopen()
			r.commit(i, i)
		}
		got, most := r.table.Trimmable(), r.useless(i)
		if got > most {
			t.Fatalf("after %d commits %d records are given up, %d are of no use", i+1, got, most)
		}
		// What came since the segments were written down is due later, as is what shares a segment with it.
		const rows, slack = 2, 2 * 2 * saveSegments
		if i > 2000 && got < most-rows*slack {
			t.Fatalf("after %d commits only %d records are given up, %d are of no use", i+1, got, most)
		}
	}
}

// However far the watermark has jumped, the record that says so stays.
func TestTheLastMetaRecordStays(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		r := &trimRig{t: t, dir: dir}
		r.open()
		r.commit(1, 1)
		r.commit(2, 1_000_000)
		if got := r.table.Trimmable(); got > r.meta {
			t.Errorf("%d records are given up, the last meta record is at offset %d", got, r.meta)
		}
		r.commit(1_000_000, 1_000_001)
		if got := r.table.Trimmable(); got == 0 {
			t.Error("nothing is given up though the meta record was written again")
		}
	}
}

func TestDamagedTrimSegments(t *testing.T) {
	for _, value := range [][]byte{{}, {1}, {1, 5}, {255, 255, 255, 255, 15}} {
		var s trim
		if err := s.restore(value); !errors.Is(err, errSegments) {
			t.Errorf("%v: got %v", value, err)
		}
	}
	r := &trimRig{t: t, dir: t.TempDir()}
	r.open()
	r.commit(1, 1)
	if err := r.table.disk.db.Set(trimKey, []byte{1}, nil); err != nil {
		t.Fatal(err)
	}
	r.table.Close()
	_, err := Open(testShape, Options{Dir: r.dir})
	if stale := (*StaleError)(nil); !errors.As(err, &stale) {
		t.Errorf("opened with damaged segments: got %v", err)
	}
}
