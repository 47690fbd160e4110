package processors

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// lookInterval is how often a re-processing looks how far it has come.
const lookInterval = 500 * time.Millisecond

// await returns when everything that is in the sources now has had its effect.
func (p *reprocessing) await(ctx context.Context) error {
	ends := map[string][]int64{} // of the topics of the stages that are waited for, from the moment when these are
	for _, stage := range Stages(p.plan) {
		for _, topic := range stage.Topics {
			if isSource(p.plan, topic) {
				if err := p.noteEnds(ctx, ends, topic); err != nil {
					return err
				}
			}
		}
	}
	begun := int64(-1)
	for _, stage := range Stages(p.plan) {
		for _, topic := range stage.Topics {
			// What the intakes have committed is in the repartition topics, because intakes come first.
			if ends[topic] == nil {
				if err := p.noteEnds(ctx, ends, topic); err != nil {
					return err
				}
			}
		}
		for {
			left, err := p.left(ctx, stage, ends)
			if err != nil {
				return err
			}
			sources, err := p.leftOfSources(ctx, ends)
			if err != nil {
				return err
			}
			if begun = max(begun, sources); p.o.Progress != nil {
				p.o.Progress(begun-sources, begun)
			}
			if left == 0 {
				break
			}
			if !sleep(ctx, lookInterval) {
				return ctx.Err()
			}
		}
	}
	return nil
}

func (p *reprocessing) noteEnds(ctx context.Context, ends map[string][]int64, topic string) error {
	counts, err := countPartitions(p.m.admin, []Topic{{Name: topic}})
	if err != nil {
		return err
	}
	ends[topic] = make([]int64, counts[topic])
	for n := range counts[topic] {
		if _, ends[topic][n], err = p.m.bounds(ctx, topic, n); err != nil {
			return err
		}
	}
	return nil
}

func (p *reprocessing) leftOfSources(ctx context.Context, ends map[string][]int64) (sum int64, err error) {
	for _, stage := range sourceStages(p.plan) {
		left, err := p.left(ctx, stage, ends)
		if err != nil {
			return 0, err
		}
		sum += left
	}
	return sum, nil
}

// left returns how many records below the ends a group has still to commit.
func (p *reprocessing) left(ctx context.Context, stage Stage, ends map[string][]int64) (sum int64, err error) {
	for _, topic := range stage.Topics {
		offsets, err := p.m.offsets(ctx, stage.Group, topic, int32(len(ends[topic])))
		if err != nil {
			return 0, err
		}
		for n, end := range ends[topic] {
			next := offsets[n]
			if next < 0 {
				if next, err = p.m.offsetAt(ctx, topic, int32(n), sarama.OffsetOldest); err != nil {
					return 0, err
				}
			}
			if next >= end {
				continue
			}
			found := false
			err := p.m.retry(ctx, func() (err error) {
				found, err = hasRecords(p.m.client, topic, int32(n), next, end, anyRecord)
				return err
			})
			if err != nil {
				return 0, fmt.Errorf("read %s/%d: %w", topic, n, err)
			}
			if found {
				sum += end - next
			}
		}
	}
	return sum, nil
}
