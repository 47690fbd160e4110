package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A stream in real time ends soon after its last event, unless longer delays are asked for.
func TestDelaysAreShortInRealTime(t *testing.T) {
	const start = "2026-01-01T00:00:00Z" // long ago, so that everything is due
	for name, test := range map[string]struct {
		flags []string
		long  bool
	}{
		"by default":             {[]string{"--disorder", "0.3", "--duplicates", "0.3"}, false},
		"longer disorder":        {[]string{"--disorder", "0.3", "--disorder-max", "1h"}, true},
		"longer until sent anew": {[]string{"--disorder", "0", "--duplicates", "0.3", "--resend-within", "1h"}, true},
	} {
		args := append([]string{"gen", "--rate", "1000", "--events", "3000", "--broken", "0", "--start", start}, test.flags...)
		r := command(t, "", args...)
		r.want(t, exitOK, "wrote 3000 records: ")
		longest := time.Duration(0)
		for line := range strings.Lines(r.stdout) {
			var record map[string]json.RawMessage
			var event struct {
				Time int64 `json:"event_ts"`
			}
			var arrival int64
			err := json.Unmarshal([]byte(line), &record)
			for field, value := range record {
				if field == "_ts" {
					err = json.Unmarshal(value, &arrival)
				} else {
					err = json.Unmarshal(value, &event)
				}
				if err != nil {
					break
				}
			}
			if err != nil || arrival == 0 || event.Time == 0 {
				t.Fatalf("%s: %v: %s", name, err, line)
			}
			longest = max(longest, time.Duration(arrival-event.Time)*time.Millisecond)
		}
		if longest == 0 || longest > 2*pacedDelay != test.long {
			t.Errorf("%s: an event comes up to %s after it happened", name, longest)
		}
	}
}
