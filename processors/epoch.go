package processors

import (
	"context"
	"fmt"
	"math"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// lastMeta returns the last meta record of a changelog partition that is committed, nil where there is none. Each commit ends
// with one, so it is near the end.
func (m *maintenance) lastMeta(ctx context.Context, topic string, partition int32) (*codecs.Meta, error) {
	oldest, newest, err := m.bounds(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	for window, from := int64(1000), newest; from > oldest; window *= 8 {
		from = max(newest-window, oldest)
		var last []byte
		err := m.retry(ctx, func() error {
			next, err := visitCommitted(m.client, topic, partition, from, newest, func(r *committedRecord) bool {
				if key, err := codecs.DecodeChangelogKey(r.Key); err == nil && key.Kind == codecs.ChangelogMeta && r.Value != nil {
					last = append(last[:0], r.Value...)
				}
				return true
			})
			if err == nil && next < newest {
				err = sarama.ErrUnstableOffsetCommit // a crash has left a transaction open, which its time-out ends
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read %s/%d: %w", topic, partition, err)
		}
		if last != nil {
			meta, err := codecs.DecodeMeta(last)
			if err != nil {
				return nil, fmt.Errorf("read %s/%d: %w", topic, partition, err)
			}
			return &meta, nil
		}
	}
	return nil, nil
}

// metas returns the last meta records of a changelog, by partition, and the highest epoch among them.
func (m *maintenance) metas(ctx context.Context, topic string, partitions int32) (metas []*codecs.Meta, epoch uint64, err error) {
	metas = make([]*codecs.Meta, partitions)
	for n := range partitions {
		if metas[n], err = m.lastMeta(ctx, topic, n); err != nil {
			return nil, 0, err
		}
		if metas[n] != nil {
			epoch = max(epoch, codecs.EpochOf(metas[n].Accepted))
		}
	}
	return metas, epoch, nil
}

// emptyMeta is the meta record of a table that holds nothing and whose rows have versions of an epoch.
func emptyMeta(layout string, epoch uint64) codecs.Meta {
	return codecs.Meta{Watermark: math.MinInt64, Accepted: codecs.FirstVersion(epoch), Rules: layout}
}

// writeMetas appends meta records to a changelog, by partition, and returns their offsets. Each stands behind a barrier of its
// own: no table that was ever up to date with the changelog has come as far as the meta record.
func (m *maintenance) writeMetas(ctx context.Context, topic string, metas []codecs.Meta) (map[int32]int64, error) {
	p := producer.New(m.client, producer.Config{Tracked: topic, Logger: m.log})
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, maintenancePatience)
	defer cancel()
	err := p.Reset(ctx)
	if err == nil {
		for n := range metas {
			p.Add(&codecs.Record{Topic: topic, Partition: int32(n), Key: codecs.AppendBarrierKey(nil, m.config.ClientID)})
			p.Add(&codecs.Record{Topic: topic, Partition: int32(n), Key: codecs.AppendMetaKey(nil), Value: codecs.AppendMeta(nil, &metas[n])})
		}
		err = p.Flush(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("write to %s: %w", topic, err)
	}
	offsets := map[int32]int64{}
	for n := range metas {
		next, ok := p.Acked(int32(n))
		if !ok {
			return nil, fmt.Errorf("write to %s: no offset was returned for partition %d", topic, n)
		}
		offsets[int32(n)] = next - 1
	}
	return offsets, nil
}

// checkEpoch refuses an epoch that versions have no room for.
func checkEpoch(epoch uint64) error {
	if epoch > codecs.MaxEpoch {
		return fmt.Errorf("versions have room for %d epochs, and all are used up: give every rule another `into` topic and the app another name", codecs.MaxEpoch)
	}
	return nil
}
