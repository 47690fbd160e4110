package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
)

// cluster is the broker that the app runs beside.
type cluster interface {
	addr() string
	// crash kills the broker, waits, and starts it again on its data.
	crash(ctx context.Context, down time.Duration) error
	// restart stops the broker as an operator does, and starts it again on its data.
	restart(ctx context.Context) error
	// sick tells whether the broker, since its start, has found out that it does not know what it should.
	sick() bool
	close()
}

// startCluster starts Apache Kafka with its data in dir, or the embedded broker in memory.
func startCluster(ctx context.Context, kind, dir string) (cluster, error) {
	switch kind {
	case "embedded":
		b, err := broker.Start(broker.Config{})
		return embedded{b}, err
	case "apache":
		dist, err := apache.Fetch(ctx)
		if err != nil {
			return nil, err
		}
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		controller, err := dist.StartController(ctx, filepath.Join(dir, "controller"))
		if err != nil {
			return nil, fmt.Errorf("start the controller: %w", err)
		}
		k := &kafka{dist: dist, controller: controller, options: apache.Options{
			Port: port, Dir: filepath.Join(dir, "kafka"), Heap: "1g", Controller: controller.Addr(),
		}}
		if k.server, err = dist.Start(ctx, k.options); err != nil {
			controller.Stop()
			return nil, err
		}
		return k, nil
	}
	return nil, fmt.Errorf("no kind of broker is called %q: there are apache and embedded", kind)
}

type embedded struct{ *broker.Broker }

func (e embedded) addr() string                               { return e.Addr() }
func (e embedded) crash(context.Context, time.Duration) error { return errors.ErrUnsupported }
func (e embedded) restart(context.Context) error              { return errors.ErrUnsupported }
func (e embedded) sick() bool                                 { return false }
func (e embedded) close()                                     { e.Close() }

// kafka is a broker of Apache Kafka that keeps its port and data over restarts, and a controller that stays up.
type kafka struct {
	dist       apache.Distribution
	controller *apache.Server
	options    apache.Options

	mu     sync.Mutex
	server *apache.Server // nil while it is down
}

func (k *kafka) addr() string { return fmt.Sprintf("127.0.0.1:%d", k.options.Port) }

func (k *kafka) crash(ctx context.Context, down time.Duration) error {
	return k.cycle(ctx, (*apache.Server).Kill, down)
}

func (k *kafka) restart(ctx context.Context) error { return k.cycle(ctx, (*apache.Server).Stop, 0) }

func (k *kafka) cycle(ctx context.Context, end func(*apache.Server), down time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	end(k.server)
	k.server = nil
	if err := keepLog(k.options.Dir); err != nil {
		return err
	}
	wait(ctx, down)
	// What is killed must come back also when the run is about to end, for the last check.
	server, err := k.dist.Start(context.WithoutCancel(ctx), k.options)
	if err != nil {
		return fmt.Errorf("restart the broker: %w", err)
	}
	k.server = server
	return nil
}

// sick looks for coordinators that have loaded nothing of a log that is there, as they do now and then after kill -9. They notice
// when they write to it, and load it again, often with the same result, until the broker is stopped as it should be, and started
// anew: after another kill -9 they are often no better.
func (k *kafka) sick() bool {
	log, err := os.ReadFile(filepath.Join(k.options.Dir, "kafka.log"))
	return err == nil && bytes.Contains(log, []byte("is out of sync with the underlying log"))
}

// keepLog sets the broker's log aside, which the next start writes anew.
func keepLog(dir string) error {
	name := filepath.Join(dir, "kafka.log")
	return os.Rename(name, fmt.Sprintf("%s.%d", name, time.Now().UnixMilli()))
}

func (k *kafka) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		k.server.Stop()
	}
	k.controller.Stop()
}

// createTopics makes the input topics.
func createTopics(ctx context.Context, client *kgo.Client) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range inputs() {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("create input topics: %w", err)
	}
	for _, t := range response.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

// spots are offsets by topic and partition.
type spots map[string][]int64

// limits returns the first offset of each partition of topics, or the one behind its last record.
func limits(ctx context.Context, client *kgo.Client, topics []string, first bool) (spots, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	for _, name := range topics {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for n := range int32(partitions) {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, -1
			if first {
				p.Timestamp = -2
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("look up offsets: %w", err)
	}
	found := spots{}
	n := 0
	for _, t := range response.Topics {
		if found[t.Topic] == nil {
			found[t.Topic] = make([]int64, partitions)
		}
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("look up offsets of %s/%d: %w", t.Topic, p.Partition, err)
			}
			found[t.Topic][p.Partition] = p.Offset
			n++
		}
	}
	if n != partitions*len(topics) {
		return nil, fmt.Errorf("look up offsets: %d of %d partitions answered", n, partitions*len(topics))
	}
	return found, nil
}

// committed returns the offsets that a group has committed, -1 where it has not.
func committed(ctx context.Context, client *kgo.Client, st stage) (spots, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = st.group
	for _, name := range st.topics {
		topic := kmsg.NewOffsetFetchRequestTopic()
		topic.Topic = name
		for n := range int32(partitions) {
			topic.Partitions = append(topic.Partitions, n)
		}
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", st.group, err)
	}
	found := spots{}
	for _, t := range response.Topics {
		found[t.Topic] = make([]int64, partitions)
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("offsets of group %s in %s/%d: %w", st.group, t.Topic, p.Partition, err)
			}
			found[t.Topic][p.Partition] = p.Offset
		}
	}
	if len(found) != len(st.topics) {
		return nil, fmt.Errorf("offsets of group %s: %d of %d topics answered", st.group, len(found), len(st.topics))
	}
	return found, nil
}

// lag returns how many records the app's groups have still to deal with, and in which group and topic most of them are. Between a committed offset and the end there may
// be nothing but markers and aborted records, so what is there is read.
func lag(ctx context.Context, client *kgo.Client, addr string) (sum int64, where string, err error) {
	const fewRecords = 2000
	most := int64(0)
	for _, st := range stages() {
		done, err := committed(ctx, client, st)
		if err != nil {
			return 0, "", err
		}
		begins, err := limits(ctx, client, st.topics, true)
		if err != nil {
			return 0, "", err
		}
		ends, err := limits(ctx, client, st.topics, false)
		if err != nil {
			return 0, "", err
		}
		open := map[string]map[int32]kgo.Offset{}
		rough := int64(0)
		for topic, offsets := range done {
			for n, offset := range offsets {
				offset = max(offset, begins[topic][n])
				if missing := ends[topic][n] - offset; missing > 0 {
					rough += missing
					if open[topic] == nil {
						open[topic] = map[int32]kgo.Offset{}
					}
					open[topic][int32(n)] = kgo.NewOffset().At(offset)
				}
			}
		}
		if rough > 0 && rough <= fewRecords {
			if rough, err = countRecords(ctx, addr, open, ends); err != nil {
				return 0, "", err
			}
		}
		if sum += rough; rough > most {
			most, where = rough, st.group+" in "+describe(open)
		}
	}
	return sum, where, nil
}

// describe lists partitions and offsets.
func describe(open map[string]map[int32]kgo.Offset) string {
	var all []string
	for topic, parts := range open {
		for n, offset := range parts {
			all = append(all, fmt.Sprintf("%s/%d from %d", topic, n, offset.EpochOffset().Offset))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// countRecords counts the committed records from the given offsets to the ends.
func countRecords(ctx context.Context, addr string, from map[string]map[int32]kgo.Offset, ends spots) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(from), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(20*time.Millisecond))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	waiting := map[place]bool{}
	for topic, parts := range from {
		for n := range parts {
			waiting[place{topic: topic, partition: n}] = true
		}
	}
	count := int64(0)
	for len(waiting) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return 0, errors.New("the end of a partition could not be read within a minute")
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end := ends[r.Topic][r.Partition]
			// Watermarks come for as long as something is idle; they have no key.
			watermark := r.Key == nil && strings.HasSuffix(r.Topic, "-repartition")
			if r.Offset < end && !r.Attrs.IsControl() && !watermark {
				count++
			}
			if r.Offset >= end-1 {
				delete(waiting, place{topic: r.Topic, partition: r.Partition})
			}
		})
	}
	return count, nil
}

// wait waits, or less where ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
