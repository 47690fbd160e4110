package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/pprof/profile"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

func now() time.Time                { return time.Now() }
func since(start time.Time) float64 { return time.Since(start).Seconds() }

// benchRun measures run on the embedded broker, by way of a repartition topic and read directly: the topics are filled
// first, then the whole process, broker included, is measured until all is committed.
func benchRun(out io.Writer, profileFile string, count, events int) error {
	for _, direct := range []bool{false, true} {
		name := "repartitioned"
		if direct {
			name = "read directly"
		}
		var cpu, wall []float64
		var shares map[string]float64
		for range count {
			c, w, err := runOnce(profileFile, direct, events)
			if err != nil {
				return err
			}
			cpu, wall = append(cpu, c), append(wall, w)
			if shares, err = stations(profileFile); err != nil {
				return err
			}
		}
		n := float64(events)
		fmt.Fprintf(out, "run, embedded broker, %s, %d events\t%.2f us CPU/event\t%.0f events/CPU-s\t%.0f events/s\n", name, events, median(cpu)/n*1e6, n/median(cpu), n/median(wall))
		printShares(out, shares)
	}
	return nil
}

// printShares prints the shares of the stations, largest first.
func printShares(out io.Writer, shares map[string]float64) {
	for _, s := range slices.SortedFunc(maps.Keys(shares), func(a, b string) int {
		return cmp.Or(cmp.Compare(shares[b], shares[a]), cmp.Compare(a, b))
	}) {
		fmt.Fprintf(out, "  %s\t%.1f%%\n", s, 100*shares[s])
	}
}

func benchPlan(direct bool) (*rules.Plan, error) {
	src, err := os.ReadFile("rules.yaml")
	if err != nil {
		return nil, err
	}
	if direct {
		src = []byte(strings.ReplaceAll(string(src), "    where: 'user_id != \"\"'", "    where: 'user_id != \"\"'\n    partitioned_by: user_id"))
	}
	plan, err := rules.Compile("rules.yaml", src, func(string) (string, bool) { return "", false })
	if err == nil && plan.Keys[0].Direct != direct {
		err = fmt.Errorf("direct is %v, not %v", plan.Keys[0].Direct, direct)
	}
	return plan, err
}

func runOnce(profileFile string, direct bool, events int) (cpu, wall float64, err error) {
	plan, err := benchPlan(direct)
	if err != nil {
		return 0, 0, err
	}
	b, err := broker.Start(broker.Config{})
	if err != nil {
		return 0, 0, err
	}
	defer b.Close()
	plan.Settings.Brokers = []string{b.Addr()}
	client, err := sarama.NewClient([]string{b.Addr()}, clientConfig())
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	config := gen.Default()
	config.Events = uint64(events)
	if err := fill(client, plan, config); err != nil {
		return 0, 0, err
	}
	f, err := os.Create(profileFile)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started, before := time.Now(), cpuSeconds()
	if err := pprof.StartCPUProfile(f); err != nil {
		return 0, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- processors.Run(ctx, plan, processors.Config{}) }()
	err = awaitLag(plan, client, ended)
	pprof.StopCPUProfile()
	cpu, wall = cpuSeconds()-before, time.Since(started).Seconds()
	cancel()
	return cpu, wall, errors.Join(err, <-ended)
}

// awaitLag returns when the processors have committed everything.
func awaitLag(plan *rules.Plan, client sarama.Client, ended chan error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- nil
			return fmt.Errorf("the processors have ended: %w", err)
		case <-tick.C:
		}
		if err := client.RefreshMetadata(); err != nil {
			return err
		}
		// Until the processors have created their topics and groups there is no lag to ask for.
		if lag, err := processors.Lag(plan, client); err == nil && lag == 0 {
			return nil
		}
	}
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// owners says whose a sample is: that of the first frame, from the leaf up, that belongs to one of these.
var owners = []struct{ prefix, name string }{
	{"github.com/seed-2058fbc3/lookback/codecs.", "decode and encode (codecs)"},
	{"github.com/seed-2058fbc3/lookback/rules.", "rules"},
	{"github.com/seed-2058fbc3/lookback/tables.", "store (tables)"},
	{"github.com/seed-2058fbc3/lookback/processors.", "processors"},
	{"github.com/seed-2058fbc3/lookback/internal/broker.", "embedded broker"},
	{"github.com/twmb/franz-go", "embedded broker"},
	{"github.com/cockroachdb/pebble", "disk (pebble)"},
	{"github.com/IBM/sarama", "sarama"},
	{"github.com/lovoo/goka", "goka"},
	{"github.com/pierrec/lz4", "compression (lz4)"},
	{"runtime.gcBgMarkWorker", "garbage collection"},
	{"runtime.bgsweep", "garbage collection"},
}

// stations returns the shares of the CPU samples by station.
func stations(file string) (map[string]float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return nil, err
	}
	shares, total := map[string]float64{}, 0.0
	for _, s := range p.Sample {
		weight := float64(s.Value[len(s.Value)-1])
		shares[owner(s)] += weight
		total += weight
	}
	for k := range shares {
		shares[k] /= total
	}
	return shares, nil
}

func owner(s *profile.Sample) string {
	for _, location := range s.Location {
		for _, line := range location.Line {
			for _, o := range owners {
				if strings.HasPrefix(line.Function.Name, o.prefix) {
					return o.name
				}
			}
		}
	}
	return "runtime and network"
}
