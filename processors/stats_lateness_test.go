package processors

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// An event is as late as it is behind the watermark when it comes, be it accepted, late or there already, and not late at all where
// there is no watermark yet.
func TestLatenessIsBehindTheWatermark(t *testing.T) {
	plan := mustCompile(t, `
app: ads
streams:
  i: {topic: i, fields: {id: string, t: time_s, u: string}, time: t, id: id, lateness: 1h}
  e: {topic: e, fields: {id: string, t: time_s, u: string}, time: t, id: id, lateness: 1h}
rules:
  - {name: r, attribute: e, key: u, lookback: 1d, classes: {PV: {touch: i}}, into: out}
`)
	stats := NewStats(plan)
	replay, err := NewReplay(plan, nil, func(codecs.Record) {}, stats, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	const i, e = 0, 1
	for n, at := range []struct {
		stream int
		time   time.Duration
	}{{i, 0}, {e, 10 * time.Hour}, {i, 10 * time.Hour}, {i, 12 * time.Hour}, {i, 10*time.Hour - 5*time.Minute}, {i, 10*time.Hour - 5*time.Minute}, {e, 6 * time.Hour}} {
		id := n
		if n == 5 {
			id = 4 // again
		}
		value := fmt.Appendf(nil, `{"id":"%d","t":%.0f,"u":"u"}`, id, 1e9+at.time.Seconds())
		if err := replay.Record(at.stream, &Raw{Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	s := stats.Snapshot()
	if s.Late["e"] != 1 || s.Duplicates["i"] != 1 {
		t.Errorf("late %v, duplicates %v", s.Late, s.Duplicates)
	}
	if count, sum, below := s.Lateness["i"].Cumulative(); count != 5 || sum != 10*time.Minute || below[2*time.Minute] != 3 || below[5*time.Minute] != 5 {
		t.Errorf("of i %d events, %s behind, %v", count, sum, below)
	}
	if count, sum, below := s.Lateness["e"].Cumulative(); count != 2 || sum != 4*time.Hour || below[2*time.Hour] != 1 || below[6*time.Hour] != 2 {
		t.Errorf("of e %d events, %s behind, %v", count, sum, below)
	}
}
