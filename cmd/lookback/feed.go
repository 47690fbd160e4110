package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/gen"
)

// feedBroker writes the stream to topics, keyed by user, until it or ctx ends. Records that were written when ctx ends
// are still acknowledged.
func feedBroker(ctx context.Context, brokers []string, topics map[string]string, source *gen.Generator, paced bool) error {
	config := sarama.NewConfig()
	config.ClientID = "lookback-gen"
	config.Version = sarama.V2_5_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Compression = sarama.CompressionLZ4
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Return.Successes = false
	producer, err := sarama.NewAsyncProducer(brokers, config)
	if err != nil {
		return fmt.Errorf("connecting to %v: %w", brokers, err)
	}
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		var first error
		for e := range producer.Errors() {
			if first == nil {
				first = fmt.Errorf("writing to %s: %w", e.Msg.Topic, e.Err)
				failed <- first
			}
		}
	}()
	send := func() error {
		var rec gen.Record
		p := pacer{paced: paced}
		for source.Next(&rec) {
			if !p.wait(ctx, rec.Arrival, func() error { return nil }) {
				return nil
			}
			// The generator reuses its buffers.
			value := append(append(make([]byte, 0, len(rec.Key)+len(rec.Value)), rec.Key...), rec.Value...)
			msg := &sarama.ProducerMessage{
				Topic:     topics[rec.Stream],
				Key:       sarama.ByteEncoder(value[:len(rec.Key)]),
				Value:     sarama.ByteEncoder(value[len(rec.Key):]),
				Timestamp: time.UnixMicro(rec.Arrival),
			}
			select {
			case producer.Input() <- msg:
			case err := <-failed:
				return err
			}
		}
		return nil
	}
	err = send()
	producer.AsyncClose()
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}
