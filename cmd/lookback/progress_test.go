package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// screen is what a terminal of one line's interest shows: finished lines, and the one that is being written.
func screen(written string) (above []string, last string) {
	var line []byte
	for i := 0; i < len(written); i++ {
		switch rest := written[i:]; {
		case strings.HasPrefix(rest, eraseLine):
			line = line[:0]
			i += len(eraseLine) - 1
		case rest[0] == '\n':
			above = append(above, string(line))
			line = line[:0]
		default:
			line = append(line, rest[0])
		}
	}
	return above, string(line)
}

func TestProgressIsOneLineBelowTheLog(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{w: &out, width: func() int { return 100 }, now: func() time.Time { return now }}
	fmt.Fprintln(p, "before")
	p.begin("restoring", "records", 1000)
	now = now.Add(2 * time.Second)
	p.update(501_000, 2_001_000)
	fmt.Fprintln(p, "a line of the log")
	above, bar := screen(out.String())
	if want := []string{"before", "a line of the log"}; fmt.Sprint(above) != fmt.Sprint(want) {
		t.Errorf("above the bar is %q, want %q", above, want)
	}
	for _, want := range []string{"restoring  25% [", " 501k of 2.0M records, 250k/s, 6s left"} {
		if !strings.Contains(bar, want) {
			t.Errorf("the bar %q lacks %q", bar, want)
		}
	}
	if strings.Count(bar, "=") != 10 || utf8.RuneCountInString(bar) > 99 {
		t.Errorf("the bar is %q", bar)
	}
	p.update(2_000_000, 2_001_000)
	if _, again := screen(out.String()); again != bar {
		t.Errorf("drawn again within %s", redrawInterval)
	}
	now = now.Add(time.Second)
	p.update(2_001_000, 2_001_000)
	if _, full := screen(out.String()); !strings.Contains(full, "100% ["+strings.Repeat("=", 40)+"]") || !strings.Contains(full, " 0s left") {
		t.Errorf("at the end it is %q", full)
	}
	p.end()
	fmt.Fprintln(p, "after")
	if above, last := screen(out.String()); last != "" || above[len(above)-1] != "after" || len(above) != 3 {
		t.Errorf("it leaves %q and %q", above, last)
	}
}

func TestProgressFitsItsTerminal(t *testing.T) {
	for width := range 130 {
		var out bytes.Buffer
		now := time.Unix(0, 0)
		p := &progress{w: &out, width: func() int { return width }, now: func() time.Time { return now }}
		p.begin("restoring", "records", 0)
		now = now.Add(time.Minute)
		p.update(77, 12_345_678_901)
		if _, bar := screen(out.String()); utf8.RuneCountInString(bar) > max(width-1, 0) {
			t.Errorf("width %d: %q", width, bar)
		}
	}
}

func TestProgressIsSilentWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.begin("restoring", "records", 0)
	p.update(1, 2)
	fmt.Fprintln(p, "log")
	p.end()
	if out.String() != "log\n" {
		t.Errorf("it writes %q", out.String())
	}
}

func TestCountsAreShort(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1.0k", 1049: "1.0k", 99_940: "99.9k", 99_960: "100k", 999_400: "999k", 999_600: "1.0M",
		1_500_000: "1.5M", 2_000_000_000: "2.0G", 123_000_000_000_000: "123T", 9_000_000_000_000_000: "9000T",
	} {
		if got := compact(n); got != want {
			t.Errorf("compact(%d) is %s, want %s", n, got, want)
		}
	}
}
