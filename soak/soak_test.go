package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
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

// A soak of half a minute on the embedded broker: whatever is done to the instances, the outputs are what they must be.
func TestSoak(t *testing.T) {
	if os.Getenv("LOOKBACK_SOAK") == "" {
		t.Skip("three instances and their deaths want a machine to themselves: set LOOKBACK_SOAK=1, or make soak")
	}
	cfg := config{
		Seed: seedOf(t), For: 24 * time.Second, Round: 12 * time.Second, Rate: 500, Broker: "embedded", Delivery: "exactly_once",
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
	c := res.counts
	if res.rounds < 2 || len(res.harms) == 0 || c.Conversions == 0 || c.Credits == 0 || c.Corrections == 0 || c.Duplicates == 0 || c.Late == 0 || c.Rejected == 0 {
		t.Error("the soak has not seen everything that it is there for")
	}
}
