package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/seed-2058fbc3/lookback/processors"
)

// progress is a bar on the last line of a terminal. What is written through it, such as a log, goes above the bar, so that
// they do not mix. Where there is no terminal it writes what it is given and never draws. It is safe for concurrent use.
type progress struct {
	w     io.Writer
	width func() int // of the terminal; nil: there is none
	now   func() time.Time

	mu     sync.Mutex
	what   string // what is done, and to what
	unit   string
	began  time.Time
	at     int64  // where it began
	line   string // on the screen; "": none
	redraw time.Time
}

// redrawInterval is how often a bar is drawn at most.
const redrawInterval = 100 * time.Millisecond

// newProgress returns a bar for standard error. It has no colours, so it looks the same whatever NO_COLOR says.
func newProgress(w io.Writer) *progress {
	p := &progress{w: w, now: time.Now}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.width = func() int {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}
	}
	return p
}

// draws tells whether there is somebody to draw for.
func (p *progress) draws() bool { return p.width != nil }

// Write writes above the bar.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == "" {
		return p.w.Write(b)
	}
	// One write, so that the bar does not flicker.
	whole := append([]byte(eraseLine), b...)
	whole = append(whole, p.line...)
	if n, err := p.w.Write(whole); err != nil {
		return min(max(n-len(eraseLine), 0), len(b)), err
	}
	return len(b), nil
}

// eraseLine takes the bar off the screen.
const eraseLine = "\r\x1b[K"

// begin starts a bar, such as "restoring" in "records", of which done are done already.
func (p *progress) begin(what, unit string, done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.unit, p.began, p.at = what, unit, p.now(), done
	p.redraw = time.Time{}
}

// update says how far it is.
func (p *progress) update(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !p.draws() || now.Before(p.redraw) {
		return
	}
	p.redraw = now.Add(redrawInterval)
	p.line = p.render(done, total, now.Sub(p.began))
	p.put(eraseLine + p.line)
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != "" {
		p.line = ""
		p.put(eraseLine)
	}
}

// put draws. A terminal that has gone away is no reason to stop the work.
func (p *progress) put(text string) { _, _ = io.WriteString(p.w, text) }

// render returns the bar's line: a percentage, the bar in what room is left, counts, rate and the time that is left.
func (p *progress) render(done, total int64, took time.Duration) string {
	done = min(max(done, 0), total)
	share := 1.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	head := fmt.Sprintf("%s %3.0f%% ", p.what, 100*share)
	tail := fmt.Sprintf(" %s of %s %s", compact(done), compact(total), p.unit)
	if rate := float64(done-p.at) / max(took.Seconds(), 1e-9); done > p.at && took >= redrawInterval {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		tail += fmt.Sprintf(", %s/s, %s left", compact(int64(rate)), max(left, 0).Round(time.Second))
	}
	const widest, narrowest = 40, 5
	room := p.width() - 1 - utf8.RuneCountInString(head) - utf8.RuneCountInString(tail) - len("[]")
	if room = min(room, widest); room < narrowest {
		line := []rune(strings.TrimRight(head, " ") + tail)
		return string(line[:min(len(line), max(p.width()-1, 0))])
	}
	filled := int(share * float64(room))
	return head + "[" + strings.Repeat("=", filled) + strings.Repeat(" ", room-filled) + "]" + tail
}

// compact writes a count in three digits or so.
func compact(n int64) string {
	v, i := float64(n), 0
	for ; v >= 999.5 && i < len(countUnits)-1; i++ {
		v /= 1000
	}
	if i == 0 || v >= 99.95 {
		return fmt.Sprintf("%.0f%s", v, countUnits[i])
	}
	return fmt.Sprintf("%.1f%s", v, countUnits[i])
}

var countUnits = []string{"", "k", "M", "G", "T"}

// followRestore draws the restores of a run until ctx ends.
func followRestore(ctx context.Context, p *progress, stats *processors.Stats) {
	if !p.draws() {
		return
	}
	defer p.end()
	tick := time.NewTicker(2 * redrawInterval)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		total, remaining := stats.Restore()
		switch {
		case remaining > 0 && !shown:
			shown = true
			p.begin("restoring", "records", total-remaining)
			fallthrough
		case remaining > 0:
			p.update(total-remaining, total)
		case shown:
			shown = false
			p.end()
		}
	}
}
