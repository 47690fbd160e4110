package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// lose has the leader of a busy partition looked up.
func (t *term) lose(p *partition) {
	tp := p.topic
	tp.lost = append(tp.lost, p)
	if !tp.locating {
		tp.locating = true
		go t.locate(tp)
	}
}

// locate looks for leaders for as long as partitions of the topic need one. Each topic has its own goroutine for that, so
// that one that is missing delays no other.
func (t *term) locate(tp *topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.err == nil && len(tp.lost) > 0 {
		lost := tp.lost
		tp.lost = nil
		attempts := 0
		for _, p := range lost {
			attempts = max(attempts, p.attempts)
		}
		t.mu.Unlock()
		found := t.findLeaders(tp.name, lost, attempts)
		t.mu.Lock()
		for i, p := range lost {
			if found[i].err != nil {
				t.retry(p, fmt.Errorf("find leader: %w", found[i].err))
				continue
			}
			if t.err == nil {
				p.leader = t.leader(found[i].addr)
			}
			p.busy = false
			t.advance(p)
		}
		t.changed.Broadcast()
	}
	tp.locating = false
}

// found is the address of a leader, or why it was not found.
type found struct {
	addr string
	err  error
}

// findLeaders finds the leader of each partition. After a failed attempt it waits, and asks a broker instead of trusting
// what the client knows.
func (t *term) findLeaders(name string, lost []*partition, attempts int) []found {
	all := make([]found, len(lost))
	if attempts > 0 {
		err := sleep(t.ctx, backoff(false, attempts))
		if err == nil {
			err = t.client.RefreshMetadata(name)
		}
		// A refresh fails as a whole when any partition of the topic has no leader, or when no broker answers: then what the
		// client knows is tried. A topic that is missing or forbidden it does not know.
		if err != nil && (errors.Is(err, sarama.ErrUnknownTopicOrPartition) || !passes(err)) {
			for i := range all {
				all[i].err = err
			}
			return all
		}
		if err != nil {
			t.cfg.Logger.Warn("producer found no news of leaders", "topic", name, "attempt", attempts, "error", err)
		}
	}
	for i, p := range lost {
		broker, err := t.client.Leader(name, p.id)
		if err != nil {
			all[i].err = err
			continue
		}
		all[i].addr = broker.Addr()
	}
	return all
}

func (t *term) leader(addr string) *leader {
	l := t.leaders[addr]
	if l == nil {
		l = &leader{addr: addr}
		t.leaders[addr] = l
	}
	return l
}

// sleep waits for d or returns why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
