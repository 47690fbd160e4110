package e2e

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
)

// logbook keeps what instances log.
type logbook struct {
	mu      sync.Mutex
	entries []map[string]any
}

// keepLog lets instances that are started from now on log into a book.
func (r *rig) keepLog() *logbook {
	book := &logbook{}
	text := r.log.Handler()
	r.log = slog.New(slog.NewMultiHandler(text, slog.NewJSONHandler(book, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return book
}

// Write takes an entry.
func (b *logbook) Write(line []byte) (int, error) {
	var entry map[string]any
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, entry)
	return len(line), nil
}

func (b *logbook) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = nil
}

// of returns the entries of an instance, or of all where it is "", with that message.
func (b *logbook) of(instance, message string) []map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []map[string]any
	for _, e := range b.entries {
		if e["msg"] == message && (instance == "" || e["instance"] == instance) {
			found = append(found, e)
		}
	}
	return found
}

func (b *logbook) count(instance, message string) int { return len(b.of(instance, message)) }

// loaded returns how many changelog records restores have loaded.
func (b *logbook) loaded(instance string) int {
	n := 0
	for _, e := range b.of(instance, "changelog read") {
		n += int(e["records"].(float64))
	}
	return n
}

// wantTails checks that restores of these partitions, as group/partition, loaded no more than a tail.
func (b *logbook) wantTails(t *testing.T, staying []string) {
	t.Helper()
	const tail = 10 // the barrier, and those of sessions that were over before they began
	seen := map[string]bool{}
	for _, e := range b.of("", "changelog read") {
		at := fmt.Sprint(e["group"], "/", e["partition"])
		if !slices.Contains(staying, at) {
			continue
		}
		seen[at] = true
		if records := int(e["records"].(float64)); records > tail {
			t.Errorf("%s stayed and loaded %d changelog records", at, records)
		}
	}
	if len(seen) != len(staying) {
		t.Errorf("%v stay, of which %v came into service", staying, slices.Sorted(maps.Keys(seen)))
	}
}
