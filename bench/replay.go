package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// benchReplay measures the binary on a generated month: decode, history, evaluation and output, one process.
func benchReplay(out io.Writer, dir string, count, events int) error {
	binary, file := filepath.Join(dir, "lookback"), filepath.Join(dir, "events.jsonl")
	if err := buildBinary(context.Background(), binary); err != nil {
		return err
	}
	if text, err := exec.Command(binary, "gen", "--events", strconv.Itoa(events), "--out", file).CombinedOutput(); err != nil {
		return fmt.Errorf("generate: %w\n%s", err, text)
	}
	var cpu, wall, memory []float64
	for range count {
		cmd := exec.Command(binary, "replay", "rules.yaml", file)
		cmd.Stdout = nil // the null device
		start := now()
		if err := cmd.Run(); err != nil {
			return err
		}
		wall = append(wall, since(start))
		used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		cpu = append(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		memory = append(memory, float64(used.Maxrss)*1024)
	}
	size := int64(0)
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	n := float64(events)
	fmt.Fprintf(out, "replay, %d events, %.1f GB\t%.2f us CPU/event\t%.0f events/CPU-s\t%.0f events/s\tpeak RSS %.0f bytes/event\n",
		events, float64(size)/1e9, median(cpu)/n*1e6, n/median(cpu), n/median(wall), median(memory)/n)
	return nil
}
