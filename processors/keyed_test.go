package processors

import (
	"bytes"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Anybody who may write to a repartition topic can write anything there. What a table could not hold, or a restore not
// read back, is refused before it gets into the state.
func TestRecordsThatNoIntakeWroteAreRefused(t *testing.T) {
	plan := propertyPlan(t, "no join", true) // uses the streams i, c and e, not v
	w := &keyed{plan: plan, key: plan.Keys[0], layouts: layouts(plan)}
	record := func(stream int) []byte {
		ev := codecs.Event{Stream: stream, Time: 1, ID: codecs.StringValue("1"), Fields: make([]codecs.Value, len(plan.Streams[stream].Slots))}
		row := codecs.AppendRow(nil, &ev, plan.Streams[stream].Kept)
		return codecs.AppendShuffle(nil, &codecs.Shuffle{Layout: w.layouts[stream].Fingerprint, Row: row})
	}
	text := func(n int) []byte {
		return codecs.AppendValue(nil, codecs.StringValue(string(bytes.Repeat([]byte{'u'}, n))))
	}
	for name, c := range map[string]struct {
		key    []byte
		stream int
		reason string
	}{
		"as an intake writes it":  {text(3), 0, ""},
		"no key":                  {nil, 0, reasonMalformed},
		"half a key":              {text(3)[:2], 0, reasonMalformed},
		"a key of two fields":     {append(text(3), text(3)...), 0, reasonMalformed},
		"a null key":              {codecs.AppendValue(nil, codecs.Value{}), 0, reasonMalformed},
		"a key beyond the limit":  {text(tables.MaxKey), 0, reasonMalformed},
		"a stream of another key": {text(3), 1, reasonOtherLayout},
	} {
		_, reject := w.decode(&keyedLane{}, c.key, record(c.stream))
		got := ""
		if reject != nil {
			got = reject.Reason
		}
		if got != c.reason {
			t.Errorf("%s: reason %q, want %q", name, got, c.reason)
		}
	}
}
