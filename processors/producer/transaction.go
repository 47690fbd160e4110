package producer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors/failpoint"
)

var (
	errNotTransactional = errors.New("producer has no transactional id")
	errVersion          = errors.New("configured Kafka version is below 2.5, where offsets are committed without the group's generation")
)

// begin gets the term its producer id and epoch.
func (t *term) begin(ctx context.Context) error {
	if !t.client.Config().Version.IsAtLeast(sarama.V2_5_0_0) {
		return errVersion
	}
	request := &sarama.InitProducerIDRequest{Version: 3, ProducerID: -1, ProducerEpoch: -1}
	if t.modern() {
		request.Version = 4
	}
	if t.cfg.TransactionalID != "" {
		request.TransactionalID, request.TransactionTimeout = &t.cfg.TransactionalID, t.cfg.TransactionTimeout
	}
	var id atomic.Pointer[sarama.InitProducerIDResponse]
	err := t.ask(ctx, t.transactions, "get producer id", func(b *sarama.Broker) (verdict, error) {
		response, err := b.InitProducerID(request)
		if err != nil {
			return verdict{}, err
		}
		id.Store(response)
		return verdict{code: response.Err}, nil
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.id, t.epoch = id.Load().ProducerID, id.Load().ProducerEpoch
	return nil
}

// modern tells whether brokers know the error code that says that a producer is fenced.
func (t *term) modern() bool { return t.client.Config().Version.IsAtLeast(sarama.V2_8_0_0) }

// version is the one of the requests that belong to a transaction.
func (t *term) version() int16 {
	if t.modern() {
		return 3
	}
	return 1
}

// enrol has partitions join the transaction for as long as any want to, all that have come together at once.
func (t *term) enrol() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.err == nil && len(t.joining) > 0 {
		joining := t.joining
		t.joining = nil
		t.open = true
		partitions := map[string][]int32{}
		for _, p := range joining {
			partitions[p.topic.name] = append(partitions[p.topic.name], p.id)
		}
		request := sarama.AddPartitionsToTxnRequest{
			Version:         t.version(),
			TransactionalID: t.cfg.TransactionalID,
			ProducerID:      t.id,
			ProducerEpoch:   t.epoch,
			TopicPartitions: partitions,
		}
		t.mu.Unlock()
		err := t.ask(t.ctx, t.transactions, "add partitions to transaction", func(b *sarama.Broker) (verdict, error) {
			own := request
			response, err := b.AddPartitionsToTxn(&own)
			if err != nil {
				return verdict{}, err
			}
			return worst(response.Errors), nil
		})
		t.mu.Lock()
		if err != nil {
			t.fail(err)
			break
		}
		for _, p := range joining {
			p.member = true
			t.members = append(t.members, p)
			p.busy = false
			t.advance(p)
		}
	}
	t.enrolling = false
	t.changed.Broadcast()
}

// commit sends what is pending, commits the offsets when all of it is acknowledged, and ends the transaction.
//
// The order matters. The group's coordinator checks the generation when the offsets come, and not again. What is written before
// then lies before anything that a new owner of the partitions writes. Were it the other way round, a member could hand in its
// offsets, sleep through a rebalance, write its records behind what the new owner has read, and still commit: the new owner
// would go on from the offsets without the records.
func (t *term) commit(ctx context.Context, o Offsets) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cfg.TransactionalID == "" {
		return errNotTransactional
	}
	if err := t.ready(); err != nil {
		return err
	}
	if t.pending == 0 && !t.open && len(o.Positions) == 0 {
		return nil
	}
	ctx, done := t.within(ctx)
	defer done()

	if len(o.Positions) > 0 {
		t.open = true
	}
	if err := t.flush(ctx); err != nil {
		t.fail(err)
		return t.err
	}
	t.ending = true // what is added from here on is for the next transaction
	t.mu.Unlock()
	failpoint.Hit("producer-after-flush")
	var err error
	if len(o.Positions) > 0 {
		if err = t.commitOffsets(ctx, o); err == nil {
			failpoint.Hit("producer-after-offsets")
		}
	}
	if err == nil {
		err = t.end(ctx, true)
	}
	t.mu.Lock()
	return t.close(err)
}

// abort aborts the open transaction. Batches that a broker may have seen are sent to their end before that: the numbers of
// those that follow depend on them, and one that arrived after the abort would be in no transaction.
func (t *term) abort(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ready(); err != nil {
		return err
	}
	ctx, done := t.within(ctx)
	defer done()
	defer t.wakeAt(ctx)()
	t.drop()
	for t.err == nil && (t.pending > 0 || t.enrolling) {
		if ctx.Err() != nil {
			err := t.ended(ctx)
			t.fail(err)
			return err
		}
		t.changed.Wait()
	}
	if t.err != nil || !t.open {
		return t.err
	}
	t.ending = true
	t.mu.Unlock()
	err := t.end(ctx, false)
	t.mu.Lock()
	return t.close(err)
}

// close leaves the transaction behind, or with an error the term.
func (t *term) close(err error) error {
	if err != nil {
		t.fail(err)
		return err
	}
	if t.err != nil {
		return nil // what failed since belongs to the next transaction
	}
	for _, p := range t.members {
		p.member = false
	}
	held := t.held
	t.members, t.held = t.members[:0], nil
	t.open, t.ending = false, false
	for _, p := range held {
		p.busy = false
		t.advance(p)
	}
	t.changed.Broadcast()
	return nil
}

// commitOffsets adds the group's offsets to the transaction.
func (t *term) commitOffsets(ctx context.Context, o Offsets) error {
	add := sarama.AddOffsetsToTxnRequest{
		Version:         t.version(),
		TransactionalID: t.cfg.TransactionalID,
		ProducerID:      t.id,
		ProducerEpoch:   t.epoch,
		GroupID:         o.Group,
	}
	err := t.ask(ctx, t.transactions, "add offsets of group "+o.Group+" to transaction", func(b *sarama.Broker) (verdict, error) {
		own := add
		response, err := b.AddOffsetsToTxn(&own)
		if err != nil {
			return verdict{}, err
		}
		return verdict{code: response.Err}, nil
	})
	if err != nil {
		return err
	}
	commit := sarama.TxnOffsetCommitRequest{
		Version:         3, // the first with the group's generation
		TransactionalID: t.cfg.TransactionalID,
		GroupID:         o.Group,
		ProducerID:      t.id,
		ProducerEpoch:   t.epoch,
		GenerationID:    o.Generation,
		MemberID:        o.Member,
		Topics:          map[string][]*sarama.PartitionOffsetMetadata{},
	}
	if o.Instance != "" {
		commit.GroupInstanceID = &o.Instance
	}
	for _, at := range o.Positions {
		commit.Topics[at.Topic] = append(commit.Topics[at.Topic],
			&sarama.PartitionOffsetMetadata{Partition: at.Partition, Offset: at.Offset, LeaderEpoch: -1, Metadata: &at.Metadata})
	}
	return t.ask(ctx, t.groupOf(o.Group), "commit offsets of group "+o.Group, func(b *sarama.Broker) (verdict, error) {
		own := commit
		response, err := b.TxnOffsetCommit(&own)
		if err != nil {
			return verdict{}, err
		}
		return worst(response.Topics), nil
	})
}

// groupOf returns the coordinator of a group, with the connection that it has from the commit before.
func (t *term) groupOf(name string) *coordinator {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.groups[name]
	if c == nil {
		c = t.groupCoordinator(name)
		t.groups[name] = c
	}
	return c
}

// end commits or aborts the transaction. The coordinator takes the same request twice, so it is repeated for as long as its
// answer is missing.
func (t *term) end(ctx context.Context, commit bool) error {
	what := "end transaction with abort"
	if commit {
		what = "end transaction with commit"
		failpoint.Hit("producer-before-endtxn")
	}
	request := sarama.EndTxnRequest{
		Version:           t.version(),
		TransactionalID:   t.cfg.TransactionalID,
		ProducerID:        t.id,
		ProducerEpoch:     t.epoch,
		TransactionResult: commit,
	}
	var doubt atomic.Bool // a request may have been obeyed without an answer that says so
	err := t.ask(ctx, t.transactions, what, func(b *sarama.Broker) (verdict, error) {
		before := doubt.Swap(true)
		own := request
		response, err := b.EndTxn(&own)
		if err != nil {
			return verdict{}, err
		}
		// A coordinator that could not write its decision down may find it written when it looks again. Only a refusal and
		// being busy mean that this request has done nothing.
		if passesSoon(response.Err) || !codePasses(response.Err) {
			doubt.Store(before)
		}
		return verdict{code: response.Err}, nil
	})
	switch {
	case err != nil && commit && doubt.Load():
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	case err == nil && commit:
		failpoint.Hit("producer-after-endtxn")
	}
	return err
}
