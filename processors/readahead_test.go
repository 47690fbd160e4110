package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
)

// A table is read with the committed records of its changelog, each once and in order, however many answers they come in. An
// offset that the changelog does not have, and a topic that is not there, are errors and not a silence.
func TestReadingAhead(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		client, err := sarama.NewClient(addrs, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			t.Fatal(err)
		}
		topic := kafkatest.Name("ahead")
		if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
		want, last := writeTransactions(t, addrs, topic)

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		read := func(from int64, siblings int) (got []string, answers int) {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			ahead := newReadAhead(ctx, client, topic, 0, from, siblings)
			for part := range ahead.blocks {
				if part.err != nil {
					t.Fatal(part.err)
				}
				answers++
				visitBlock(part.block, part.from, last+1, func(r *committedRecord) bool {
					got = append(got, string(r.Value))
					return true
				})
				if behind(part.block, part.from) > last {
					break
				}
			}
			return got, answers
		}
		if got, _ := read(0, 1); !slices.Equal(got, want) {
			t.Errorf("%d records were read, %d are committed", len(got), len(want))
		}
		if got, answers := read(0, 1000); !slices.Equal(got, want) || answers < 2 {
			t.Errorf("in %d answers %d records were read, %d are committed", answers, len(got), len(want))
		}

		if err := admin.DeleteRecords(topic, map[int32]int64{0: 10}); err != nil {
			t.Fatal(err)
		}
		fails := func(topic string, from int64, cause error) {
			t.Helper()
			part, ok := <-newReadAhead(ctx, client, topic, 0, from, 1).blocks
			if !ok || part.err == nil || cause != nil && !errors.Is(part.err, cause) {
				t.Errorf("%s from %d: %v, want %v", topic, from, part.err, cause)
			}
		}
		fails(topic, 5, sarama.ErrOffsetOutOfRange)
		fails(topic, last+1000, sarama.ErrOffsetOutOfRange)
		fails(topic+".missing", 0, nil)

		ended, end := context.WithCancel(ctx)
		ahead := newReadAhead(ended, client, topic, 0, last+2, 1) // behind the marker of the last transaction, too
		end()
		if part, ok := <-ahead.blocks; ok {
			t.Errorf("behind the end was read: %+v", part)
		}
	})
}

// writeTransactions writes transactions of which every third is aborted, and returns the values of the others and the offset
// of the last record.
func writeTransactions(t *testing.T, addrs []string, topic string) (committed []string, last int64) {
	t.Helper()
	config := testConfig()
	config.Producer.Transaction.ID = topic
	config.Producer.Compression = sarama.CompressionNone
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	padding := fmt.Sprintf("%08000d", 0)
	for txn := range 40 {
		if err := producer.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		var messages []*sarama.ProducerMessage
		for i := range 30 {
			text := fmt.Sprint(txn, ".", i, " ", padding)
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(text)})
			if txn%3 != 1 {
				committed = append(committed, text)
			}
		}
		if err := producer.SendMessages(messages); err != nil {
			t.Fatal(err)
		}
		end := producer.CommitTxn
		if txn%3 == 1 {
			end = producer.AbortTxn
		} else {
			last = messages[len(messages)-1].Offset
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	return committed, last
}
