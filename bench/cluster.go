package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
	"github.com/seed-2058fbc3/lookback/processors"
)

// cluster is an Apache Kafka for the measurements, and the binary that is measured on it.
type cluster struct {
	server *apache.Server
	client sarama.Client
	admin  sarama.ClusterAdmin
	binary string
	dir    string
}

// buildBinary builds the program as it is shipped: without C, the stores' memory too is in Go's hands, and within its limit.
func buildBinary(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/lookback")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// startCluster builds the binary and starts a broker of one process, with everything in dir.
func startCluster(ctx context.Context, dir string) (*cluster, error) {
	c := &cluster{binary: filepath.Join(dir, "lookback"), dir: dir}
	if err := buildBinary(ctx, c.binary); err != nil {
		return nil, err
	}
	dist, err := apache.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	if c.server, err = dist.Start(ctx, apache.Options{Heap: "1g"}); err != nil {
		return nil, err
	}
	if c.client, err = sarama.NewClient([]string{c.server.Addr()}, clientConfig()); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if c.admin, err = sarama.NewClusterAdminFromClient(c.client); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *cluster) close() (err error) {
	if c.client != nil {
		err = c.client.Close()
	}
	c.server.Stop()
	return err
}

// preload fills the source topics of data with events of the last 30 days.
func (c *cluster) preload(data string, events int) error {
	j, err := newJob(c.dir, exactlyOnce, data, 0)
	if err != nil {
		return err
	}
	config := gen.Default()
	config.Events = uint64(events)
	config.Start = time.Now().Add(-config.Spread)
	return fill(c.client, j.plan, config)
}

// start starts a job; profiled says whether it is to serve profiles, at the address that is returned.
func (c *cluster) start(ctx context.Context, j *job, profiled bool) (p *process, profiles string, err error) {
	if profiled {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		profiles = l.Addr().String()
		j.serveProfiles(profiles)
		if err := l.Close(); err != nil {
			return nil, "", err
		}
	}
	p, err = startProcess(ctx, c.binary, c.server.Addr(), j)
	return p, profiles, err
}

// remove deletes what an ended job has left: its topics and its files.
func (c *cluster) remove(j *job) error {
	return errors.Join(c.removeTopics(j.app+"."), os.RemoveAll(j.dir))
}

func (c *cluster) removeTopics(prefix string) error {
	topics, err := c.admin.ListTopics()
	if err != nil {
		return err
	}
	for topic := range topics {
		if !strings.HasPrefix(topic, prefix) {
			continue
		}
		if err := c.admin.DeleteTopic(topic); err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	return nil
}

// progress returns how many of the events a job has committed, and whether it has nothing more to do. Behind an intake the
// count is a little off: not every event passes it, and watermarks do.
func (c *cluster) progress(j *job, total int64) (done int64, finished bool, err error) {
	stages := j.stages()
	counts := make([]int64, len(stages))
	read := int64(0)
	for i, s := range stages {
		if counts[i], err = c.committed(s); err != nil {
			return 0, false, err
		}
		if i < len(stages)-1 {
			read += counts[i]
		}
	}
	done = min(counts[len(counts)-1], total)
	if len(stages) == 1 {
		return done, done == total, nil
	}
	if read < total {
		return done, false, nil
	}
	lag, err := processors.Lag(j.plan, c.client)
	return done, lag == 0, err
}

// committed returns the sum of a group's offsets, 0 for a group or topic that is not there yet.
func (c *cluster) committed(s processors.Stage) (int64, error) {
	of := map[string][]int32{}
	for _, topic := range s.Topics {
		for n := range int32(sourcePartitions) {
			of[topic] = append(of[topic], n)
		}
	}
	offsets, err := c.admin.ListConsumerGroupOffsets(s.Group, of)
	if err != nil {
		return 0, fmt.Errorf("offsets of group %s: %w", s.Group, err)
	}
	sum := int64(0)
	for topic, partitions := range of {
		for _, n := range partitions {
			if b := offsets.GetBlock(topic, n); b != nil && b.Offset > 0 {
				sum += b.Offset
			}
		}
	}
	return sum, nil
}

// pollInterval is how often the offsets of a job are looked at.
const pollInterval = 100 * time.Millisecond

// workOff calls progressed with the number of events that the job has committed, until it has committed all.
func (c *cluster) workOff(ctx context.Context, p *process, total int64, progressed func(done int64) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		done, finished, err := c.progress(p.job, total)
		if err != nil {
			return err
		}
		if finished {
			return progressed(total)
		}
		if err := progressed(done); err != nil {
			return err
		}
		select {
		case <-p.done:
			return errors.Join(fmt.Errorf("%s: the process has ended with %d of %d events done", p.job.label, done, total), p.failure())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
