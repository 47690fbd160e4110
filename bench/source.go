package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/rules"
)

// sourcePartitions is how many partitions the source topics have.
const sourcePartitions = 4

func clientConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "lookback-bench"
	c.Version = sarama.V2_5_0_0
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = sarama.CompressionLZ4
	c.Producer.Partitioner = sarama.NewMurmur2Partitioner
	c.Producer.Return.Successes = false
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	return c
}

// fill creates the source topics of a plan and writes the events of a generator.
func fill(client sarama.Client, plan *rules.Plan, config gen.Config) error {
	if err := createSources(client, plan); err != nil {
		return err
	}
	g, err := gen.New(config)
	if err != nil {
		return err
	}
	w, err := newWriter(client, plan)
	if err != nil {
		return err
	}
	var rec gen.Record
	for g.Next(&rec) {
		w.send(&rec)
	}
	return w.close()
}

func createSources(client sarama.Client, plan *rules.Plan) error {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	for _, s := range plan.Streams {
		if err := admin.CreateTopic(s.Topic, &sarama.TopicDetail{NumPartitions: sourcePartitions, ReplicationFactor: 1}, false); err != nil {
			return fmt.Errorf("create topic %s: %w", s.Topic, err)
		}
	}
	return client.RefreshMetadata()
}

// writer writes generated records to the source topics of a plan, keyed by user.
type writer struct {
	producer sarama.AsyncProducer
	topics   map[string]string // by stream
	reading  sync.WaitGroup
	err      error // the first one; read after reading
}

func newWriter(client sarama.Client, plan *rules.Plan) (*writer, error) {
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return nil, err
	}
	w := &writer{producer: producer, topics: map[string]string{}}
	for _, s := range plan.Streams {
		w.topics[s.Name] = s.Topic
	}
	w.reading.Go(func() {
		for e := range producer.Errors() {
			if w.err == nil {
				w.err = fmt.Errorf("write to %s: %w", e.Msg.Topic, e.Err)
			}
		}
	})
	return w, nil
}

// send queues a record, whose buffers may be used again.
func (w *writer) send(rec *gen.Record) {
	both := append(append(make([]byte, 0, len(rec.Key)+len(rec.Value)), rec.Key...), rec.Value...)
	w.producer.Input() <- &sarama.ProducerMessage{
		Topic: w.topics[rec.Stream], Key: sarama.ByteEncoder(both[:len(rec.Key)]), Value: sarama.ByteEncoder(both[len(rec.Key):]),
		Timestamp: time.UnixMicro(rec.Arrival),
	}
}

// close waits for the acknowledgements and returns the first error.
func (w *writer) close() error {
	w.producer.AsyncClose()
	w.reading.Wait()
	return w.err
}

// ends returns how many records the source topics of a plan have. Nothing has been removed from them.
func ends(client sarama.Client, plan *rules.Plan) (int64, error) {
	total := int64(0)
	for _, s := range plan.Streams {
		partitions, err := client.Partitions(s.Topic)
		if err != nil {
			return 0, err
		}
		for _, n := range partitions {
			end, err := client.GetOffset(s.Topic, n, sarama.OffsetNewest)
			if err != nil {
				return 0, errors.Join(fmt.Errorf("end of %s/%d", s.Topic, n), err)
			}
			total += end
		}
	}
	return total, nil
}
