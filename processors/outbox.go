package processors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// reasonTooLarge is the reason of a reject that stands for a record which no broker would take, and headerSize the header
// that tells how many bytes that record had. They are part of the message format.
const (
	reasonTooLarge = "output_too_large"
	headerSize     = "lookback.size"
)

const (
	maxPendingBytes = 32 << 20  // unacknowledged bytes from which Add waits
	stagedBytes     = 256 << 10 // bytes that are handed to the producer at once
	arenaBytes      = 64 << 10
)

// outbox is the one way out of a processor: output rows, rejects, repartitioned events, watermarks and changelog records
// all go through it, in the order in which they are added to a partition. An outbox serves one session. After its first
// error it drops everything, the session ends, and what it had not acknowledged is produced again from the input.
type outbox struct {
	client   sarama.Client
	producer sarama.AsyncProducer
	rejected string // topic of stand-ins for records that are too large
	tracked  string // topic whose acknowledged offsets are remembered

	handing sync.Mutex // held while records are handed to the producer, so that they keep their order; taken before mu

	mu       sync.Mutex
	changed  *sync.Cond // on mu: less is pending, or err is set
	staged   []*sarama.ProducerMessage
	size     int // bytes staged
	pending  int // records added and not acknowledged
	bytes    int // theirs
	err      error
	counts   map[string]int32 // partitions by topic
	acked    map[int32]int64  // of the tracked topic: offset behind the last acknowledged record
	arena    []byte
	rotation int32

	drained chan struct{} // closed when the producer is closed and has reported everything
}

// message is a record on its way, allocated in one piece.
type message struct {
	sarama.ProducerMessage
	key, value sarama.ByteEncoder
	size       int
}

// newOutbox returns an outbox over a producer of its own. Rejected names the topic for records that are too large, tracked
// (may be empty) the one whose offsets Acked reports.
func newOutbox(client sarama.Client, rejected, tracked string) (*outbox, error) {
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	o := &outbox{
		client:   client,
		producer: producer,
		rejected: rejected,
		tracked:  tracked,
		counts:   map[string]int32{},
		acked:    map[int32]int64{},
		drained:  make(chan struct{}),
	}
	o.changed = sync.NewCond(&o.mu)
	go o.collect()
	return o, nil
}

// Add queues a record, whose memory it copies. It waits while too much is unacknowledged. Where the record's Timestamp is 0
// it gets the time at which it is sent. It is safe for concurrent use; errors show at the next Flush.
//
// A record larger than brokers accept becomes a reject without key and value, whose headers name what it stood for: one
// oversized row must not stop a partition. A changelog record cannot be given up like that and is an error; rows are
// smaller than their input, which MaxInputBytes bounds.
func (o *outbox) Add(r codecs.Record) {
	size := recordSize(&r)
	if size > maxRecordBytes {
		if r.Topic == o.tracked {
			o.fail(fmt.Errorf("changelog record of %d bytes for %s/%d: at most %d are accepted", size, r.Topic, r.Partition, maxRecordBytes))
			return
		}
		r = o.standIn(&r, size)
		size = recordSize(&r)
	}
	o.mu.Lock()
	for o.bytes > maxPendingBytes && o.err == nil {
		o.mu.Unlock()
		o.hand()
		o.mu.Lock()
		if o.bytes > maxPendingBytes && o.err == nil {
			o.changed.Wait()
		}
	}
	if o.err != nil {
		o.mu.Unlock()
		return
	}
	partition, err := o.partition(&r)
	if err != nil {
		o.mu.Unlock()
		o.fail(err)
		return
	}
	o.staged = append(o.staged, o.message(&r, partition, size))
	o.pending++
	o.bytes += size
	o.size += size
	full := o.size >= stagedBytes
	o.mu.Unlock()
	if full {
		o.hand()
	}
}

// Flush sends everything that was added and returns when all of it is acknowledged by all replicas, or the first error.
func (o *outbox) Flush(ctx context.Context) error {
	o.hand()
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.pending > 0 && o.err == nil && ctx.Err() == nil {
		o.changed.Wait()
	}
	if o.err != nil {
		return o.err
	}
	return ctx.Err()
}

// Empty tells whether everything that was added is acknowledged.
func (o *outbox) Empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending == 0 && o.err == nil
}

// Acked returns the offset behind the last acknowledged record of a partition of the tracked topic, and whether there
// was one.
func (o *outbox) Acked(partition int32) (next int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next, ok = o.acked[partition]
	return next, ok
}

// Close gives the producer back. What is not acknowledged is given up; a producer that cannot reach its broker is left to
// finish on its own.
func (o *outbox) Close() {
	o.fail(errors.New("outbox is closed"))
	go func() {
		o.handing.Lock() // nobody hands anything over after this: with an error nothing is staged
		defer o.handing.Unlock()
		o.producer.AsyncClose()
	}()
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	select {
	case <-o.drained:
	case <-timeout.C:
	}
}

// fail makes err the outbox's error, unless it has one, and releases everybody who waits.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.staged = nil
	o.changed.Broadcast()
}

// hand passes the staged records to the producer. Its input channel may block for as long as the results are not read, so
// mu, which reading them needs, is not held.
func (o *outbox) hand() {
	o.handing.Lock()
	defer o.handing.Unlock()
	o.mu.Lock()
	staged := o.staged
	o.staged, o.size = nil, 0
	o.mu.Unlock()
	for _, m := range staged {
		o.producer.Input() <- m
	}
}

// collect reads the producer's results until it is closed.
func (o *outbox) collect() {
	defer close(o.drained)
	successes, errs := o.producer.Successes(), o.producer.Errors()
	for successes != nil || errs != nil {
		select {
		case m, ok := <-successes:
			if !ok {
				successes = nil
				continue
			}
			o.settle(m, nil)
		case e, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			o.settle(e.Msg, e.Err)
		}
	}
}

func (o *outbox) settle(m *sarama.ProducerMessage, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := m.Metadata.(*message).size
	before := o.bytes
	o.pending--
	o.bytes -= size
	switch {
	case err != nil:
		if o.err == nil {
			o.err = fmt.Errorf("write %d bytes to %s/%d: %w", size, m.Topic, m.Partition, err)
			o.staged = nil
		}
		o.changed.Broadcast()
	case m.Topic == o.tracked && m.Offset >= o.acked[m.Partition]:
		o.acked[m.Partition] = m.Offset + 1
	}
	if o.pending == 0 || before > maxPendingBytes && o.bytes <= maxPendingBytes {
		o.changed.Broadcast()
	}
}

// message copies a record into memory that the producer may keep.
func (o *outbox) message(r *codecs.Record, partition int32, size int) *sarama.ProducerMessage {
	m := &message{key: o.copy(r.Key), value: o.copy(r.Value), size: size}
	m.Topic, m.Partition, m.Metadata = r.Topic, partition, m
	if r.Key != nil {
		m.Key = &m.key
	}
	if r.Value != nil {
		m.Value = &m.value
	}
	if r.Timestamp != 0 {
		m.Timestamp = time.UnixMicro(r.Timestamp)
	}
	if len(r.Headers) > 0 {
		m.Headers = make([]sarama.RecordHeader, len(r.Headers))
		for i, h := range r.Headers {
			m.Headers[i] = sarama.RecordHeader{Key: []byte(h.Key), Value: o.copy(h.Value)}
		}
	}
	return &m.ProducerMessage
}

// copy returns a copy of b. Small ones share chunks, which live until the last of their records is acknowledged.
func (o *outbox) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) > arenaBytes/4 {
		return append(make([]byte, 0, len(b)), b...)
	}
	if cap(o.arena)-len(o.arena) < len(b) {
		o.arena = make([]byte, 0, arenaBytes)
	}
	at := len(o.arena)
	o.arena = append(o.arena, b...)
	return o.arena[at:len(o.arena):len(o.arena)]
}

// partition chooses a record's partition. Records without a key are spread.
func (o *outbox) partition(r *codecs.Record) (int32, error) {
	if r.Partition >= 0 {
		return r.Partition, nil
	}
	n, ok := o.counts[r.Topic]
	if !ok {
		partitions, err := o.client.Partitions(r.Topic)
		if err == nil && len(partitions) == 0 {
			err = sarama.ErrUnknownTopicOrPartition
		}
		if err != nil {
			return 0, fmt.Errorf("count partitions of %s: %w", r.Topic, err)
		}
		n = int32(len(partitions))
		o.counts[r.Topic] = n
	}
	by := r.PartitionBy
	if by == nil {
		by = r.Key
	}
	if by == nil {
		o.rotation = (o.rotation + 1) & 0x7fffffff
		return o.rotation % n, nil
	}
	return codecs.PartitionOf(by, n), nil
}

// standIn returns the reject that takes the place of a record of size bytes. The headers of a reject, which say where its
// input record is, are kept.
func (o *outbox) standIn(r *codecs.Record, size int) codecs.Record {
	text := strconv.Itoa(size)
	headers := r.Headers
	if r.Topic != o.rejected || recordSize(&codecs.Record{Headers: headers}) > maxRecordBytes {
		headers = codecs.RejectHeaders(reasonTooLarge,
			"record of "+text+" bytes for topic "+r.Topic+", at most "+strconv.Itoa(maxRecordBytes)+" are written", "", origin(r))
	}
	return codecs.Record{
		Topic:     o.rejected,
		Partition: -1,
		Headers:   append(headers[:len(headers):len(headers)], codecs.Header{Key: headerSize, Value: []byte(text)}),
		Timestamp: r.Timestamp,
	}
}

// origin returns where the input record of a late record was, which its headers say; of other records it is unknown.
func origin(r *codecs.Record) codecs.Origin {
	o := codecs.Origin{Partition: -1, Offset: -1}
	for _, h := range r.Headers {
		switch h.Key {
		case codecs.HeaderTopic:
			o.Topic = string(h.Value)
		case codecs.HeaderPartition:
			if n, err := strconv.ParseInt(string(h.Value), 10, 32); err == nil {
				o.Partition = int32(n)
			}
		case codecs.HeaderOffset:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				o.Offset = n
			}
		}
	}
	return o
}

// recordSize is what a record counts for: its bytes and an allowance for lengths.
func recordSize(r *codecs.Record) int {
	size := 36 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += 10 + len(h.Key) + len(h.Value)
	}
	return size
}
