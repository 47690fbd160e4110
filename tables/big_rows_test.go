package tables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Rows beyond a page, histories at the border between block and index, keys of full length: what grows and shrinks over and
// over again is still the model.
func TestBigRowsAndLongKeysEqualModel(t *testing.T) {
	sizes := []int{0, 60, 900, 4 << 10, 8<<10 - 40, 8<<10 - 24, 8 << 10, 16 << 10, 23 << 10, 24 << 10, 70 << 10}
	keys := []string{
		string(codecs.AppendValue(nil, codecs.StringValue("k"))),
		string(codecs.AppendValue(nil, codecs.StringValue(strings.Repeat("k", MaxKey-3)))),
	}
	if len(keys[1]) != MaxKey {
		t.Fatalf("the key takes %d bytes", len(keys[1]))
	}
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			for seed := range uint64(4) {
				rng := rand.New(rand.NewPCG(seed, 3))
				table, m := store.open(t, testShape), model{}
				var log [][2][]byte
				watermark := int64(0)
				for step := range 300 {
					key := keys[rng.IntN(len(keys))]
					// Some time most rows come, then most of them go.
					filling, small := step/75%2 == 0, step/25%2 == 0
					size := sizes[rng.IntN(len(sizes))]
					if small {
						size %= 1000
					}
					id := fmt.Sprint(rng.IntN(120))
					row := testRow(2, watermark+rng.Int64N(1000)-100, id, strings.Repeat("x", size))
					h, err := table.History([]byte(key))
					if err != nil {
						t.Fatal(err)
					}
					h.Remove(row.Stream(), row.ID())
					m.remove(key, row.Stream(), row.ID())
					if filling && row.Time()+testShape.Streams[2].Keep >= watermark {
						h.Insert(row)
						m.insert(key, row)
					} else if rows := m[key]; len(rows) > 0 {
						leaving := rows[rng.IntN(len(rows))]
						h.Remove(leaving.Stream(), leaving.ID())
						m.remove(key, leaving.Stream(), leaving.ID())
					}
					switch rng.IntN(20) {
					case 0:
						watermark += rng.Int64N(300)
						if err := table.Advance(watermark); err != nil {
							t.Fatal(err)
						}
						m.expire(watermark)
					case 1:
						commit(t, table, &log)
					case 2:
						commit(t, table, &log)
						if err := table.Discard(); err != nil {
							t.Fatal(err)
						}
						restore(t, table, log)
					}
					if step%5 == 0 {
						requireRows(t, seed, step, table, m)
					}
				}
			}
		})
	}
}

// requireRows is compare without printing what may be megabytes.
func requireRows(t *testing.T, seed uint64, step int, table *Table, m model) {
	t.Helper()
	for key, rows := range m {
		h, err := table.History([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		var got collect
		h.Ascend(&got)
		got.rows = slices.DeleteFunc(got.rows, func(r string) bool { return table.due(codecs.Row(r)) < table.Meta().Watermark })
		same := slices.EqualFunc(got.rows, rows, func(a string, b codecs.Row) bool { return a == string(b) })
		for _, r := range rows {
			same = same && string(h.Get(r.Stream(), r.ID())) == string(r)
		}
		if !same {
			t.Fatalf("seed %d step %d: the history of a key of %d bytes has %d rows, not the %d of the model", seed, step, len(key), len(got.rows), len(rows))
		}
	}
}
