package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors"
)

// benchRestore measures what a changelog record costs an instance that starts without local state: until it is ready, and until
// what it still does in the background for that has ended, too. One job fills the changelog, and processes without its state
// folder restore it, into memory and onto disk in turn. A CPU profile of the last restore onto disk is written to b.profile, if
// that is given.
func benchRestore(ctx context.Context, b *bench, c *cluster) (err error) {
	j, err := c.worked(ctx, b, "restore")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.remove(j)) }()
	records, err := c.count(ctx, processors.ChangelogTopic(j.app, j.plan.Keys[0]))
	if err != nil {
		return err
	}
	stores := []string{"memory", "disk"}
	costs := map[string][]restoreCost{}
	for round := range b.count {
		for _, store := range stores {
			file := ""
			if store == "disk" && round == b.count-1 {
				file = b.profile
			}
			j.store = store
			cost, err := c.restore(ctx, j, file)
			if err != nil {
				return err
			}
			costs[store] = append(costs[store], cost)
		}
	}
	for _, store := range stores {
		per := func(of func(restoreCost) float64) float64 {
			return float64(records) / median(each(costs[store], of))
		}
		fmt.Fprintf(b.out, "restore into %s, %d records\t%.0f records/CPU-s until ready\t%.0f until calm\t%.0f records/s\tpeak RSS %.0f MB\n", store, records,
			per(func(c restoreCost) float64 { return c.ready }), per(func(c restoreCost) float64 { return c.calm }),
			per(func(c restoreCost) float64 { return c.wall }), median(each(costs[store], func(c restoreCost) float64 { return c.peak }))/1e6)
	}
	return nil
}

// worked returns a job that has worked off topics of its own. Who asks removes it.
func (c *cluster) worked(ctx context.Context, b *bench, data string) (*job, error) {
	if err := c.preload(data, b.kafkaEvents); err != nil {
		return nil, err
	}
	j, err := newJob(c.dir, exactlyOnce, data, 1)
	if err != nil {
		return nil, err
	}
	if err := c.fillChangelog(ctx, j); err != nil {
		return nil, errors.Join(err, c.remove(j))
	}
	return j, nil
}

// restoreCost is what one start has cost.
type restoreCost struct {
	ready float64 // CPU-seconds until it was ready
	calm  float64 // and until nothing more was done
	wall  float64 // seconds until it was ready
	peak  float64 // bytes
}

// fillChangelog lets a job work off all that its topics have.
func (c *cluster) fillChangelog(ctx context.Context, j *job) (err error) {
	total, err := ends(c.client, j.plan)
	if err != nil {
		return err
	}
	p, _, err := c.start(ctx, j, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	return c.workOff(ctx, p, total, func(int64) error { return nil })
}

// count returns how many committed records a topic has.
func (c *cluster) count(ctx context.Context, topic string) (n int64, err error) {
	consumer, err := sarama.NewConsumerFromClient(c.client)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, consumer.Close()) }()
	partitions, err := c.client.Partitions(topic)
	if err != nil {
		return 0, err
	}
	for _, partition := range partitions {
		in, err := countPartition(ctx, c.client, consumer, topic, partition)
		if err != nil {
			return 0, fmt.Errorf("count the records of %s/%d: %w", topic, partition, err)
		}
		n += in
	}
	return n, nil
}

// countQuiet is after how long without a record a partition counts as read: its last offsets may be markers of transactions.
const countQuiet = time.Second

func countPartition(ctx context.Context, client sarama.Client, consumer sarama.Consumer, topic string, partition int32) (n int64, err error) {
	end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return 0, err
	}
	reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	quiet := time.NewTimer(countQuiet)
	defer quiet.Stop()
	for {
		select {
		case m := <-reader.Messages():
			n++
			if m.Offset+1 >= end {
				return n, nil
			}
			if n%1024 == 0 {
				quiet.Reset(countQuiet)
			}
		case <-quiet.C:
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

const (
	// calmCores is how little a process does that has nothing to do, over calmTime.
	calmCores = 0.1
	calmTime  = 2 * time.Second
)

// restore starts a job without local state and returns what it takes until it is ready, and then until it is calm.
func (c *cluster) restore(ctx context.Context, j *job, profileFile string) (cost restoreCost, err error) {
	if err := os.RemoveAll(filepath.Join(j.dir, "state")); err != nil {
		return cost, err
	}
	begun := time.Now()
	p, addr, err := c.start(ctx, j, true)
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if err := p.await(ctx, func() (bool, error) { return answers(ctx, addr, "/healthz") }); err != nil {
		return cost, err
	}
	var profiling *profiling
	if profileFile != "" {
		profiling = startProfiling(ctx, addr)
	}
	if err := p.await(ctx, func() (bool, error) { return answers(ctx, addr, "/readyz") }); err != nil {
		return cost, err
	}
	ready, err := p.usage()
	if err != nil {
		return cost, err
	}
	if profiling != nil {
		if err := profiling.write(profileFile); err != nil {
			return cost, err
		}
	}
	last := ready
	err = p.await(ctx, func() (bool, error) {
		now, err := p.usage()
		if err != nil || now.at.Sub(last.at) < calmTime {
			return false, err
		}
		if now.cpu-last.cpu < calmCores*now.at.Sub(last.at).Seconds() {
			return true, nil
		}
		last = now
		return false, nil
	})
	return restoreCost{ready: ready.cpu, calm: last.cpu, wall: ready.at.Sub(begun).Seconds(), peak: last.peak}, err
}

// await waits until reached says so.
func (p *process) await(ctx context.Context, reached func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if done, err := reached(); done || err != nil {
			return err
		}
		select {
		case <-p.done:
			return errors.Join(fmt.Errorf("%s: the process has ended", p.job.label), p.failure())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// answers tells whether a process that serves at addr answers a path with 200. One that does not serve yet does not.
func answers(ctx context.Context, addr, path string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil //nolint:nilerr // it is asked again
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}
