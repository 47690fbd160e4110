package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// coreBenchmarks are those whose figures the table has.
const coreBenchmarks = "^(BenchmarkEngine|BenchmarkTraffic|BenchmarkDecode|BenchmarkSplitLine|BenchmarkBool.*)$"

// benchCore runs the Go benchmarks and prints what an event costs, and the ratios that say how cost scales.
func benchCore(out io.Writer, count int) error {
	figures, err := goBenchmarks(coreBenchmarks, "2000000x", count, "./codecs", "./rules", "./processors")
	if err != nil {
		return err
	}
	names := []string{}
	for name := range figures {
		names = append(names, name)
	}
	slices.Sort(names)
	traffic := median(figures["Traffic"]["ns/op"])
	cost := map[string]float64{}
	for _, name := range names {
		f := figures[name]
		if size, ok := strings.CutPrefix(name, "Engine/"); ok {
			cost[size] = median(f["cpu-ns/op"]) - traffic
			fmt.Fprintf(out, "core, %s\t%.0f ns CPU/event\t%.0f events/CPU-s\t%.0f heap bytes/event\n", size, cost[size], 1e9/cost[size], median(f["heap-B/event"]))
			continue
		}
		fmt.Fprintf(out, "%s\t%.0f ns/op\n", name, median(f["ns/op"]))
	}
	ratio := func(what, a, b string) {
		fmt.Fprintf(out, "core, cost at %s\t%.2fx\n", what, cost[a]/cost[b])
	}
	ratio("10,000 touches in a key : at 10", "keys=100/touches=10000", "keys=100000/touches=10")
	ratio("10 million keys : at 100,000", "keys=10000000/touches=2", "keys=100000/touches=2")
	return nil
}

// benchModels prints what models cost beside the last touch alone, over a hundred touches per key.
func benchModels(out io.Writer, count int) error {
	figures, err := goBenchmarks("^BenchmarkModels$", "300000x", count, "./processors")
	if err != nil {
		return err
	}
	cost := map[string]float64{}
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		model := strings.TrimPrefix(name, "Models/")
		cost[model] = median(figures[name]["cpu-ns/op"])
		fmt.Fprintf(out, "models, %s\t%.0f ns CPU/event\n", model, cost[model])
	}
	const five = "[last,_first,_linear,_{time_decay:_7d},_position]"
	for _, pair := range [][2]string{{"linear", "last"}, {"{time_decay:_7d}", "last"}, {five, "last"}, {five, "linear"}} {
		fmt.Fprintf(out, "models, %s : %s\t%.1fx\n", pair[0], pair[1], cost[pair[0]]/cost[pair[1]])
	}
	return nil
}

// benchTests prints how long a thousand tests of rules take.
func benchTests(out io.Writer, count int) error {
	figures, err := goBenchmarks("^BenchmarkThousandTests$", "3x", count, "./internal/ruletest")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "a thousand tests of rules, each in six orders\t%.2f s\n", median(figures["ThousandTests"]["ns/op"])/1e9)
	return nil
}

// goBenchmarks runs Go benchmarks and returns their figures, by benchmark and unit.
func goBenchmarks(which, times string, count int, packages ...string) (map[string]map[string][]float64, error) {
	args := []string{"test", "-run", "^$", "-bench", which, "-benchtime", times, "-count", strconv.Itoa(count), "-timeout", "60m"}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, text)
	}
	return parseBenchmarks(string(text)), nil
}

var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// parseBenchmarks returns the figures of go test's output, by benchmark and unit.
func parseBenchmarks(text string) map[string]map[string][]float64 {
	all := map[string]map[string][]float64{}
	for line := range strings.Lines(text) {
		m := benchLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		if all[m[1]] == nil {
			all[m[1]] = map[string][]float64{}
		}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				all[m[1]][fields[i+1]] = append(all[m[1]][fields[i+1]], v)
			}
		}
	}
	return all
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
