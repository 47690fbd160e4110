package processors

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/rules"
)

func TestNothingIsLostWhenSessionsEnd(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		const n = 20000
		var beats atomic.Int64
		r.endSessions(func() bool { return beats.Add(1)%2 != 0 })
		run := r.start("")
		for i := range 20 {
			r.produce(i*n/20, (i+1)*n/20)
			want := int64(i + 1)
			if i < 4 {
				r.eventually("a session ended", func() bool { return beats.Load() >= want })
			}
		}
		r.eventually("everything committed", func() bool { return r.committed() == n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		r.wantAll(n)
		r.wantTable(n)
	})
}

func TestNothingIsLostWhenConnectionsBreak(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		const n = 3000
		var broken atomic.Int64
		for _, key := range []kmsg.Key{
			kmsg.Produce, kmsg.Fetch, kmsg.OffsetCommit, kmsg.ListOffsets,
			kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID,
		} {
			var seen atomic.Int64
			r.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
				if seen.Add(1)%7 != 0 || broken.Load() > 40 {
					return nil, nil, false
				}
				broken.Add(1)
				r.cluster.KeepControl()
				return nil, errInjected, true
			})
		}
		run := r.start("")
		for i := range 10 {
			r.produce(i*n/10, (i+1)*n/10)
		}
		r.eventually("everything committed", func() bool { return r.committed() == n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		r.wantAll(n)
		r.wantTable(n)
		if broken.Load() == 0 {
			t.Error("no connection was broken: the test has shown nothing")
		}
	})
}

// Coordinators of the group and of transactions that move between brokers, and leaders of partitions too, cost time alone.
func TestNothingIsLostWhenCoordinatorsMove(t *testing.T) {
	for delivery, id := range map[string]string{rules.AtLeastOnce: "", rules.ExactlyOnce: testGroup + ".test"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRigOf(t, 3, testInput, testOutput, testRejected, testChangelog)
			r.transactional = id
			const n, moves = 6000, 12
			where := map[int32]bool{}
			run := r.start("")
			for i := range moves {
				r.produce(i*n/moves, (i+1)*n/moves)
				want := i * n / moves
				r.eventually("some of it is handled", func() bool { return run.log.count(run.log.handled) > want })
				r.cluster.RehashCoordinators()
				where[r.cluster.CoordinatorFor(testGroup)] = true
				if i%3 == 2 {
					r.cluster.ShufflePartitionLeaders()
				}
			}
			r.eventually("everything committed", func() bool { return r.committed() == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			r.wantAll(n)
			r.wantTable(n)
			for v, times := range r.values(testOutput) {
				if id != "" && times != 1 {
					t.Errorf("record %s was written %d times, and exactly once was asked for", v, times)
				}
			}
			if len(where) < 2 {
				t.Error("the coordinator of the group never moved")
			}
		})
	}
}
