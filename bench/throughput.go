package main

import (
	"context"
	"errors"
	"fmt"
)

// warmUp is the share of the backlog that is worked off before the measurement: start, joining and first growth are not in it.
const warmUp = 0.2

// rate is what one run of a job has cost.
type rate struct {
	perCPU  float64 // events per CPU-second of the process
	perWall float64 // events per second
	peak    float64 // bytes
}

// benchThroughput measures how fast variants of the job work off a backlog on Apache Kafka, in turn, since a shared machine
// changes its speed by the minute. A CPU profile of the first variant is written to b.profile, if that is given.
func benchThroughput(ctx context.Context, b *bench, c *cluster) error {
	const data = "backlog"
	if err := c.preload(data, b.kafkaEvents); err != nil {
		return err
	}
	variants := []variant{exactlyOnce, atLeastOnce, inMemory, viaIntake}
	rates := map[string][]rate{}
	for round := range b.count {
		for _, v := range variants {
			file := ""
			if v.name == exactlyOnce.name {
				file = b.profile
			}
			r, err := c.measure(ctx, v, data, round+1, file)
			if err != nil {
				return err
			}
			rates[v.name] = append(rates[v.name], r)
		}
	}
	for _, v := range variants {
		figure := func(of func(rate) float64) float64 { return median(each(rates[v.name], of)) }
		perCPU := figure(func(r rate) float64 { return r.perCPU })
		fmt.Fprintf(b.out, "kafka, %s, %d events\t%.2f us CPU/event\t%.0f events/CPU-s\t%.0f events/s\tpeak RSS %.0f MB\n", v.label, b.kafkaEvents,
			1e6/perCPU, perCPU, figure(func(r rate) float64 { return r.perWall }), figure(func(r rate) float64 { return r.peak })/1e6)
	}
	ratio := func(what string, v, base variant) {
		var of []float64 // by round, so that both are of the same minutes
		for i := range rates[v.name] {
			of = append(of, rates[v.name][i].perCPU/rates[base.name][i].perCPU)
		}
		fmt.Fprintf(b.out, "kafka, events/CPU-s, %s\t%.2fx\n", what, median(of))
	}
	ratio("exactly once : at least once", exactlyOnce, atLeastOnce)
	ratio("disk : memory", exactlyOnce, inMemory)
	ratio("repartitioned : read directly", viaIntake, exactlyOnce)
	if b.profile == "" {
		return nil
	}
	shares, err := stations(b.profile)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "profile of %s\t%s\n", exactlyOnce.label, b.profile)
	printShares(b.out, shares)
	return nil
}

func each[T any](values []T, of func(T) float64) []float64 {
	var list []float64
	for _, v := range values {
		list = append(list, of(v))
	}
	return list
}

// measure works off the backlog of data once.
func (c *cluster) measure(ctx context.Context, v variant, data string, n int, profileFile string) (r rate, err error) {
	j, err := newJob(c.dir, v, data, n)
	if err != nil {
		return r, err
	}
	total, err := ends(c.client, j.plan)
	if err != nil {
		return r, err
	}
	p, profiles, err := c.start(ctx, j, profileFile != "")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.end(), c.remove(j)) }()
	var profiling *profiling
	var from, to usage
	var skipped int64
	err = c.workOff(ctx, p, total, func(done int64) (err error) {
		if from.at.IsZero() && float64(done) >= warmUp*float64(total) {
			skipped = done
			if profileFile != "" {
				profiling = startProfiling(ctx, profiles)
			}
			from, err = p.usage()
		}
		if done == total {
			to, err = p.usage()
		}
		return err
	})
	if profiling != nil {
		err = errors.Join(err, profiling.write(profileFile))
	}
	if err != nil {
		return r, err
	}
	worked := float64(total - skipped)
	if worked == 0 {
		return r, fmt.Errorf("%s: all of the %d events were done before they could be measured; more are needed", v.label, total)
	}
	return rate{perCPU: worked / (to.cpu - from.cpu), perWall: worked / to.at.Sub(from.at).Seconds(), peak: to.peak}, nil
}
