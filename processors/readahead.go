package processors

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

const (
	// readAheadBytes is what all restores of a processor fetch at once, about, and the next two the bounds of each.
	readAheadBytes = 32 << 20
	minFetchBytes  = 256 << 10
	maxFetchBytes  = 4 << 20

	// fetchAttempts is how often in a row a fetch may fail before whoever reads is told.
	fetchAttempts = 4

	// fetchWait is how long, in milliseconds, a broker holds a fetch back that has nothing to return.
	fetchWait = 100
)

// readAhead fetches a partition from an offset on, committed records only, while what was fetched before is being loaded. It
// has a connection of its own, so no partition waits for another. What goes wrong is tried again a few times, but for what another
// attempt would get again: an offset that the topic does not have, a missing permission.
//
// A table is read with this and not with a consumer of sarama, which passes each record through two channels: that costs more
// than loading it does.
type readAhead struct {
	client    sarama.Client
	topic     string
	partition int32
	bytes     int32
	blocks    chan fetched // closed when nothing more will come
}

// fetched is an answer of a broker.
type fetched struct {
	from  int64
	block *sarama.FetchResponseBlock
	err   error // the last: nothing comes behind it
}

// newReadAhead begins to fetch. It ends with ctx.
func newReadAhead(ctx context.Context, client sarama.Client, topic string, partition int32, from int64, siblings int) *readAhead {
	r := &readAhead{
		client: client, topic: topic, partition: partition,
		bytes:  int32(min(max(readAheadBytes/max(siblings, 1), minFetchBytes), maxFetchBytes)),
		blocks: make(chan fetched, 1),
	}
	go r.run(ctx, from)
	return r
}

func (r *readAhead) run(ctx context.Context, from int64) {
	defer close(r.blocks)
	var broker *sarama.Broker
	hangUp := func() {
		if broker != nil {
			_ = broker.Close() // nothing is waited for there
			broker = nil
		}
	}
	defer hangUp()
	var delay backoff
	failures := 0
	for ctx.Err() == nil {
		var block *sarama.FetchResponseBlock
		var err error
		if broker == nil {
			broker, err = r.dial()
		}
		if err == nil {
			block, err = r.fetch(broker, from)
		}
		if err != nil && !errors.Is(err, sarama.ErrOffsetOutOfRange) && !isFatal(err) && failures+1 < fetchAttempts {
			failures++
			hangUp()
			if !sleep(ctx, delay.next()) {
				return
			}
			_ = r.client.RefreshMetadata(r.topic) // what this fails with, the next attempt fails with
			continue
		}
		delay.reset()
		failures = 0
		next := from
		if block != nil {
			next = behind(block, from)
			if next == from {
				continue // nothing yet
			}
		}
		select {
		case r.blocks <- fetched{from, block, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		from = next
	}
}

func (r *readAhead) dial() (*sarama.Broker, error) {
	leader, err := r.client.Leader(r.topic, r.partition)
	if err != nil {
		return nil, err
	}
	broker := sarama.NewBroker(leader.Addr())
	if err := broker.Open(r.client.Config()); err != nil {
		return nil, err
	}
	return broker, nil
}

func (r *readAhead) fetch(broker *sarama.Broker, from int64) (*sarama.FetchResponseBlock, error) {
	const noSession = -1
	req := &sarama.FetchRequest{
		Version: 11, MinBytes: 1, MaxWaitTime: fetchWait, MaxBytes: 2 * r.bytes, SessionEpoch: noSession, Isolation: isolation(),
	}
	req.AddBlock(r.topic, r.partition, from, r.bytes, -1)
	resp, err := broker.Fetch(req)
	if err != nil {
		return nil, err
	}
	block := resp.GetBlock(r.topic, r.partition)
	if block == nil {
		return nil, sarama.ErrIncompleteResponse
	}
	if block.Err != sarama.ErrNoError {
		return nil, fmt.Errorf("fetch %s/%d from offset %d: %w", r.topic, r.partition, from, block.Err)
	}
	for _, set := range block.RecordsSet {
		// Brokers cut the last batch of an answer only. What is cut counts for nothing: to go on behind it would lose it.
		if set.RecordBatch != nil && set.RecordBatch.PartialTrailingRecord {
			return nil, fmt.Errorf("fetch %s/%d from offset %d: %w", r.topic, r.partition, from, sarama.ErrIncompleteResponse)
		}
	}
	return block, nil
}

// behind returns the offset behind the last record of a block.
func behind(block *sarama.FetchResponseBlock, from int64) int64 {
	for _, set := range block.RecordsSet {
		if set.RecordBatch != nil {
			from = max(from, set.RecordBatch.LastOffset()+1)
		}
	}
	return from
}
