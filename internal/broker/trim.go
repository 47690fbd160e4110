package broker

import (
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// keepLastRecord lets DeleteRecords of a broker with a data directory stop one record short of the end of a partition. The
// directory remembers where a partition ends only by its files: a partition without a record would begin at offset 0 after
// a restart, behind the offsets that its readers have committed.
//
// It runs in front of the engine's own handler, which sees the changed request; no record can be appended in between.
func (b *Broker) keepLastRecord(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // the engine's signature
	del, ok := req.(*kmsg.DeleteRecordsRequest)
	if !ok {
		return nil, nil, false
	}
	for _, topic := range del.Topics {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			if info := b.cluster.PartitionInfo(topic.Topic, p.Partition); info != nil {
				p.Offset = clampTrim(p.Offset, info)
			}
		}
	}
	return nil, nil, false
}

// clampTrim moves a trim that would empty the partition back by one record. Kafka writes "up to the end" as -1.
func clampTrim(offset int64, info *kfake.PartitionInfo) int64 {
	empties := offset == -1 || offset == info.HighWatermark
	if empties && info.HighWatermark > info.LogStartOffset {
		return info.HighWatermark - 1
	}
	return offset
}
