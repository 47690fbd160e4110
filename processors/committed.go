package processors

import (
	"cmp"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// committedRecord is a record of a topic as a reader of what is committed is given it. It is valid during the visit.
type committedRecord struct {
	Offset     int64
	Timestamp  time.Time
	Key, Value []byte
	Headers    []*sarama.RecordHeader
}

// visitCommitted calls visit with the committed records of a partition in [from, end), in order, until visit returns false.
// It does not wait for transactions that are open: next is the offset up to which the partition was looked at, below end
// where one begins there or visit has stopped. A consumer of sarama would not say that only markers are left.
func visitCommitted(client sarama.Client, topic string, partition int32, from, end int64, visit func(r *committedRecord) bool) (next int64, err error) {
	const maxBytes = 1 << 20
	leader, err := client.Leader(topic, partition)
	if err != nil {
		return from, err
	}
	for from < end {
		req := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxBytes: maxBytes, Isolation: sarama.ReadCommitted}
		req.AddBlock(topic, partition, from, maxBytes, -1)
		resp, err := leader.Fetch(req)
		if err != nil {
			_ = leader.Close() // so that the next attempt dials again
			return from, err
		}
		block := resp.GetBlock(topic, partition)
		switch {
		case block == nil:
			return from, sarama.ErrIncompleteResponse
		case block.Err != sarama.ErrNoError:
			return from, block.Err
		}
		next, on := visitBlock(block, from, end, visit)
		if !on || next == from {
			return next, nil
		}
		from = next
	}
	return from, nil
}

// visitBlock visits the records of one answer from an offset on. It returns the offset behind what it has looked at, and
// whether visit wants more.
func visitBlock(block *sarama.FetchResponseBlock, from, end int64, visit func(r *committedRecord) bool) (next int64, on bool) {
	aborted := map[int64]bool{} // producers whose transaction at this place was aborted
	ends := block.AbortedTransactions
	slices.SortFunc(ends, func(a, b *sarama.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	next = from
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil {
			continue
		}
		for len(ends) > 0 && ends[0].FirstOffset <= batch.LastOffset() {
			aborted[ends[0].ProducerID] = true
			ends = ends[1:]
		}
		switch {
		case batch.Control:
			delete(aborted, batch.ProducerID)
		case batch.IsTransactional && aborted[batch.ProducerID]:
		default:
			for _, r := range batch.Records {
				c := committedRecord{Offset: batch.FirstOffset + r.OffsetDelta, Timestamp: batch.FirstTimestamp.Add(r.TimestampDelta), Key: r.Key, Value: r.Value, Headers: r.Headers}
				if batch.LogAppendTime {
					c.Timestamp = batch.MaxTimestamp
				}
				if c.Offset >= from && c.Offset < end && !visit(&c) {
					return c.Offset, false
				}
			}
		}
		next = max(next, batch.LastOffset()+1)
	}
	return next, true
}
