package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seedEnv repeats a run with the seed that a failure has printed.
const seedEnv = "LOOKBACK_TEST_SEED"

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("seed: %s=%d", seedEnv, seed)
	return seed
}

// seenAll tells whether a soak has seen what one on the embedded broker is there for.
func seenAll(res result) bool {
	c := res.counts
	kinds := map[string]bool{}
	for kind := range res.harms {
		for _, k := range []string{"kill -9 at", "kill -9", "zombies", "disks", "restarts", "joins"} {
			if strings.HasPrefix(kind, k) {
				kinds[k] = true
				break
			}
		}
	}
	return res.rounds >= 2 && len(kinds) == 6 && c.Conversions > 0 && c.Credits > 0 && c.Corrections > 0 && c.Duplicates > 0 && c.Late > 0 && c.Rejected > 0
}

// A short soak on the embedded broker, as long as it takes to see everything, but half a minute at least: whatever is done to
// the instances, the outputs are what they must be.
func TestSoak(t *testing.T) {
	if os.Getenv("LOOKBACK_SOAK") == "" {
		t.Skip("three instances and their deaths want a machine to themselves: make check sets LOOKBACK_SOAK=1 when the rest is done")
	}
	cfg := config{
		Seed: seedOf(t), For: 24 * time.Second, Enough: seenAll, AtMost: 4 * time.Minute, Round: 12 * time.Second, Rate: 500,
		Broker: "embedded", Delivery: "exactly_once",
		Every: 1500 * time.Millisecond, FailpointEvery: 8 * time.Second, Dir: t.TempDir(),
	}
	var out bytes.Buffer
	res, err := soak(t.Context(), cfg, &out)
	res.print(&out)
	t.Logf("%s", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !res.ok() {
		t.Errorf("%d differences and %d problems", res.differences, res.problems)
	}
	if !seenAll(res) {
		t.Error("the soak has not seen everything that it is there for")
	}
}
