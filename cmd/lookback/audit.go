package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// audit reads, as any other client would, what the processors have written, and holds it against a batch recount of what
// they have read.
type audit struct {
	plan     *rules.Plan
	client   sarama.Client
	consumer sarama.Consumer

	onCorrection func(value []byte)

	mu      sync.Mutex
	net     *processors.Net
	late    map[source]bool // input records that came too late
	outputs int64
	read    map[source]int64 // next offset to read, by output partition (its offset is 0)
	err     error
}

// source names a record of an input topic.
type source struct {
	topic     string
	partition int32
	offset    int64
}

func newAudit(plan *rules.Plan, addr string) (*audit, error) {
	config := sarama.NewConfig()
	config.Version = sarama.V2_5_0_0
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 20 * time.Millisecond // a reader that is closed waits for its last fetch
	client, err := sarama.NewClient([]string{addr}, config)
	if err != nil {
		return nil, err
	}
	a := &audit{plan: plan, client: client, net: processors.NewNet(plan), late: map[source]bool{}, read: map[source]int64{}}
	if a.consumer, err = sarama.NewConsumerFromClient(client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return a, nil
}

func (a *audit) close() {
	_ = a.client.Close() // nothing is lost with it
}

// outputTopics are the topics that the proof reads.
func (a *audit) outputTopics() []string {
	topics := []string{processors.LateTopic(a.plan.App)}
	for _, r := range a.plan.Rules {
		if r.Upserts {
			topics = append(topics, r.Into)
		}
		if r.Deltas {
			topics = append(topics, processors.DeltasTopic(r))
		}
	}
	return topics
}

// follow reads the output topics until ctx ends.
func (a *audit) follow(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, topic := range a.outputTopics() {
		partitions, err := a.client.Partitions(topic)
		if err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		for _, n := range partitions {
			pc, err := a.consumer.ConsumePartition(topic, n, sarama.OffsetOldest)
			if err != nil {
				return fmt.Errorf("reading %s: %w", topic, err)
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer pc.Close()
				for {
					select {
					case m := <-pc.Messages():
						a.take(m)
					case <-ctx.Done():
						return
					}
				}
			}()
		}
	}
	wg.Wait()
	return a.err
}

func (a *audit) take(m *sarama.ConsumerMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read[source{m.Topic, m.Partition, 0}] = m.Offset + 1
	if m.Topic == processors.LateTopic(a.plan.App) {
		from, err := originOf(m)
		a.late[from] = true
		a.err = errors.Join(a.err, err)
		return
	}
	a.outputs++
	if err := a.net.Add(m.Topic, m.Key, m.Value); err != nil && a.err == nil {
		a.err = err
	}
	for _, r := range a.plan.Rules {
		if a.onCorrection != nil && m.Topic == processors.DeltasTopic(r) {
			a.onCorrection(m.Value)
		}
	}
}

// originOf returns the input record that a late record's headers name.
func originOf(m *sarama.ConsumerMessage) (source, error) {
	var s source
	for _, h := range m.Headers {
		var err error
		switch string(h.Key) {
		case codecs.HeaderTopic:
			s.topic = string(h.Value)
		case codecs.HeaderPartition:
			_, err = fmt.Sscan(string(h.Value), &s.partition)
		case codecs.HeaderOffset:
			_, err = fmt.Sscan(string(h.Value), &s.offset)
		}
		if err != nil {
			return s, fmt.Errorf("late record %s/%d@%d: header %s: %w", m.Topic, m.Partition, m.Offset, h.Key, err)
		}
	}
	return s, nil
}

// ends returns the end offsets of a topic's partitions.
func (a *audit) ends(topic string) (map[int32]int64, error) {
	partitions, err := a.client.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	for _, n := range partitions {
		if ends[n], err = a.client.GetOffset(topic, n, sarama.OffsetNewest); err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return ends, nil
}

// settle waits until the processors have committed all that was fed, and all that follows from it.
func (a *audit) settle(ctx context.Context, timeout time.Duration) error {
	return a.poll(ctx, timeout, func() (bool, error) {
		lag, err := processors.Lag(a.plan, a.client)
		return lag == 0, err
	})
}

// catchUp waits until follow has read all that was written.
func (a *audit) catchUp(ctx context.Context, timeout time.Duration) error {
	for _, topic := range a.outputTopics() {
		ends, err := a.ends(topic)
		if err != nil {
			return err
		}
		err = a.poll(ctx, timeout, func() (bool, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			for n, end := range ends {
				if a.read[source{topic, n, 0}] < end {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
	}
	return nil
}

func (a *audit) poll(ctx context.Context, timeout time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s", timeout)
		case <-tick.C:
		}
	}
}

// prove recounts the input topics and compares. follow must have ended.
func (a *audit) prove(w io.Writer) error {
	batch := processors.NewRecount(a.plan, nil)
	consumed := 0
	for _, s := range a.plan.Streams {
		ends, err := a.ends(s.Topic)
		if err != nil {
			return err
		}
		for n, end := range ends {
			err := a.each(s.Topic, n, end, func(m *sarama.ConsumerMessage) {
				consumed++
				if a.late[source{m.Topic, m.Partition, m.Offset}] {
					return
				}
				batch.Add(s.Rank, &processors.Raw{Key: m.Key, Value: m.Value, Origin: codecs.Origin{
					Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp.UnixMicro()}})
			})
			if err != nil {
				return err
			}
		}
	}
	differences, rows, err := a.net.Compare(batch, 10)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nproof: %d records were consumed, %d of them late; a batch recount of the others has %d rows.\n", consumed, len(a.late), rows)
	if len(differences) > 0 {
		for _, d := range differences {
			fmt.Fprintln(w, "  "+d)
		}
		return errors.New("the net of what was emitted differs from the batch recount")
	}
	fmt.Fprintf(w, "proof: the net of the %d rows that were emitted is equal to it, to the row.\n", a.outputs)
	return nil
}

// each reads a partition from its start to end.
func (a *audit) each(topic string, partition int32, end int64, f func(*sarama.ConsumerMessage)) error {
	if end == 0 {
		return nil
	}
	pc, err := a.consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("reading %s: %w", topic, err)
	}
	defer pc.Close()
	for m := range pc.Messages() {
		f(m)
		if m.Offset+1 >= end {
			return nil
		}
	}
	return fmt.Errorf("reading %s: the broker is gone", topic)
}
