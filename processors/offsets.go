package processors

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// moved returns the positions of the claims that have moved since the last commit, or whose metadata has to be committed.
func (s *session) moved() []producer.Position {
	var moved []producer.Position
	for _, claims := range s.claims {
		for _, c := range claims {
			if c == nil {
				continue
			}
			if position := c.position(); c.next.Load() > c.committed || c.pressing && position >= 0 {
				moved = append(moved, producer.Position{Topic: c.topic, Partition: c.partition, Offset: position, Metadata: c.metadata})
			}
		}
	}
	return moved
}

// owned returns the position of some claim, which committing again does not change; nil where none has begun to read.
func (s *session) owned() (*producer.Position, error) {
	for _, claims := range s.claims {
		for _, c := range claims {
			if c == nil {
				continue
			}
			position := c.position()
			if position == sarama.OffsetOldest {
				// Nothing was committed there yet. Reading from the start, and from where the start is now, are the same.
				var err error
				if position, err = s.p.client.GetOffset(c.topic, c.partition, sarama.OffsetOldest); err != nil {
					return nil, fmt.Errorf("read start of %s/%d: %w", c.topic, c.partition, err)
				}
			}
			if position >= 0 {
				return &producer.Position{Topic: c.topic, Partition: c.partition, Offset: position, Metadata: c.metadata}, nil
			}
		}
	}
	return nil, nil
}

// noteCommitted remembers what was committed.
func (s *session) noteCommitted(positions []producer.Position) {
	for _, p := range positions {
		c := s.claim(p.Topic, p.Partition)
		c.committed, c.pressing = p.Offset, false
		s.p.offsets.note(p.Topic, p.Partition, p.Offset)
	}
}

// offsets returns what the group's coordinator wants to know: the positions, and under which membership they are committed.
func (s *session) offsets(positions []producer.Position) producer.Offsets {
	return producer.Offsets{
		Group:      s.p.name,
		Member:     s.MemberID(),
		Instance:   s.p.config.Consumer.Group.InstanceId,
		Generation: s.GenerationID(),
		Positions:  positions,
	}
}

// commitOffsets commits positions outside of any transaction, under the session's generation: a member that the group has
// given up is refused.
func (s *session) commitOffsets(ctx context.Context, positions []producer.Position) error {
	var delay backoff
	for {
		err := s.sendOffsets(s.offsets(positions))
		if err == nil {
			return nil
		}
		if !isRetriable(err) {
			return err
		}
		if refresh := s.p.client.RefreshCoordinator(s.p.name); refresh != nil {
			err = errors.Join(err, refresh)
		}
		if !sleep(ctx, delay.next()) {
			return err
		}
	}
}

func (s *session) sendOffsets(offsets producer.Offsets) error {
	const unknownEpoch = -1
	coordinator, err := s.p.client.Coordinator(offsets.Group)
	if err != nil {
		return err
	}
	req := sarama.NewOffsetCommitRequest(s.p.client.Config(), offsets.Group)
	req.ConsumerID = offsets.Member
	req.ConsumerGroupGeneration = offsets.Generation
	if offsets.Instance != "" {
		req.GroupInstanceId = &offsets.Instance
	}
	for _, p := range offsets.Positions {
		req.AddBlockWithLeaderEpoch(p.Topic, p.Partition, p.Offset, unknownEpoch, 0, p.Metadata)
	}
	resp, err := coordinator.CommitOffset(req)
	if err != nil {
		// The connection may be dead for good: drop it, so that the next attempt dials again.
		_ = coordinator.Close()
		return errNetwork{err}
	}
	for _, p := range offsets.Positions {
		code, ok := resp.Errors[p.Topic][p.Partition]
		if !ok {
			return sarama.ErrIncompleteResponse
		}
		if code != sarama.ErrNoError {
			return fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, code)
		}
	}
	return nil
}

// errNetwork is an error of a connection, not an answer of the broker.
type errNetwork struct{ error }

func (e errNetwork) Unwrap() error { return e.error }

// isRetriable tells whether an offset commit may succeed when it is sent again. An answer that the generation is over is
// not: the group has gone on without this member.
func isRetriable(err error) bool {
	if network := (errNetwork{}); errors.As(err, &network) {
		return true
	}
	for _, cause := range []error{
		sarama.ErrOutOfBrokers,
		sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrOffsetsLoadInProgress,
		sarama.ErrRequestTimedOut,
		sarama.ErrNotEnoughReplicas,
		sarama.ErrUnknownTopicOrPartition,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}
