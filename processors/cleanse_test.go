package processors

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// What an event takes with its columns from tables fits into a record, or the event is rejected.
func TestEventsThatTablesMakeTooLarge(t *testing.T) {
	plan := mustCompile(t, stampRules)
	products := tables.NewDimension(tables.DimensionSpec{Name: "product", Key: plan.Tables[0].Key, Columns: plan.Tables[0].Columns})
	const long = 900_000
	for id, size := range map[string]int{"none": 0, "short": 10, "long": long, "longest": 2 * MaxInputBytes} {
		if err := products.Put([]byte(id), fmt.Appendf(nil, `{"name":%q}`, strings.Repeat("x", size)), 1); err != nil {
			t.Fatal(err)
		}
	}
	clean := newCleanser(plan, plan.Streams[0], []*tables.Dimension{products})
	for _, c := range []struct {
		product string
		padding int
		refused bool
	}{
		{"none", MaxInputBytes - 100, false},
		{"short", MaxInputBytes - 200, false},
		{"short", MaxInputBytes - 50, true},
		{"long", 0, false},
		{"long", 20_000, true},
		{"longest", 0, true},
	} {
		value := fmt.Appendf(nil, `{"id":"1","t":1,"u":"u","p":%q,"more":%q}`, c.product, strings.Repeat("x", c.padding))
		var ev codecs.Event
		reject := clean.clean(&Raw{Value: value, Origin: codecs.Origin{Timestamp: 1}}, &ev)
		switch {
		case c.refused && (reject == nil || reject.Reason != codecs.ReasonTooLarge):
			t.Errorf("%s with %d bytes beside: %v, want a reject as too large", c.product, c.padding, reject)
		case !c.refused && reject != nil:
			t.Errorf("%s with %d bytes beside: %v", c.product, c.padding, reject)
		case !c.refused:
			row := codecs.AppendRow(nil, &ev, len(ev.Fields))
			if size := recordSize(&codecs.Record{Key: make([]byte, tables.MaxKey), Value: append(row, value...)}); size > maxRecordBytes {
				t.Errorf("%s with %d bytes beside: the event and its row take %d bytes", c.product, c.padding, size)
			}
		}
	}
}
