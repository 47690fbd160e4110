package processors

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// While a partition is being restored the others are in service, and how much is left to load is known.
func TestARestoreSaysHowFarItIs(t *testing.T) {
	r := newRig(t)
	const n = 3000
	r.produce(0, n)
	run := r.start("")
	r.eventually("everything committed", func() bool { return r.committed() == n })
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	records := map[int32]int64{}
	for _, m := range r.read(testChangelog) {
		records[m.Partition]++
	}

	const slow = 2
	var holding atomic.Bool
	holding.Store(true)
	r.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		for _, topic := range req.(*kmsg.FetchRequest).Topics {
			if topic.Topic == testChangelog && topic.Partitions[0].Partition == slow && holding.Load() {
				return nothingFetched(req), nil, true
			}
		}
		return nil, nil, false
	})
	run = r.start("")
	at := func() map[int32]PartitionSnapshot {
		found := map[int32]PartitionSnapshot{}
		for _, p := range run.report().snapshot().Partitions {
			found[p.Partition] = p
		}
		return found
	}
	r.eventually("all but the slow partition are in service", func() bool {
		now := at()
		return now[0].Serving && now[1].Serving && now[slow].RestoreTotal > 0
	})
	if now := at()[slow]; now.Serving || now.RestoreRemaining != now.RestoreTotal || now.RestoreTotal < records[slow] {
		t.Errorf("partition %d, whose changelog has %d records: %+v", slow, records[slow], now)
	}
	r.produce(n, 2*n)
	r.eventually("the others go on", func() bool { return run.log.count(run.log.handled) > n/2 })
	if opened(run) != testPartitions-1 {
		t.Errorf("%d partitions are open, want all but the slow one", opened(run))
	}
	holding.Store(false)
	r.eventually("the slow partition is in service", func() bool { now := at()[slow]; return now.Serving && now.RestoreRemaining == 0 })
	r.eventually("everything committed", func() bool { return r.committed() == 2*n })
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	r.wantTable(2 * n)
}
