package processors

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A coordinator that has come back without a group's offsets is not believed: what was read is not read again, and when the
// offsets are back the work goes on.
func TestOffsetsThatTheBrokersHaveLostAreWaitedFor(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		run := r.start("")
		const n = 300
		r.produce(0, n)
		r.eventually("everything committed", func() bool { return r.committed() == n })

		var lost atomic.Bool
		var asked atomic.Int64
		lost.Store(true)
		r.loseOffsets(func() bool { asked.Add(1); return lost.Load() })
		r.endSessions(func() bool { return asked.Load() == 0 })
		r.produce(n, 2*n)
		r.eventually("some sessions were told that there are no offsets", func() bool { return asked.Load() >= 3 })
		r.eventually("the processor says so", func() bool {
			cause := run.stats.Snapshot().Processors[0].Cause
			return cause != nil && strings.Contains(cause.Error(), "the brokers have lost offsets of group "+testGroup)
		})
		lost.Store(false)
		r.eventually("everything committed", func() bool { return r.committed() == 2*n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		run.wantHandledOnce()
		r.wantAll(2 * n)
		r.wantTable(2 * n)
	})
}

// Records that were deleted before they were read are no reason to wait: they do not come back.
func TestReadingGoesOnBehindRecordsThatAreGone(t *testing.T) {
	r := newRig(t)
	run := r.start("")
	const n = 300
	r.produce(0, n)
	r.eventually("everything committed", func() bool { return r.committed() == n })

	// The group falls silent while records come and go.
	var away atomic.Bool
	away.Store(true)
	r.endSessions(away.Load)
	joins := r.requests(kmsg.JoinGroup)
	r.refuseMembers(kmsg.JoinGroup, kerr.RebalanceInProgress, away.Load)
	r.eventually("the session ended", func() bool { return joins.Load() > 0 })
	r.produce(n, 2*n)
	ends := map[int32]int64{}
	for p := range int32(testPartitions) {
		end, err := r.client.GetOffset(testInput, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		ends[p] = end
	}
	if err := r.admin().DeleteRecords(testInput, ends); err != nil {
		t.Fatal(err)
	}
	r.produce(2*n, 3*n)
	away.Store(false)
	r.eventually("everything that is left is handled", func() bool { return r.committed() == 3*n })
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	if got := len(r.values(testOutput)); got != 2*n {
		t.Errorf("%d records in the output, want the %d that could be read", got, 2*n)
	}
}

// loseOffsets answers members that ask for their offsets, for as long as on says so, that there are none.
func (r *rig) loseOffsets(on func() bool) {
	const none = -1
	r.cluster.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fetch := req.(*kmsg.OffsetFetchRequest)
		if !on() {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		resp := fetch.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, group := range fetch.Groups {
			rg := kmsg.NewOffsetFetchResponseGroup()
			rg.Group = group.Group
			for _, topic := range group.Topics {
				rt := kmsg.NewOffsetFetchResponseGroupTopic()
				rt.Topic = topic.Topic
				for _, p := range topic.Partitions {
					rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
					rp.Partition, rp.Offset = p, none
					rt.Partitions = append(rt.Partitions, rp)
				}
				rg.Topics = append(rg.Topics, rt)
			}
			resp.Groups = append(resp.Groups, rg)
		}
		return resp, nil, true
	})
}
