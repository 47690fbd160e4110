package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// follower reads the deltas of a plan, as any other client would, while they are written.
type follower struct {
	plan     *rules.Plan
	client   sarama.Client
	consumer sarama.Consumer
	onDelta  func(value []byte) // called by several goroutines, one at a time
	mu       sync.Mutex
}

func newFollower(plan *rules.Plan, addr string, onDelta func(value []byte)) (*follower, error) {
	config := sarama.NewConfig()
	config.Version = sarama.V2_5_0_0
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 20 * time.Millisecond // a reader that is closed waits for its last fetch
	client, err := sarama.NewClient([]string{addr}, config)
	if err != nil {
		return nil, err
	}
	f := &follower{plan: plan, client: client, onDelta: onDelta}
	if f.consumer, err = sarama.NewConsumerFromClient(client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return f, nil
}

func (f *follower) close() {
	_ = f.client.Close() // nothing is lost with it
}

// follow reads until ctx ends.
func (f *follower) follow(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, r := range f.plan.Rules {
		if !r.Deltas {
			continue
		}
		topic := processors.DeltasTopic(r)
		partitions, err := f.client.Partitions(topic)
		if err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		for _, n := range partitions {
			pc, err := f.consumer.ConsumePartition(topic, n, sarama.OffsetOldest)
			if err != nil {
				return fmt.Errorf("reading %s: %w", topic, err)
			}
			wg.Go(func() {
				defer pc.Close()
				f.read(ctx, pc)
			})
		}
	}
	return nil
}

func (f *follower) read(ctx context.Context, pc sarama.PartitionConsumer) {
	for {
		select {
		case m := <-pc.Messages():
			f.mu.Lock()
			f.onDelta(m.Value)
			f.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// settle waits until the processors have committed all that was fed, and all that follows from it.
func (f *follower) settle(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		lag, err := processors.Lag(f.plan, f.client)
		if lag == 0 || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s the processors have still not committed all", timeout)
		case <-tick.C:
		}
	}
}
