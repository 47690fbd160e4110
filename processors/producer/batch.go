package producer

import (
	"math/bits"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

const (
	chunkBytes  = 4 << 10  // first chunk of a batch's memory; each further one is twice as large
	keptBytes   = 1 << 20  // largest chunk that is kept for another batch
	keptRecords = 32 << 10 // most records whose room is kept
)

var empty = []byte{} // not nil: a key or value of no bytes is one

// batch is records of one partition that leave together, in memory of its own.
type batch struct {
	wire     sarama.RecordBatch
	records  []sarama.Record // until it is closed TimestampDelta holds the absolute time in microseconds
	pointers []*sarama.Record
	chunk    []byte // memory that keys, values and headers are copied to
	bytes    int    // what the records count as pending
	numbered bool   // has its sequence number, and may have been sent
	part     bool   // part of a batch that was too large; its memory belongs to the other part as well
}

// add copies a record.
func (b *batch) add(r *codecs.Record, size int) {
	record := sarama.Record{TimestampDelta: time.Duration(r.Timestamp), Key: b.copy(r.Key), Value: b.copy(r.Value)}
	if len(r.Headers) > 0 {
		headers := make([]sarama.RecordHeader, len(r.Headers))
		record.Headers = make([]*sarama.RecordHeader, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = sarama.RecordHeader{Key: b.copy([]byte(h.Key)), Value: b.copy(h.Value)}
			record.Headers[i] = &headers[i]
		}
	}
	b.records = append(b.records, record)
	b.bytes += size
}

// copy returns a copy of s. A chunk that is full is left to the records in it.
func (b *batch) copy(s []byte) []byte {
	switch {
	case s == nil:
		return nil
	case len(s) == 0:
		return empty
	case cap(b.chunk)-len(b.chunk) < len(s):
		b.chunk = make([]byte, 0, max(2*cap(b.chunk), len(s), chunkBytes))
	}
	at := len(b.chunk)
	b.chunk = append(b.chunk, s...)
	return b.chunk[at:len(b.chunk):len(b.chunk)]
}

// close makes the batch ready to be encoded. Records without a time get now.
func (b *batch) close(now time.Time) {
	for i := range b.records {
		r := &b.records[i]
		if r.TimestampDelta == 0 {
			r.TimestampDelta = time.Duration(now.UnixMicro())
		}
		r.TimestampDelta = max(r.TimestampDelta/1000, 0) * time.Millisecond
		b.pointers = append(b.pointers, r)
	}
	first := b.records[0].TimestampDelta
	for i := range b.records {
		b.records[i].TimestampDelta -= first
	}
	b.wire.Version = 2
	b.wire.Codec = sarama.CompressionLZ4
	b.wire.CompressionLevel = sarama.CompressionLevelDefault
	b.wire.FirstTimestamp = time.UnixMilli(int64(first / time.Millisecond))
	b.seal()
}

// seal derives what the batch says about its records from them.
func (b *batch) seal() {
	var last time.Duration
	for i, r := range b.pointers {
		r.OffsetDelta = int64(i)
		if i == 0 || r.TimestampDelta > last {
			last = r.TimestampDelta
		}
	}
	b.wire.Records = b.pointers
	b.wire.LastOffsetDelta = int32(len(b.pointers) - 1)
	b.wire.MaxTimestamp = b.wire.FirstTimestamp.Add(last)
}

// count is the number of records.
func (b *batch) count() int { return max(len(b.records), len(b.pointers)) }

// split halves a closed batch that has a sequence number. The halves share its numbers as they share its records.
func (b *batch) split() (first, second *batch) {
	n := len(b.pointers) / 2
	cut := func(pointers []*sarama.Record, skip int) *batch {
		part := &batch{pointers: pointers, numbered: true, part: true}
		for _, r := range pointers {
			part.bytes += recordSize(r.Key, r.Value)
			for _, h := range r.Headers {
				part.bytes += headerSize(len(h.Key), h.Value)
			}
		}
		part.wire = sarama.RecordBatch{
			Version:          b.wire.Version,
			Codec:            b.wire.Codec,
			CompressionLevel: b.wire.CompressionLevel,
			FirstTimestamp:   b.wire.FirstTimestamp,
			ProducerID:       b.wire.ProducerID,
			ProducerEpoch:    b.wire.ProducerEpoch,
			FirstSequence:    advance(b.wire.FirstSequence, skip),
			IsTransactional:  b.wire.IsTransactional,
		}
		part.seal()
		return part
	}
	return cut(b.pointers[:n:n], 0), cut(b.pointers[n:], n)
}

// advance returns the sequence number that follows n records from sequence on. After the largest comes 0.
func advance(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// recordSize is what a record without headers counts for: its bytes and an allowance for lengths.
func recordSize(key, value []byte) int { return 36 + len(key) + len(value) }

func headerSize(key int, value []byte) int { return 10 + key + len(value) }

// spare keeps the memory of acknowledged batches, by the number of records that there is room for: a partition that writes
// little must not hold the memory of one that writes much.
type spare [17]sync.Pool

// get returns an empty batch with room for about n records.
func (s *spare) get(n int) *batch {
	class := min(bits.Len(uint(max(n, 4)-1)), len(s)-1)
	if b, ok := s[class].Get().(*batch); ok {
		return b
	}
	return &batch{records: make([]sarama.Record, 0, 1<<class)}
}

// put takes back a batch that nothing refers to any more.
func (s *spare) put(b *batch) {
	if b.part || cap(b.records) > keptRecords {
		return
	}
	if cap(b.chunk) > keptBytes {
		b.chunk = nil
	}
	clear(b.records)
	clear(b.pointers)
	*b = batch{records: b.records[:0], pointers: b.pointers[:0], chunk: b.chunk[:0]}
	s[bits.Len(uint(cap(b.records)))-1].Put(b)
}
