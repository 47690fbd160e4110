package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"

	"github.com/seed-2058fbc3/lookback/processors"
)

// benchVerify measures what an event costs a verification of all that a job has worked off. What it finds is looked at, too: one that is
// fast and finds differences, or judges nothing, is worth nothing.
func benchVerify(ctx context.Context, b *bench, c *cluster) (err error) {
	j, err := c.worked(ctx, b, "verify")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.remove(j)) }()
	var costs []verifyCost
	for range b.count {
		cost, err := c.verify(ctx, j)
		if err != nil {
			return err
		}
		costs = append(costs, cost)
	}
	cpu := median(each(costs, func(c verifyCost) float64 { return c.cpu }))
	fmt.Fprintf(b.out, "verify, %d events, %d conversions\t%.2f us CPU/event\t%.0f events/CPU-s\tpeak RSS %.0f MB\n", b.kafkaEvents, costs[0].judged,
		1e6*cpu/float64(b.kafkaEvents), float64(b.kafkaEvents)/cpu, median(each(costs, func(c verifyCost) float64 { return c.peak }))/1e6)
	return nil
}

// verifyCost is what one verification has cost.
type verifyCost struct {
	cpu    float64 // seconds
	peak   float64 // bytes
	judged int64
}

func (c *cluster) verify(ctx context.Context, j *job) (cost verifyCost, err error) {
	cmd := exec.CommandContext(ctx, c.binary, "verify", j.rulesFile(), "--brokers", c.server.Addr(), "--format", "json", "--tmp", j.dir)
	cmd.Env = j.env()
	out, err := cmd.Output()
	if err != nil {
		return cost, fmt.Errorf("verify: %w", err)
	}
	var found processors.Verification
	if err := json.Unmarshal(out, &found); err != nil {
		return cost, fmt.Errorf("verify: %w", err)
	}
	if found.Judged() == 0 || found.Wrong() > 0 || found.Rules[0].InFlight > 0 {
		return cost, fmt.Errorf("verify: %d conversions judged, %d wrong, %d in flight", found.Judged(), found.Wrong(), found.Rules[0].InFlight)
	}
	cost = verifyCost{cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), judged: found.Judged()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		cost.peak = float64(usage.Maxrss) * 1024
	}
	return cost, nil
}
