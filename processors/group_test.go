package processors

import (
	"testing"
	"time"
)

func TestWaitingIsToldAfterAWhileAndThenNowAndAgain(t *testing.T) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var w waiting
	var told []time.Duration
	for passed := time.Duration(0); passed <= 3*waitPatience; passed += waitPatience / 10 {
		since, long := w.note(start.Add(passed))
		if since != start {
			t.Fatalf("after %v: since %v, want %v", passed, since, start)
		}
		if long {
			told = append(told, passed/waitPatience)
		}
	}
	if len(told) != 3 || told[0] != 1 || told[1] != 2 || told[2] != 3 {
		t.Errorf("told after %v times the patience, want 1, 2 and 3", told)
	}
}
