package main

import (
	"math"
	"strings"
	"testing"
)

func TestVariantsCompile(t *testing.T) {
	for _, v := range []variant{exactlyOnce, atLeastOnce, inMemory, viaIntake} {
		j, err := newJob(t.TempDir(), v, "data", 1)
		if err != nil {
			t.Fatalf("%s: %v", v.label, err)
		}
		if got := j.plan.Settings.Delivery; got != v.delivery {
			t.Errorf("%s: delivery %s, not %s", v.label, got, v.delivery)
		}
		for _, s := range j.plan.Streams {
			if !strings.HasPrefix(s.Topic, "data.") {
				t.Errorf("%s: stream %s reads %s, which is not its data", v.label, s.Name, s.Topic)
			}
		}
		if !strings.HasPrefix(j.deltas(), j.app+".") {
			t.Errorf("%s: topic %s would not be removed with %s", v.label, j.deltas(), j.app)
		}
	}
}

func TestQuantile(t *testing.T) {
	l := latencies{seconds: []float64{1, 2, 3, 4}}
	for q, want := range map[float64]float64{0: 1, 0.25: 1, 0.5: 2, 0.51: 3, 0.99: 4, 1: 4} {
		if got := l.quantile(q); got != want {
			t.Errorf("quantile %v is %v, not %v", q, got, want)
		}
	}
	if got := (latencies{}).quantile(0.5); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}
