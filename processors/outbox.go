package processors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// reasonTooLarge is the reason of a reject that stands for a record which no broker would take, and headerSize the header
// that tells how many bytes that record had. They are part of the message format.
const (
	reasonTooLarge = "output_too_large"
	headerSize     = "lookback.size"
)

// outbox is the one way out of a processor: output rows, rejects, repartitioned events, watermarks and changelog records
// all go through it, in the order in which they are added to a partition. An outbox serves one session; its producer serves
// all sessions of a processor. After its first error it drops everything, the session ends, and what was not acknowledged,
// or not committed, is produced again from the input.
type outbox struct {
	client   sarama.Client
	producer *producer.Producer
	rejected string // topic of stand-ins for records that are too large
	tracked  string // topic whose records cannot be given up, and whose acknowledged offsets are remembered

	standIns atomic.Int64 // rejects written in place of records that were none, since the last commit

	mu       sync.Mutex
	counts   map[string]int32 // partitions by topic
	rotation int32
}

// newOutbox returns an outbox over a producer, which begins anew unless its last session has ended well: then nothing of it
// is left that could still reach a topic.
func newOutbox(ctx context.Context, client sarama.Client, p *producer.Producer, rejected, tracked string) (*outbox, error) {
	if !p.Usable() {
		if err := p.Reset(ctx); err != nil {
			return nil, err
		}
	}
	return &outbox{client: client, producer: p, rejected: rejected, tracked: tracked, counts: map[string]int32{}}, nil
}

// Add queues a record, whose memory it copies. It waits while too much is unacknowledged. Where the record's Timestamp is 0
// it gets the time at which it is sent. It is safe for concurrent use; errors show at the next Flush or Commit.
//
// A record larger than brokers accept becomes a reject without key and value, whose headers name what it stood for: one
// oversized row must not stop a partition. A changelog record cannot be given up like that and is a fatal error; the cleansing
// bounds what a row can take.
func (o *outbox) Add(r codecs.Record) {
	if size := recordSize(&r); size > maxRecordBytes {
		if r.Topic == o.tracked {
			o.fail(fatalError{fmt.Errorf("changelog record of %d bytes for %s/%d: at most %d are accepted", size, r.Topic, r.Partition, maxRecordBytes)})
			return
		}
		if r.Topic != o.rejected {
			o.standIns.Add(1)
		}
		r = o.standIn(&r, size)
	}
	if r.Partition < 0 {
		var err error
		if r.Partition, err = o.partition(&r); err != nil {
			o.fail(unlocated{err})
			return
		}
	}
	o.producer.Add(&r)
}

// Flush sends everything that was added and returns when all of it is acknowledged by all in-sync replicas, or the first
// error.
func (o *outbox) Flush(ctx context.Context) error { return lasting(o.producer.Flush(ctx)) }

// Commit sends everything that was added and commits it, with the offsets, as one transaction.
func (o *outbox) Commit(ctx context.Context, offsets producer.Offsets) error {
	return lasting(o.producer.Commit(ctx, offsets))
}

// unlocated is an error that was met when a topic was looked up, for which nobody has waited: a broker may not know yet what was created
// just now.
type unlocated struct{ error }

func (e unlocated) Unwrap() error { return e.error }

// lasting makes errors fatal that the next attempt would get again: of a topic that does not exist, for which the producer has
// waited, and of one that takes smaller records than it did at the start.
func lasting(err error) error {
	switch passing := (unlocated{}); {
	case errors.As(err, &passing):
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return fatalError{err}
	case errors.Is(err, sarama.ErrMessageSizeTooLarge), errors.Is(err, sarama.ErrMessageSetSizeTooLarge):
		return fatalError{fmt.Errorf("%w; raise max.message.bytes of that topic", err)}
	}
	return err
}

// Empty tells whether everything that was added is acknowledged and, in a transaction, committed.
func (o *outbox) Empty() bool { return o.producer.Empty() }

// Acked returns the offset behind the last acknowledged record of a partition of the tracked topic, and whether there
// was one.
func (o *outbox) Acked(partition int32) (next int64, ok bool) { return o.producer.Acked(partition) }

// fail makes err the outbox's error, unless it has one, and releases everybody who waits.
func (o *outbox) fail(err error) { o.producer.Fail(err) }

// partition chooses a record's partition. Records without a key are spread.
func (o *outbox) partition(r *codecs.Record) (int32, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
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
