// Command bench measures Lookback and prints a table. On its own: the Go benchmarks beside the code, replay of a generated
// month as a process, and run on the embedded broker with a profile by station. On Apache Kafka: how fast the process works
// off a backlog, the latency of a delta, and the memory over a long backlog. It states the machine; quote the ratios, since
// absolute figures of a shared machine mean little.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// options are the flags.
type options struct {
	count         int
	events        int
	runEvents     int
	kafkaEvents   int
	backlogEvents int
	maxMemory     string
	latencyTime   time.Duration
	profile       string
}

func main() {
	var o options
	flag.IntVar(&o.count, "count", 1, "how often each measurement is made; the median is printed")
	flag.IntVar(&o.events, "events", 5_000_000, "events of replay")
	flag.IntVar(&o.runEvents, "run-events", 1_000_000, "events of run, on the embedded broker")
	flag.IntVar(&o.kafkaEvents, "kafka-events", 2_000_000, "events of throughput, on Apache Kafka")
	flag.IntVar(&o.backlogEvents, "backlog-events", 20_000_000, "events of backlog, on Apache Kafka")
	flag.StringVar(&o.maxMemory, "max-memory", "1GB", "state.max_memory of backlog")
	flag.DurationVar(&o.latencyTime, "latency-time", 30*time.Second, "how long latency is measured")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of throughput, exactly once on disk; it costs a little speed")
	only := flag.String("only", "core,models,tests,replay,run", "what to measure: core, models, tests, replay, run; on Apache Kafka: throughput, latency, backlog, restore, verify")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: argument %q: what to measure is chosen with -only\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what the measurements share.
type bench struct {
	options
	out   *tabwriter.Writer
	dir   string   // temporary
	kafka *cluster // started when a measurement first needs it
}

// measurements are what -only chooses from.
var measurements = map[string]func(ctx context.Context, b *bench) error{
	"core":   func(_ context.Context, b *bench) error { return benchCore(b.out, b.count) },
	"models": func(_ context.Context, b *bench) error { return benchModels(b.out, b.count) },
	"tests":  func(_ context.Context, b *bench) error { return benchTests(b.out, b.count) },
	"replay": func(_ context.Context, b *bench) error { return benchReplay(b.out, b.dir, b.count, b.events) },
	"run": func(_ context.Context, b *bench) error {
		return benchRun(b.out, filepath.Join(b.dir, "cpu.prof"), b.count, b.runEvents)
	},
	"throughput": onKafka(benchThroughput),
	"latency":    onKafka(benchLatency),
	"backlog":    onKafka(benchBacklog),
	"restore":    onKafka(benchRestore),
	"verify":     onKafka(benchVerify),
}

// onKafka gives a measurement the one cluster.
func onKafka(measure func(ctx context.Context, b *bench, c *cluster) error) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) (err error) {
		if b.kafka == nil {
			if b.kafka, err = startCluster(ctx, b.dir); err != nil {
				return err
			}
		}
		return measure(ctx, b, b.kafka)
	}
}

func run(ctx context.Context, o options, only []string) (err error) {
	for _, what := range only {
		if measurements[what] == nil {
			return fmt.Errorf("nothing is called %q: there are %s", what, strings.Join(slices.Sorted(maps.Keys(measurements)), ", "))
		}
	}
	b := &bench{options: o, out: tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)}
	if b.dir, err = os.MkdirTemp("", "lookback-bench"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, b.out.Flush())
		if b.kafka != nil {
			err = errors.Join(err, b.kafka.close())
		}
		err = errors.Join(err, os.RemoveAll(b.dir))
	}()
	fmt.Fprintf(b.out, "machine\t%s, %d cores, %s, load %s\n", cpuModel(), runtime.NumCPU(), runtime.Version(), loadAverage())
	for _, what := range only {
		if err := errors.Join(b.out.Flush(), measurements[what](ctx, b)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
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
