package tables

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

var campaigns = DimensionSpec{
	Name: "campaign",
	Columns: []codecs.Field{
		{Name: "campaign_id", Type: codecs.String},
		{Name: "name", Type: codecs.String},
		{Name: "budget", Type: codecs.Decimal},
	},
}

func put(t *testing.T, d *Dimension, key, value string, at int64) {
	t.Helper()
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	if err := d.Put([]byte(key), v, at); err != nil {
		t.Fatal(err)
	}
}

// names returns the table's answers for c1 at some times, "-" for none.
func names(d *Dimension, times ...int64) string {
	var out []string
	for _, at := range times {
		v := d.Get(codecs.StringValue("c1"), 1, at)
		if v.IsNull() {
			v.Str = "-"
		}
		out = append(out, v.Str)
	}
	return strings.Join(out, " ")
}

func TestDimensionReturnsTheRowOfTheTime(t *testing.T) {
	d := NewDimension(campaigns)
	if got := names(d, 0, 5); got != "- -" {
		t.Errorf("empty table: %s", got)
	}
	put(t, d, "c1", `{"campaign_id": "c1", "name": "b", "other": [1]}`, 20)
	put(t, d, "c1", `{"name": "c"}`, 40)
	put(t, d, "c1", "", 30)
	put(t, d, "c1", `{"name": "a"}`, 10) // comes last, was first
	if got, want := names(d, 5, 10, 19, 20, 29, 30, 39, 40, 99, 0), "a a a b b - - c c c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(t, d, "c1", `{"name": "B"}`, 20)
	if got, want := names(d, 10, 20), "a B"; got != want {
		t.Errorf("after a second row for one time: got %s, want %s", got, want)
	}
	if v := d.Get(codecs.StringValue("c1"), 0, 0); v != codecs.StringValue("c1") {
		t.Errorf("the key column that the row left out is %v", v)
	}
	if v := d.Get(codecs.Value{}, 1, 0); !v.IsNull() {
		t.Errorf("a null key has the row %v", v)
	}
}

// Trim(b) must not change what any look-up at b or later returns, nor the newest row.
func TestTrimKeepsWhatCanBeAskedFor(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		d := NewDimension(campaigns)
		for range r.IntN(8) {
			row := ""
			if r.IntN(3) > 0 {
				row = fmt.Sprintf(`{"name": "n%d"}`, r.IntN(100))
			}
			put(t, d, "c1", row, 1+r.Int64N(20))
		}
		before := 1 + r.Int64N(22)
		times := []int64{0}
		for at := before; at < 25; at++ {
			times = append(times, at)
		}
		want := names(d, times...)
		d.Trim(before)
		if got := names(d, times...); got != want {
			t.Fatalf("from %d on: %s, before trimming %s", before, got, want)
		}
		for _, versions := range d.rows {
			if len(versions) > 1 && versions[1].from <= before {
				t.Fatalf("Trim(%d) left versions from %d and %d", before, versions[0].from, versions[1].from)
			}
		}
		d.Trim(100)
		if alive := names(d, 0) != "-"; alive != (d.Len() == 1) || len(d.changed) > 0 {
			t.Fatalf("after the last trim %d keys, %d to look at; row: %s", d.Len(), len(d.changed), names(d, 0))
		}
	}
}

func TestPutRefuses(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"", `{"name": "a"}`, `empty key "campaign_id"`},
		{"c1", `{"campaign_id": "c2"}`, `record key "c1" is not the row's campaign_id "c2"`},
		{"c1", `{"budget": true}`, `"budget"`},
		{"c1", `{"budget": 1`, `key "c1"`},
		{"\xff", `{}`, "not UTF-8"},
	} {
		d := NewDimension(campaigns)
		put(t, d, "c1", `{"name": "before"}`, 1)
		err := d.Put([]byte(c.key), []byte(c.value), 2)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `table "campaign"`) {
			t.Errorf("key %q value %s: got %v, want %s", c.key, c.value, err, c.want)
		}
		if got := names(d, 0); got != "before" || d.Len() != 1 {
			t.Errorf("key %q value %s changed the table to %s, %d keys", c.key, c.value, got, d.Len())
		}
	}
}

func TestDimensionWithIntKeys(t *testing.T) {
	spec := DimensionSpec{Name: "ad", Key: 1, Columns: []codecs.Field{{Name: "rate", Type: codecs.Decimal}, {Name: "ad", Type: codecs.Int}}}
	d := NewDimension(spec)
	put(t, d, "17", `{"rate": 1.50, "ad": 17}`, 1)
	if got := d.Get(codecs.IntValue(17), 0, 0); got != codecs.DecimalValue(15, 1) {
		t.Errorf("got %v", got)
	}
	if err := d.Put([]byte("x"), nil, 1); err == nil {
		t.Error("the key x was taken for an int")
	}
}

// For the race detector: readers see whole rows while the writer goes on.
func TestDimensionIsReadWhileWritten(t *testing.T) {
	d := NewDimension(campaigns)
	put(t, d, "c1", `{"name": "n0"}`, 1)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := names(d, 0); got[0] != 'n' {
					t.Errorf("read %q", got)
					return
				}
			}
		})
	}
	for i := range int64(2000) {
		put(t, d, "c1", fmt.Sprintf(`{"name": "n%d"}`, i), i+1)
		d.Trim(i - 10)
	}
	close(done)
	readers.Wait()
}
