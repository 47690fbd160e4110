package tables

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// stores are the ways a table can live. Tiny limits force what otherwise takes thousands of rows.
var stores = []struct {
	name string
	open func(t *testing.T, s Shape) *Table
}{
	{"memory", func(t *testing.T, s Shape) *Table { return mustOpen(t, s, Options{}) }},
	{"memory indexed", func(t *testing.T, s Shape) *Table { return mustOpen(t, s, Options{LargeRows: 3}) }},
	{"disk", func(t *testing.T, s Shape) *Table { return mustOpen(t, s, Options{Dir: t.TempDir()}) }},
	{"disk indexed, no cache", func(t *testing.T, s Shape) *Table {
		return mustOpen(t, s, Options{Dir: t.TempDir(), LargeRows: 3, CacheBytes: 1})
	}},
	{"disk read in part", func(t *testing.T, s Shape) *Table {
		return mustOpen(t, s, Options{Dir: t.TempDir(), LargeRows: 5, ShortRows: 1, CacheBytes: 1})
	}},
}

func mustOpen(t *testing.T, s Shape, o Options) *Table {
	t.Helper()
	table, err := Open(s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

var testShape = Shape{
	Layout: "test",
	Streams: []StreamShape{
		{Used: true, Fields: 2, Paths: [][]int{{}, {0}, {1, 0}}, Keep: 500},
		{},
		{Used: true, Fields: 1, Paths: [][]int{{0}, {codecs.SlotID}}, Keep: 900},
	},
}

func testRow(stream int, time int64, id string, fields ...string) codecs.Row {
	e := codecs.Event{Stream: stream, Time: time, ID: codecs.StringValue(id)}
	for _, f := range fields {
		v := codecs.StringValue(f)
		if f == "" {
			v = codecs.Value{}
		}
		e.Fields = append(e.Fields, v)
	}
	return codecs.AppendRow(nil, &e, len(fields))
}

// model is the table by definition: a list of rows per key.
type model map[string][]codecs.Row

func (m model) get(key string, stream int, id []byte) codecs.Row {
	for _, r := range m[key] {
		if r.Stream() == stream && string(r.ID()) == string(id) {
			return r
		}
	}
	return nil
}

func (m model) insert(key string, row codecs.Row) {
	m[key] = append(m[key], row)
	slices.SortFunc(m[key], codecs.Row.Compare)
}

func (m model) remove(key string, stream int, id []byte) {
	m[key] = slices.DeleteFunc(m[key], func(r codecs.Row) bool { return r.Stream() == stream && string(r.ID()) == string(id) })
}

func (m model) clone() model {
	c := model{}
	for k, rows := range m {
		c[k] = slices.Clone(rows)
	}
	return c
}

func (m model) expire(watermark int64) {
	for key := range m {
		m[key] = slices.DeleteFunc(m[key], func(r codecs.Row) bool {
			return r.Time()+testShape.Streams[r.Stream()].Keep < watermark
		})
	}
}

type collect struct{ rows []string }

func (c *collect) Visit(r codecs.Row) bool {
	c.rows = append(c.rows, string(r))
	return true
}

// compare holds the table against the model, by every way of reading it. Rows that are due may still be there.
func compare(t *testing.T, table *Table, m model, rng *rand.Rand) {
	t.Helper()
	watermark := table.Meta().Watermark
	live := func(rows []string) []string {
		return slices.DeleteFunc(rows, func(r string) bool { return table.due(codecs.Row(r)) < watermark })
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		rows := m[key]
		h, err := table.History([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		compareInPart(t, h, rows, rng)
		var got collect
		h.Ascend(&got)
		var want []string
		for _, r := range rows {
			want = append(want, string(r))
		}
		if got := live(got.rows); !slices.Equal(got, want) {
			t.Fatalf("key %q: rows %q, want %q", key, got, want)
		}
		for _, r := range rows {
			if string(h.Get(r.Stream(), r.ID())) != string(r) {
				t.Fatalf("key %q: Get does not find %q", key, r)
			}
		}
		for stream, shape := range testShape.Streams {
			for path, slots := range shape.Paths {
				var match []byte
				if len(rows) > 0 && len(slots) > 0 {
					from := rows[rng.IntN(len(rows))]
					if from.Stream() != stream {
						continue
					}
					for _, s := range slots {
						match = from.AppendField(match, s)
					}
				} else if len(slots) > 0 {
					continue
				}
				lo := rng.Int64N(1000) - 100
				hi := lo + rng.Int64N(1000)
				got, want := collect{}, []string(nil)
				h.Descend(stream, path, match, lo, hi, &got)
				for i := len(rows) - 1; i >= 0; i-- {
					r := rows[i]
					if r.Stream() == stream && r.Time() >= lo && r.Time() <= hi && onPath(r, slots, match) {
						want = append(want, string(r))
					}
				}
				if !slices.Equal(live(got.rows), want) {
					t.Fatalf("key %q stream %d path %v %q in [%d, %d]: %q, want %q", key, stream, slots, match, lo, hi, got.rows, want)
				}
			}
		}
	}
}

// compareInPart reads some of a history, of which nothing more is read for that.
func compareInPart(t *testing.T, h *History, rows []codecs.Row, rng *rand.Rand) {
	t.Helper()
	if len(rows) > 0 && rng.IntN(2) == 0 {
		r := rows[rng.IntN(len(rows))]
		if got := h.Get(r.Stream(), r.ID()); string(got) != string(r) {
			t.Fatalf("key %q: Get = %q, want %q", h.key, got, r)
		}
	}
	for stream := range testShape.Streams {
		if rng.IntN(2) == 0 {
			continue
		}
		last, due := int64(math.MinInt64), h.t.meta.Watermark-testShape.Streams[stream].Keep
		for _, r := range rows {
			if r.Stream() == stream {
				last = r.Time()
			}
		}
		if got := h.Latest(stream); got != last && (last != math.MinInt64 || got >= due) {
			t.Fatalf("key %q: stream %d ends at %d, want %d", h.key, stream, got, last)
		}
	}
}

// commit writes the table's changes to log, as the runtime does.
func commit(t *testing.T, table *Table, log *[][2][]byte) {
	t.Helper()
	table.Changes(func(k, v []byte) {
		*log = append(*log, [2][]byte{slices.Clone(k), slices.Clone(v)})
	})
	if err := table.Commit(int64(len(*log))); err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, table *Table, log [][2][]byte) {
	t.Helper()
	for i := table.Position(); i < int64(len(log)); i++ {
		if err := table.Load(log[i][0], log[i][1], i); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Loaded(t.Context(), int64(len(log))); err != nil {
		t.Fatal(err)
	}
}

func TestTableEqualsModel(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			for seed := range uint64(40) {
				rng := rand.New(rand.NewPCG(seed, 1))
				table, m := store.open(t, testShape), model{}
				var log [][2][]byte
				committed := model{}
				watermark := int64(0)
				for step := range 400 {
					key := string(codecs.AppendValue(nil, codecs.IntValue(rng.Int64N(5))))
					row := testRow(2*rng.IntN(2), watermark+rng.Int64N(1000)-100, fmt.Sprint(rng.IntN(40)), []string{"", "a", "b"}[rng.IntN(3)])
					if row.Stream() == 0 {
						row = testRow(0, row.Time(), fmt.Sprint(rng.IntN(40)), []string{"", "a", "b"}[rng.IntN(3)], fmt.Sprint(rng.IntN(2)))
					}
					h, err := table.History([]byte(key))
					if err != nil {
						t.Fatal(err)
					}
					have, id := m.get(key, row.Stream(), row.ID()), row.ID()
					if got := h.Get(row.Stream(), id); have != nil && string(got) != string(have) {
						t.Fatalf("seed %d step %d: Get = %q, want %q", seed, step, got, have)
					}
					// A row that is due may still be there: like any other it is replaced.
					if h.Get(row.Stream(), id) != nil || rng.IntN(4) == 0 {
						h.Remove(row.Stream(), id)
						m.remove(key, row.Stream(), id)
					}
					if row.Time()+testShape.Streams[row.Stream()].Keep >= watermark && rng.IntN(8) > 0 {
						h.Insert(row)
						m.insert(key, row)
					}
					switch rng.IntN(25) {
					case 0:
						watermark += rng.Int64N(400)
						meta := *table.Meta()
						meta.Watermark = watermark
						table.SetMeta(meta)
						if _, err := table.Expire(); err != nil {
							t.Fatal(err)
						}
						m.expire(watermark)
					case 1:
						commit(t, table, &log)
						committed = m.clone()
					case 2:
						fresh := mustOpen(t, testShape, Options{LargeRows: 5})
						restore(t, fresh, log)
						fresh.meta.Watermark = watermark
						want := committed.clone()
						want.expire(watermark)
						compare(t, fresh, want, rng)
					case 3:
						if err := table.Discard(); err != nil {
							t.Fatal(err)
						}
						restore(t, table, log)
						meta := *table.Meta()
						meta.Watermark = watermark
						table.SetMeta(meta)
						m = committed.clone()
						m.expire(watermark)
					}
					if rng.IntN(4) == 0 {
						compare(t, table, m, rng)
					}
				}
			}
		})
	}
}

// What a store takes on the disk is known, and nothing where there is none.
func TestDiskBytes(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			table := store.open(t, testShape)
			before := table.DiskBytes()
			log, _, _ := randomLog(rand.New(rand.NewPCG(3, 4)), 3000)
			restore(t, table, log)
			if after := table.DiskBytes(); after != 0 != (table.disk != nil) || table.disk != nil && after <= before {
				t.Errorf("%d bytes on the disk, %d before anything was in the table", after, before)
			}
		})
	}
}
