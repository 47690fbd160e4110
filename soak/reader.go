package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reader follows topics from their beginning and gives every record to take, in the order of each partition.
type reader struct {
	client *kgo.Client
	take   func(*kgo.Record) error
	ended  chan struct{}

	mu      sync.Mutex
	moved   *sync.Cond
	next    spots
	commits int // markers of committed transactions, one per partition that took part
	aborts  int
	err     error
}

// follow begins to read topics. With committed, records of transactions that were not committed are passed over.
func follow(addr string, topics []string, committed bool, take func(*kgo.Record) error) (*reader, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.KeepControlRecords(), kgo.FetchMaxWait(100 * time.Millisecond), kgo.ClientID("soak-oracle"),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.KeepRetryableFetchErrors(),
	}
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	from := map[string]map[int32]kgo.Offset{}
	r := &reader{take: take, ended: make(chan struct{}), next: spots{}}
	r.moved = sync.NewCond(&r.mu)
	for _, topic := range topics {
		from[topic], r.next[topic] = map[int32]kgo.Offset{}, make([]int64, partitions)
		for n := range int32(partitions) {
			from[topic][n] = kgo.NewOffset().AtStart()
		}
	}
	var err error
	if r.client, err = kgo.NewClient(append(opts, kgo.ConsumePartitions(from))...); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

func (r *reader) run() {
	defer close(r.ended)
	for {
		fetches := r.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		r.mu.Lock()
		// What a broker that is down or not ready causes is tried again. Records that are gone are lost to the oracle.
		fetches.EachError(func(topic string, n int32, err error) {
			if loss := (*kgo.ErrDataLoss)(nil); errors.As(err, &loss) {
				r.fail(fmt.Errorf("read %s/%d: %w", topic, n, err))
			}
		})
		fetches.EachRecord(r.record)
		r.moved.Broadcast()
		r.mu.Unlock()
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) record(rec *kgo.Record) {
	next := &r.next[rec.Topic][rec.Partition]
	if rec.Offset < *next {
		r.fail(fmt.Errorf("read %s/%d: offset %d after %d", rec.Topic, rec.Partition, rec.Offset, *next-1))
	}
	*next = rec.Offset + 1
	switch {
	case !rec.Attrs.IsControl():
		if err := r.take(rec); err != nil {
			r.fail(err)
		}
	case len(rec.Key) >= 4 && binary.BigEndian.Uint16(rec.Key[2:]) == 1:
		r.commits++
	default:
		r.aborts++
	}
}

// reach waits until everything below the given offsets has been read.
func (r *reader) reach(ctx context.Context, ends spots) error {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.moved.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		place, there := r.behind(ends)
		switch {
		case r.err != nil:
			return r.err
		case there:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("read %s: %w", place, ctx.Err())
		}
		r.moved.Wait()
	}
}

// behind returns a partition that has not been read to its end, or true.
func (r *reader) behind(ends spots) (string, bool) {
	for topic, offsets := range ends {
		for n, end := range offsets {
			if next := r.next[topic][n]; next < end {
				return fmt.Sprintf("%s/%d is read to %d of %d", topic, n, next, end), false
			}
		}
	}
	return "", true
}

// markers returns how many commits and aborts of transactions were seen, one for each partition that took part.
func (r *reader) markers() (commits, aborts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commits, r.aborts
}

func (r *reader) close() {
	r.client.Close()
	<-r.ended
}
