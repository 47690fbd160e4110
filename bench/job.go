package main

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

//go:embed job.yaml
var jobRules string

// variant is a way of running the job.
type variant struct {
	name      string // one word, part of the names of its topics
	label     string
	delivery  string
	store     string
	direct    bool
	maxMemory string // "": no bound
}

var (
	exactlyOnce = variant{name: "exactly", label: "exactly once, disk, read directly", delivery: rules.ExactlyOnce, store: "disk", direct: true}
	atLeastOnce = variant{name: "atleast", label: "at least once, disk, read directly", delivery: rules.AtLeastOnce, store: "disk", direct: true}
	inMemory    = variant{name: "memory", label: "exactly once, memory, read directly", delivery: rules.ExactlyOnce, store: "memory", direct: true}
	viaIntake   = variant{name: "intake", label: "exactly once, disk, repartitioned", delivery: rules.ExactlyOnce, store: "disk"}
)

// job is a variant under a name of its own, so that nothing of an earlier run is there.
type job struct {
	variant
	app  string
	dir  string // rules, state and log
	plan *rules.Plan
	vars map[string]string // of the rules file
}

// newJob writes the rules of a job that reads the topics of data. n tells it from others of the same variant and data.
func newJob(dir string, v variant, data string, n int) (*job, error) {
	j := &job{variant: v, app: fmt.Sprintf("%s-%s-%d", data, v.name, n)}
	j.dir = filepath.Join(dir, j.app)
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return nil, err
	}
	j.vars = map[string]string{"BENCH_APP": j.app, "BENCH_DATA": data, "BENCH_DELIVERY": v.delivery, "BENCH_MAX_MEMORY": v.maxMemory}
	text := jobRules
	if !v.direct {
		lines := slices.Collect(strings.Lines(text))
		text = strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "    partitioned_by:") }), "")
	}
	if err := os.WriteFile(j.rulesFile(), []byte(text), 0o644); err != nil {
		return nil, err
	}
	return j, j.compile(text)
}

func (j *job) compile(text string) (err error) {
	j.plan, err = rules.Compile(j.rulesFile(), []byte(text), func(name string) (string, bool) {
		value, ok := j.vars[name]
		return value, ok
	})
	if err == nil && j.plan.Keys[0].Direct != j.direct {
		err = fmt.Errorf("%s: reads its streams directly: %v, not %v", j.label, j.plan.Keys[0].Direct, j.direct)
	}
	return err
}

func (j *job) rulesFile() string { return filepath.Join(j.dir, "rules.yaml") }

// serveProfiles lets the job answer at addr, host:port, with profiles of its process.
func (j *job) serveProfiles(addr string) {
	j.vars["BENCH_HTTP"], j.vars["BENCH_PPROF"] = addr, "true"
}

// args is the command line of the job's process.
func (j *job) args(brokers string) []string {
	return []string{"run", "--brokers", brokers, "--store", j.store, "--state-dir", filepath.Join(j.dir, "state"), j.rulesFile()}
}

// env is the environment of the job's process: that of this one without settings of Lookback.
func (j *job) env() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LOOKBACK_") })
	for _, name := range slices.Sorted(maps.Keys(j.vars)) {
		env = append(env, name+"="+j.vars[name])
	}
	return env
}

// deltas is the topic that the job writes.
func (j *job) deltas() string { return processors.DeltasTopic(j.plan.Rules[0]) }

// stages are the job's groups; the last one is that of the key.
func (j *job) stages() []processors.Stage { return processors.Stages(j.plan) }
