// Command bench measures Lookback and prints a table: the Go benchmarks beside the code, replay of a generated month as
// a process, and run on the embedded broker with a profile by station. It states the machine; quote the ratios, since
// absolute figures of a shared machine mean little.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
)

func main() {
	count := flag.Int("count", 1, "how often each measurement is made; the median is printed")
	events := flag.Int("events", 5_000_000, "events of the replay")
	runEvents := flag.Int("run-events", 1_000_000, "events of run on the embedded broker")
	only := flag.String("only", "core,replay,run", "what to measure")
	flag.Parse()
	if err := bench(*count, *events, *runEvents, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(count, events, runEvents int, only []string) error {
	dir, err := os.MkdirTemp("", "lookback-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "machine\t%s, %d cores, %s, load %s\n", cpuModel(), runtime.NumCPU(), runtime.Version(), loadAverage())
	for _, what := range only {
		out.Flush()
		switch what {
		case "core":
			err = benchCore(out, count)
		case "replay":
			err = benchReplay(out, dir, count, events)
		case "run":
			err = benchRun(out, filepath.Join(dir, "cpu.prof"), count, runEvents)
		default:
			err = fmt.Errorf("nothing is called %q: there are core, replay and run", what)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return out.Flush()
}

// cpuModel and loadAverage say what Linux tells; elsewhere they say nothing.
func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
