package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
)

// view shows a running demo: corrections line by line and, below them on a terminal, a table that is drawn anew every
// second. Elsewhere the table is a line every five seconds.
type view struct {
	w        io.Writer
	stats    *processors.Stats
	terminal bool
	started  time.Time

	mu      sync.Mutex
	drawn   int               // lines of the table that are on the screen
	open    map[string]string // conversions whose row was just taken back, and the class it had
	samples int               // corrections shown in the current second
	before  int64
}

func newView(w io.Writer, stats *processors.Stats) *view {
	v := &view{w: w, stats: stats, started: time.Now(), open: map[string]string{}}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		v.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return v
}

func (v *view) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v.mu.Lock()
			v.samples = 0
			if v.terminal || n%5 == 0 {
				v.draw()
			}
			v.mu.Unlock()
		}
	}
}

// last draws the table a last time.
func (v *view) last() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw()
}

// correction shows a delta where it ends a correction; at most three in a second.
func (v *view) correction(value []byte) {
	var row struct {
		ID     any    `json:"conversion_id"`
		Class  string `json:"class"`
		Sign   int    `json:"sign"`
		Reason string `json:"reason"`
		Touch  any    `json:"touch_id"`
	}
	if json.Unmarshal(value, &row) != nil || row.Reason != "corrected" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	id := fmt.Sprint(row.ID)
	if row.Sign < 0 {
		if len(v.open) > 1000 {
			clear(v.open)
		}
		v.open[id] = row.Class
		return
	}
	was, ok := v.open[id]
	delete(v.open, id)
	if !ok || v.samples >= 3 {
		return
	}
	v.samples++
	v.erase()
	fmt.Fprintf(v.w, "  conversion %.8s  %-4s -1, %-4s +1   credit goes to %.8s\n", id, was, row.Class, fmt.Sprint(row.Touch))
}

// erase takes the table off the screen.
func (v *view) erase() {
	if v.drawn > 0 {
		fmt.Fprintf(v.w, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

func (v *view) draw() {
	s := v.stats.Snapshot()
	sum := func(m map[string]int64) (n int64) {
		for _, x := range m {
			n += x
		}
		return n
	}
	net := map[string]int64{}
	for k, n := range s.Rows {
		net[k.Class] += int64(k.Sign) * n
	}
	corrections := int64(0)
	for _, n := range s.Corrections {
		corrections += n
	}
	events := sum(s.Accepted) + sum(s.Duplicates) + sum(s.Late) + sum(s.Rejected)
	latency := v.stats.Latency()
	ms := func(q float64) string { return fmt.Sprintf("%d ms", latency.Quantile(q).Milliseconds()) }
	v.erase()
	if !v.terminal {
		fmt.Fprintf(v.w, "%4.0fs events %d  PC %d  PV %d  unattributed %d  corrections %d  duplicates %d  late %d  rejects %d  p50 %s  p99 %s\n",
			time.Since(v.started).Seconds(), events, net["PC"], net["PV"], net[codecs.NoClass], corrections, sum(s.Duplicates), sum(s.Late), sum(s.Rejected), ms(0.5), ms(0.99))
		return
	}
	line := func(format string, args ...any) {
		fmt.Fprintf(v.w, format+"\n", args...)
		v.drawn++
	}
	line("")
	line("  %-14s %10s      %-14s %10s", "events", fmt.Sprint(events), "per second", fmt.Sprint(events-v.before))
	line("  %-14s %10d      %-14s %10d", "PC", net["PC"], "corrections", corrections)
	line("  %-14s %10d      %-14s %10d", "PV", net["PV"], "duplicates", sum(s.Duplicates))
	line("  %-14s %10d      %-14s %10d", "unattributed", net[codecs.NoClass], "late", sum(s.Late))
	line("  %-14s %10s      %-14s %10d", "p50 / p99", ms(0.5)+" / "+ms(0.99), "rejects", sum(s.Rejected))
	v.before = events
}
