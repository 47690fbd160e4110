package processors

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

const (
	sampleSize     = 200             // records per partition
	samplePatience = 5 * time.Second // per partition, for records that a broker is slow to give
)

// sampler checks that a stream's topic is partitioned as `partitioned_by` says. Where it is not, events of one key would
// meet different histories and credit would be lost without a trace.
type sampler struct {
	client sarama.Client
	stream *rules.Stream
	n      int32
	dec    *codecs.Decoder
	event  codecs.Event

	seen, astray int
	home         map[string]int32 // by the fields' text, for more than one field: the partition it was first seen in
	example      string
}

// checkPartitioning samples the streams that are read directly. What it finds wrong is a Mismatches.
func checkPartitioning(ctx context.Context, plan *rules.Plan, client sarama.Client, counts map[string]int32) error {
	direct := map[int]bool{}
	for _, k := range plan.Keys {
		if k.Direct {
			for _, rank := range k.Streams {
				direct[rank] = true
			}
		}
	}
	samplers := make([]*sampler, len(plan.Streams))
	errs := make([]error, len(plan.Streams))
	var reading sync.WaitGroup
	for rank, stream := range plan.Streams {
		if direct[rank] {
			samplers[rank] = newSampler(client, stream, counts[stream.Topic])
			reading.Go(func() { errs[rank] = samplers[rank].run(ctx) })
		}
	}
	reading.Wait()
	var problems Mismatches
	for rank, s := range samplers {
		switch {
		case errs[rank] != nil:
			return fmt.Errorf("sample topic %s: %w", plan.Streams[rank].Topic, errs[rank])
		case s != nil && s.astray > 0:
			problems = append(problems, s.problem())
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func newSampler(client sarama.Client, stream *rules.Stream, n int32) *sampler {
	spec := codecs.DecodeSpec{Stream: stream.Rank, MaxBytes: MaxInputBytes}
	for _, name := range stream.PartitionedBy {
		for _, f := range stream.Declared {
			if f.Name == name {
				spec.Slots = append(spec.Slots, f)
			}
		}
	}
	return &sampler{client: client, stream: stream, n: n, dec: codecs.NewDecoder(spec), home: map[string]int32{}}
}

// run reads the last records of every partition.
func (s *sampler) run(ctx context.Context) error {
	consumer, err := sarama.NewConsumerFromClient(s.client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	samples := make([][][]byte, s.n)
	errs := make([]error, s.n)
	var reading sync.WaitGroup
	for n := range s.n {
		reading.Go(func() { samples[n], errs[n] = s.sample(ctx, consumer, n) })
	}
	reading.Wait()
	for n := range s.n {
		if errs[n] != nil {
			return fmt.Errorf("partition %d: %w", n, errs[n])
		}
		for _, value := range samples[n] {
			s.look(value, n)
		}
	}
	return nil
}

// sample returns the values of the last records of a partition.
func (s *sampler) sample(ctx context.Context, consumer sarama.Consumer, n int32) ([][]byte, error) {
	oldest, err := s.client.GetOffset(s.stream.Topic, n, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	end, err := s.client.GetOffset(s.stream.Topic, n, sarama.OffsetNewest)
	if err != nil || oldest == end {
		return nil, err
	}
	part, err := consumer.ConsumePartition(s.stream.Topic, n, max(oldest, end-sampleSize))
	if err != nil {
		return nil, err
	}
	defer closeConsumer(part)
	patience := time.NewTimer(samplePatience)
	defer patience.Stop()
	var values [][]byte
	for {
		select {
		case m, ok := <-part.Messages():
			if !ok {
				return values, nil
			}
			values = append(values, m.Value)
			if m.Offset >= end-1 {
				return values, nil
			}
		case <-patience.C:
			return values, nil // markers at the end, or a slow broker: what was seen must do
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look checks one record. By one field, producers choose the partition by the hash of its text. How the texts of several
// fields are put together is theirs to know; but equal fields must then be found in one partition only.
func (s *sampler) look(value []byte, partition int32) {
	if s.dec.Decode(value, &s.event) != nil {
		return // it will be rejected, so it does not matter where it is
	}
	var text []byte
	for i, v := range s.event.Fields {
		if v.IsNull() {
			return
		}
		if i > 0 {
			text = append(text, 0)
		}
		text = codecs.AppendText(text, v)
	}
	s.seen++
	home := codecs.PartitionOf(text, s.n)
	if len(s.event.Fields) > 1 {
		var known bool
		if home, known = s.home[string(text)]; !known {
			s.home[string(text)] = partition
			return
		}
	}
	if home != partition {
		s.astray++
		s.example = fmt.Sprintf("%q is in partition %d instead of %d", strings.ReplaceAll(string(text), "\x00", ", "), partition, home)
	}
}

func (s *sampler) problem() string {
	return fmt.Sprintf("stream %s: topic %s is not partitioned by %s: %d of %d sampled records are in another partition than the murmur2 hash of that field says (%s); "+
		"remove partitioned_by to have it repartitioned, or let the producers use the field as record key with the default partitioner",
		s.stream.Name, s.stream.Topic, strings.Join(s.stream.PartitionedBy, ", "), s.astray, s.seen, s.example)
}
