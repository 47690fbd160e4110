package processors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	testPartitions = 3
	testGroup      = "app.user"
	testInput      = "in"
	testOutput     = "out"
	testRejected   = "app.rejected"
	testChangelog  = testGroup + "-table"
	patience       = 2 * time.Minute
)

// rig is a broker and what tests need to talk to it.
type rig struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  sarama.Client
	log     *slog.Logger

	transactional string // id of the producers of the processors that it starts; "": at least once
}

// eachDelivery runs a test under each kind of delivery, with a function that makes its rigs.
func eachDelivery(t *testing.T, test func(t *testing.T, newRig func(t *testing.T) *rig)) {
	for delivery, id := range map[string]string{rules.AtLeastOnce: "", rules.ExactlyOnce: testGroup + ".test"} {
		t.Run(delivery, func(t *testing.T) {
			test(t, func(t *testing.T) *rig {
				r := newRig(t)
				r.transactional = id
				return r
			})
		})
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, testInput, testOutput, testRejected, testChangelog)
}

// eachStore runs a test with a table in memory and with one in a folder.
func eachStore(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("memory", func(t *testing.T) { test(t, "") })
	t.Run("disk", func(t *testing.T) { test(t, t.TempDir()) })
}

// newRigWith returns a rig whose broker has the topics.
func newRigWith(t *testing.T, topics ...string) *rig {
	t.Helper()
	return newRigOf(t, 1, topics...)
}

// newRigOf returns a rig of so many brokers, which have the topics.
func newRigOf(t *testing.T, brokers int, topics ...string) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(testPartitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := &rig{t: t, cluster: cluster, log: testLog(t)}
	r.client = r.connect()
	return r
}

// testLog shows what the runtime logs where the test is verbose.
func testLog(t *testing.T) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testConfig is the runtime's, but does not let closing consumers wait for a fetch.
func testConfig() *sarama.Config {
	c := saramaConfig("test")
	c.Consumer.MaxWaitTime = 10 * time.Millisecond
	return c
}

func (r *rig) connect() sarama.Client {
	r.t.Helper()
	client, err := sarama.NewClient(r.cluster.ListenAddrs(), testConfig())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// produce writes records with the keys 0 to n-1 (and their text as value) to the input topic.
func (r *rig) produce(from, to int) {
	r.t.Helper()
	var records []codecs.Record
	for i := from; i < to; i++ {
		text := []byte(strconv.Itoa(i))
		records = append(records, codecs.Record{Topic: testInput, Partition: -1, Key: text, Value: text})
	}
	r.write(records...)
}

// write writes records and waits until they are acknowledged.
func (r *rig) write(records ...codecs.Record) {
	r.t.Helper()
	box := r.outbox()
	for _, record := range records {
		box.Add(record)
	}
	if err := box.Flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// read returns the records of a topic up to its present end.
func (r *rig) read(topic string) []*sarama.ConsumerMessage {
	r.t.Helper()
	return kafkatest.Read(r.t, r.cluster.ListenAddrs(), topic)
}

// values returns how often each value stands in the topic, without tombstones.
func (r *rig) values(topic string) map[string]int {
	counts := map[string]int{}
	for _, m := range r.read(topic) {
		if m.Value != nil {
			counts[string(m.Value)]++
		}
	}
	return counts
}

// committed returns the sum of the group's committed offsets, records of which 0 to n-1 were produced.
func (r *rig) committed() int64 {
	r.t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(r.client)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := admin.ListConsumerGroupOffsets(testGroup, map[string][]int32{testInput: {0, 1, 2}})
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		return 0
	}
	if err != nil {
		r.t.Fatal(err)
	}
	sum := int64(0)
	for n := range int32(testPartitions) {
		if block := resp.GetBlock(testInput, n); block != nil && block.Offset > 0 {
			sum += block.Offset
		}
	}
	return sum
}

// eventually waits for a condition, looking whenever something may have changed.
func (r *rig) eventually(what string, condition func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			r.t.Fatalf("after %s still not: %s", patience, what)
		}
		sleep(context.Background(), 10*time.Millisecond)
	}
}

var echoShape = tables.Shape{Streams: []tables.StreamShape{{Used: true, Paths: [][]int{{}}, Keep: 1 << 40}}, Layout: "echo"}

// running is a processor at work.
type running struct {
	*processor
	rig  *rig
	stop func() error
	log  *echoLog
	done chan struct{}
}

// start runs an echo processor, with its tables in dir ("": in memory). The options change it before it runs.
func (r *rig) start(dir string, options ...func(*processor)) *running {
	r.t.Helper()
	log := newEchoLog()
	p := r.processor(dir)
	p.newWork = func(s *session) (work, error) { return &echo{s: s, log: log}, nil }
	for _, option := range options {
		option(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var failure error
	go func() {
		defer close(done)
		failure = p.run(ctx)
	}()
	run := &running{processor: p, rig: r, log: log, done: done}
	run.stop = sync.OnceValue(func() error {
		cancel()
		<-done
		return failure
	})
	r.t.Cleanup(func() {
		_ = run.stop() // the test has looked at the error
	})
	return run
}

// processor returns a processor that does nothing yet.
func (r *rig) processor(dir string) *processor {
	return &processor{
		name: testGroup, topics: []string{testInput}, partitions: testPartitions,
		changelog: testChangelog, rejected: testRejected,
		config: testConfig(), brokers: r.cluster.ListenAddrs(),
		transactional: r.transactional, records: 50_000,
		interval: 10 * time.Millisecond, trimming: time.Hour, grace: 2 * time.Second,
		log: r.log, stats: NewStats(&rules.Plan{}), onReady: func() {},
		stores: newStores(echoShape, func(partition int32) tables.Options {
			if dir == "" {
				return tables.Options{}
			}
			return tables.Options{Dir: fmt.Sprintf("%s/%d", dir, partition)}
		}),
	}
}

// handleAll waits until the first n records are committed, stops the processor and checks that all stand in the output.
func (run *running) handleAll(n int) {
	run.rig.t.Helper()
	run.rig.eventually("everything committed", func() bool { return run.rig.committed() == int64(n) })
	if err := run.stop(); err != nil {
		run.rig.t.Fatal(err)
	}
	run.rig.wantAll(n)
}

// wantHandledOnce checks that a processor that has stopped was given no record twice.
func (run *running) wantHandledOnce() {
	run.rig.t.Helper()
	for v, times := range run.log.handled {
		if times != 1 {
			run.rig.t.Fatalf("record %s was handled %d times", v, times)
		}
	}
}

// wantAll checks that every value from 0 to n-1 stands in the output.
func (r *rig) wantAll(n int) {
	r.t.Helper()
	counts := r.values(testOutput)
	var lost []int
	for i := range n {
		if counts[strconv.Itoa(i)] == 0 {
			lost = append(lost, i)
		}
	}
	if len(lost) > 0 {
		r.t.Errorf("%d of %d records are lost: %v ...", len(lost), n, lost[:min(len(lost), 10)])
	}
	if len(counts) != n {
		r.t.Errorf("%d different records in the output, want %d", len(counts), n)
	}
	for value, times := range counts {
		if r.transactional != "" && times != 1 {
			r.t.Fatalf("record %s is in the output %d times", value, times)
		}
	}
}

// nothingFetched is the answer to a fetch of a broker that has something, and not yet.
func nothingFetched(req kmsg.Request) *kmsg.FetchResponse {
	fetch := req.(*kmsg.FetchRequest)
	resp := fetch.ResponseKind().(*kmsg.FetchResponse)
	for _, topic := range fetch.Topics {
		answer := kmsg.NewFetchResponseTopic()
		answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			empty := kmsg.NewFetchResponseTopicPartition()
			empty.Partition, empty.HighWatermark, empty.LastStableOffset = p.Partition, 1<<40, 1<<40
			answer.Partitions = append(answer.Partitions, empty)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

// wantTable checks that the changelog, read into new tables, has a row for every value from 0 to n-1.
func (r *rig) wantTable(n int) {
	r.t.Helper()
	run := r.start("")
	r.eventually("all partitions restored", func() bool { return opened(run) == testPartitions })
	if err := run.stop(); err != nil {
		r.t.Fatal(err)
	}
	got := map[string]bool{}
	for name := range run.log.restored {
		got[name[2:]] = true
	}
	for i := range n {
		if !got[strconv.Itoa(i)] {
			r.t.Errorf("the restored table lacks row %d", i)
		}
	}
	if len(got) != n {
		r.t.Errorf("the restored table has %d rows, want %d", len(got), n)
	}
}

// produceTo answers produce requests for a topic with an error code for as long as on says so.
func (r *rig) failProduce(topic string, code int16, on func() bool) {
	r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		produce := req.(*kmsg.ProduceRequest)
		if !slices.ContainsFunc(produce.Topics, func(t kmsg.ProduceRequestTopic) bool { return t.Topic == topic }) || !on() {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, code, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

// endSessions answers heartbeats, for as long as on says so, as if there were a rebalance.
func (r *rig) endSessions(on func() bool) {
	r.refuseMembers(kmsg.Heartbeat, kerr.RebalanceInProgress, on)
}

// refuseMembers answers the heartbeats or the joins of members with an error for as long as on says so.
func (r *rig) refuseMembers(key kmsg.Key, with *kerr.Error, on func() bool) {
	r.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !on() {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		resp := req.ResponseKind()
		switch resp := resp.(type) {
		case *kmsg.HeartbeatResponse:
			resp.ErrorCode = with.Code
		case *kmsg.JoinGroupResponse:
			resp.ErrorCode = with.Code
		default:
			r.t.Errorf("no way to refuse a %T", req)
		}
		return resp, nil, true
	})
}

// requests counts the requests of a kind from now on.
func (r *rig) requests(key kmsg.Key) *atomic.Int64 {
	n := new(atomic.Int64)
	r.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		n.Add(1)
		return nil, nil, false
	})
	return n
}

var errInjected = errors.New("injected")
