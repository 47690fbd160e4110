package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// backlogSteps is how many lines of the backlog's course are printed.
const backlogSteps = 10

// benchBacklog works off a long backlog with a bound on memory, and prints after every tenth of it what the process takes, and how
// fast it was in that tenth: the line of memory has to become flat.
func benchBacklog(ctx context.Context, b *bench, c *cluster) (err error) {
	const data = "long"
	if err := c.preload(data, b.backlogEvents); err != nil {
		return err
	}
	v := exactlyOnce
	v.maxMemory = b.maxMemory
	j, err := newJob(c.dir, v, data, 1)
	if err != nil {
		return err
	}
	total, err := ends(c.client, j.plan)
	if err != nil {
		return err
	}
	p, _, err := c.start(ctx, j, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end(), c.remove(j)) }()
	fmt.Fprintf(b.out, "backlog, %s, %d events, max_memory %s\n", v.label, b.backlogEvents, b.maxMemory)
	started, step := time.Now(), 1
	before, used := int64(0), 0.0
	return c.workOff(ctx, p, total, func(done int64) error {
		if done*backlogSteps < total*int64(step) {
			return nil
		}
		u, err := p.usage()
		if err != nil {
			return err
		}
		for done*backlogSteps >= total*int64(step) && step <= backlogSteps {
			step++
		}
		fmt.Fprintf(b.out, "  %d%%\t%.0f s\t%.0f events/CPU-s\tRSS %.0f MB\tpeak %.0f MB\n", 100*done/total, u.at.Sub(started).Seconds(), float64(done-before)/(u.cpu-used), u.rss/1e6, u.peak/1e6)
		before, used = done, u.cpu
		return b.out.Flush()
	})
}
