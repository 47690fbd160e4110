package processors

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	progressInterval = 5 * time.Second

	// reportEvery is after how many records the progress of a restore is taken note of.
	reportEvery = 256
)

// errRebuild says that a local table does not belong to the changelog as it is now.
var errRebuild = errors.New("the local table does not fit the changelog")

// restore begins to bring a partition's table up to its barrier and into service, in the background: goka sets up all
// partitions before it lets any claim start, and the gate keeps this one's waiting. The end of the session stops it.
func (s *session) restore(partition int32) error {
	st := s.stores[partition]
	if st == nil {
		return fmt.Errorf("partition %d is not assigned", partition)
	}
	done := make(chan struct{})
	st.done = done
	go func() {
		defer close(done)
		var delay backoff
		for {
			err := s.restoreOnce(st)
			if err == nil || s.ctx.Err() != nil {
				return
			}
			if layout := (*tables.LayoutError)(nil); isFatal(err) || errors.As(err, &layout) {
				s.fail(fatalError{fmt.Errorf("restore table %s/%d: %w", s.p.changelog, partition, err)})
				return
			}
			if errors.Is(err, errRebuild) {
				s.log.Warn("local state is discarded and restored from the changelog", "partition", partition, "cause", err)
				if err = st.rebuild(); err == nil {
					continue
				}
			}
			wait := delay.next()
			s.log.Warn("restore failed, trying again", "partition", partition, "error", err, "wait", wait)
			s.p.report().stalled(partition, err)
			if !sleep(s.ctx, wait) {
				return
			}
		}
	}()
	return nil
}

func (s *session) restoreOnce(st *store) error {
	if err := st.open(); err != nil {
		return err
	}
	oldest, err := s.p.client.GetOffset(s.p.changelog, st.partition, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("read start of changelog: %w", err)
	}
	position := st.table.Position()
	if position > st.barrier || position > 0 && position < oldest {
		return fmt.Errorf("%w: it is at offset %d, the changelog has %d to %d", errRebuild, position, oldest, st.barrier)
	}
	if position < st.barrier {
		consumer, err := s.p.consumer.ConsumePartition(s.p.changelog, st.partition, max(position, oldest))
		if err != nil {
			return fmt.Errorf("read changelog: %w", err)
		}
		defer closeConsumer(consumer)
		if err := s.load(st, consumer); err != nil {
			return err
		}
	}
	if err := st.table.Loaded(st.barrier + 1); err != nil {
		return err
	}
	if err := s.skipVersions(st); err != nil {
		return err
	}
	if err := s.work.open(st.partition, st.table); err != nil {
		return err
	}
	s.p.report().serving(st.partition)
	close(st.ready)
	s.noteReady()
	return nil
}

// load reads the changelog into the table up to the barrier.
func (s *session) load(st *store, consumer sarama.PartitionConsumer) error {
	begun, reported := time.Now(), time.Now()
	remaining := st.barrier - st.table.Position()
	records := 0
	report, total := s.p.report(), remaining
	report.restoring(st.partition, remaining, total)
	for {
		select {
		case m, ok := <-consumer.Messages():
			if !ok {
				return errors.New("read changelog: the consumer was closed")
			}
			if err := st.table.Load(m.Key, m.Value, m.Offset); err != nil {
				return fatalError{err} // reading it again would find the same
			}
			records++
			left := max(st.barrier-m.Offset, 0)
			remaining = left
			if records%reportEvery == 0 {
				report.restoring(st.partition, remaining, total)
			}
			if m.Offset >= st.barrier {
				s.log.Debug("table restored", "partition", st.partition, "records", records, "took", time.Since(begun))
				return nil
			}
			if records%1024 == 0 && time.Since(reported) > progressInterval {
				reported = time.Now()
				s.log.Info("restoring table", "partition", st.partition, "records", records, "remaining", remaining)
			}
		case e, ok := <-consumer.Errors():
			if !ok {
				return errors.New("read changelog: the consumer was closed")
			}
			if errors.Is(e.Err, sarama.ErrOffsetOutOfRange) {
				return fmt.Errorf("%w: %w", errRebuild, e.Err)
			}
			s.log.Debug("reading changelog", "partition", st.partition, "error", e.Err)
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// noteReady tells the processor once all partitions of the session are in service.
func (s *session) noteReady() {
	if int(s.restored.Add(1)) == len(s.stores) {
		s.log.Info("all partitions restored", "partitions", len(s.stores))
		s.p.ready()
	}
}

// closeConsumer closes a partition consumer and reads what it still has, without which it would not end.
func closeConsumer(c sarama.PartitionConsumer) {
	// Close returns the errors that nobody read; what is closed here is of no interest any more.
	_ = c.Close()
}
