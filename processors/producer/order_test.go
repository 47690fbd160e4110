package producer_test

import (
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// A generation is checked when the offsets come. So no record may be written after them: a member that slept in between would
// write it behind what the partition's new owner has read, and commit it all the same.
func TestOffsetsAreHandedInBehindTheLastRecord(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "out", "in"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var refused, offsets, late atomic.Int64
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		late.Add(offsets.Load())
		if refused.Add(1) > 8 {
			return nil, nil, false
		}
		return refuse(request, sarama.ErrNotEnoughReplicas), nil, true
	})
	cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		offsets.Add(1)
		return nil, nil, false
	})
	p := newProducer(t, newClient(t, cluster.ListenAddrs(), clientConfig()), producer.Config{TransactionalID: "order"})
	reset(t, p)
	p.Add(record("out", 0, "a"))
	p.Add(record("out", 1, "b"))
	commit(t, p, positions("group", "in", 1))
	if offsets.Load() == 0 || refused.Load() <= 8 {
		t.Fatalf("%d commits of offsets and %d produce requests: nothing was shown", offsets.Load(), refused.Load())
	}
	if late.Load() > 0 {
		t.Errorf("records were sent after the offsets")
	}
}
