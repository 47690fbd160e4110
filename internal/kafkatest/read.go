package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// readPatience bounds how long Read waits for a transaction that is open: it is aborted by its time-out at the latest.
	readPatience = 2 * time.Minute
	// readPause without a record makes Read ask whether the rest was deleted: then the record before the end never comes.
	readPause = 200 * time.Millisecond
)

// Read returns the committed records that topics hold now, one topic after the other and each partition in its order. A
// transaction that is open is waited for. The end of a partition is found by its markers, which sarama does not show.
// Records may be deleted meanwhile; what is left of them then is returned.
func Read(t testing.TB, addrs []string, topics ...string) []*sarama.ConsumerMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readPatience)
	defer cancel()
	all, err := read(ctx, addrs, topics)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type topicPartition struct {
	topic     string
	partition int32
}

func read(ctx context.Context, addrs, topics []string) ([]*sarama.ConsumerMessage, error) {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Metadata.AllowAutoTopicCreation = false
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, places, err := endsOf(client, topics)
	if err != nil {
		return nil, err
	}
	from := map[string]map[int32]kgo.Offset{}
	for _, at := range places {
		if from[at.topic] == nil {
			from[at.topic] = map[int32]kgo.Offset{}
		}
		from[at.topic][at.partition] = kgo.NewOffset().AtStart()
	}
	if len(from) == 0 {
		return nil, nil
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumePartitions(from), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	found := map[topicPartition][]*sarama.ConsumerMessage{}
	for len(ends) > 0 {
		poll, stop := context.WithTimeout(ctx, readPause)
		fetches := reader.PollFetches(poll)
		stop()
		err := fetches.Err0()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = forgetDeleted(client, ends)
		}
		if err != nil {
			return nil, fmt.Errorf("read %v: %d of %d partitions have not come to their end: %w", topics, len(ends), len(places), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := topicPartition{r.Topic, r.Partition}
			if end, open := ends[at]; open && r.Offset < end && !r.Attrs.IsControl() {
				found[at] = append(found[at], message(r))
			}
			if r.Offset >= ends[at]-1 {
				delete(ends, at)
			}
		})
	}
	var all []*sarama.ConsumerMessage
	for _, at := range places {
		all = append(all, found[at]...)
	}
	return all, nil
}

// endsOf returns the offsets behind the last record of those partitions that are not empty, in the order of the topics.
func endsOf(client sarama.Client, topics []string) (map[topicPartition]int64, []topicPartition, error) {
	ends := map[topicPartition]int64{}
	var places []topicPartition
	for _, topic := range topics {
		numbers, err := client.Partitions(topic)
		if err != nil {
			return nil, nil, fmt.Errorf("partitions of %s: %w", topic, err)
		}
		slices.Sort(numbers)
		for _, n := range numbers {
			oldest, err := client.GetOffset(topic, n, sarama.OffsetOldest)
			if err != nil {
				return nil, nil, fmt.Errorf("start of %s/%d: %w", topic, n, err)
			}
			end, err := client.GetOffset(topic, n, sarama.OffsetNewest)
			if err != nil {
				return nil, nil, fmt.Errorf("end of %s/%d: %w", topic, n, err)
			}
			if oldest < end {
				at := topicPartition{topic, n}
				ends[at] = end
				places = append(places, at)
			}
		}
	}
	return ends, places, nil
}

// forgetDeleted drops those partitions of which nothing is left before the end.
func forgetDeleted(client sarama.Client, ends map[topicPartition]int64) error {
	for at, end := range ends {
		oldest, err := client.GetOffset(at.topic, at.partition, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("start of %s/%d: %w", at.topic, at.partition, err)
		}
		if oldest >= end {
			delete(ends, at)
		}
	}
	return nil
}

func message(r *kgo.Record) *sarama.ConsumerMessage {
	m := &sarama.ConsumerMessage{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}
