package processors

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	// missingPatience is how long brokers may not know a topic before it counts as deleted: a topic that has just been created
	// is unknown to some of them for a while.
	missingPatience = 30 * time.Second
	// missingGap is after how long without news of it a topic counts as found again.
	missingGap = 15 * time.Second
)

// missing watches for topics that are deleted while they are in use. What they held cannot be had again by trying, and
// trying again for ever would look like a broker that is away.
type missing struct {
	patience time.Duration // 0 is missingPatience

	mu    sync.Mutex
	spans map[string]*span // by topic; "" where the error does not say which
}

// span is the time over which a topic has been missed.
type span struct{ since, last time.Time }

// note takes an error that a topic has met, and returns a fatal one where the topic has been missing for too long.
func (m *missing) note(topic string, err error, now time.Time) error {
	if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.spans[topic]
	if s == nil || now.Sub(s.last) > missingGap {
		s = &span{since: now}
		if m.spans == nil {
			m.spans = map[string]*span{}
		}
		m.spans[topic] = s
	}
	s.last = now
	patience := cmp.Or(m.patience, missingPatience)
	if now.Sub(s.since) < patience {
		return nil
	}
	if topic == "" {
		topic = "that is needed"
	}
	return fatalError{fmt.Errorf("topic %s has not been there for %s; if it was deleted, restore it, or see `lookback reset --help` for starting anew: %w",
		topic, patience, err)}
}

// Errors passes on what the group reports, and ends the session where an input has been deleted.
func (g *group) Errors() <-chan error {
	out := make(chan error)
	go func() {
		defer close(out)
		for err := range g.ConsumerGroup.Errors() {
			topic := ""
			if at := (*sarama.ConsumerError)(nil); errors.As(err, &at) {
				topic = at.Topic
			}
			if gone := g.missing.note(topic, err, time.Now()); gone != nil {
				if s := g.p.current.Load(); s != nil {
					s.fail(gone)
				}
			}
			out <- err
		}
	}()
	return out
}
