package producer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// coordinator is the broker that answers for a transactional id or a group, whichever that is at the moment. It has a
// connection of its own, so that its requests do not wait for batches.
type coordinator struct {
	dial    *dialer
	find    func() (*sarama.Broker, error) // as the client knows it
	refresh func() error                   // corrects what the client knows

	mu     sync.Mutex
	broker *sarama.Broker // nil: not connected
	stale  bool
}

// transactionCoordinator is the one of the transactional id. Without an id any broker gives out producer ids.
func (t *term) transactionCoordinator() *coordinator {
	client, id := t.client, t.cfg.TransactionalID
	if id == "" {
		return &coordinator{dial: t.dial, find: func() (*sarama.Broker, error) { return anyBroker(client) }, refresh: func() error { return nil }}
	}
	return &coordinator{
		dial:    t.dial,
		find:    func() (*sarama.Broker, error) { return client.TransactionCoordinator(id) },
		refresh: func() error { return client.RefreshTransactionCoordinator(id) },
	}
}

func (t *term) groupCoordinator(group string) *coordinator {
	return &coordinator{
		dial:    t.dial,
		find:    func() (*sarama.Broker, error) { return t.client.Coordinator(group) },
		refresh: func() error { return t.client.RefreshCoordinator(group) },
	}
}

func anyBroker(client sarama.Client) (*sarama.Broker, error) {
	if brokers := client.Brokers(); len(brokers) > 0 {
		return brokers[rand.IntN(len(brokers))], nil
	}
	if b := client.LeastLoadedBroker(); b != nil {
		return b, nil
	}
	return nil, sarama.ErrOutOfBrokers
}

// connect returns the connection to the coordinator.
func (c *coordinator) connect() (*sarama.Broker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broker != nil {
		return c.broker, nil
	}
	if c.stale {
		if err := c.refresh(); err != nil {
			return nil, fmt.Errorf("find coordinator: %w", err)
		}
		c.stale = false
	}
	known, err := c.find()
	if err != nil {
		return nil, fmt.Errorf("find coordinator: %w", err)
	}
	c.broker, err = c.dial.open(known.Addr())
	if err != nil {
		c.stale = true
		return nil, fmt.Errorf("connect to coordinator %s: %w", known.Addr(), err)
	}
	return c.broker, nil
}

// leave gives the connection up, unless that has been done, and has the coordinator looked up anew.
func (c *coordinator) leave(b *sarama.Broker) {
	c.mu.Lock()
	if c.broker != b {
		c.mu.Unlock()
		return
	}
	c.broker, c.stale = nil, true
	c.mu.Unlock()
	c.dial.close(b)
}

// verdict is what an answer says: an error code, and what it is about where that is not the request as a whole.
type verdict struct {
	code  sarama.KError
	about string
}

func (v verdict) error() error {
	err := refusal(v.code)
	if v.about != "" {
		err = fmt.Errorf("%s: %w", v.about, err)
	}
	return err
}

// ask makes a request until it has an answer that settles it: success, or an error that does not pass by itself. It returns
// at once when ctx ends; the request may be under way then, and ctx belongs to the term or the term ends next.
func (t *term) ask(ctx context.Context, c *coordinator, what string, request func(*sarama.Broker) (verdict, error)) error {
	var missing time.Time
	for attempt := 0; ; attempt++ {
		v, err := await(ctx, func() (verdict, error) {
			b, err := c.connect()
			if err != nil {
				return verdict{}, err
			}
			v, err := request(b)
			if err != nil || elsewhere(v.code) {
				c.leave(b)
			}
			return v, err
		})
		soon := false
		if err == nil {
			if v.code == sarama.ErrNoError {
				return nil
			}
			err, soon = v.error(), passesSoon(v.code)
		}
		if ctx.Err() != nil && passes(err) { // also a connection that was closed because the term has ended
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		err = fmt.Errorf("%s: %w", what, err)
		if !passes(err) {
			return err
		}
		if overdue(err, &missing, t.cfg.MissingTimeout) {
			return fmt.Errorf("topic is missing for %s: %w", t.cfg.MissingTimeout, err)
		}
		if !soon {
			t.cfg.Logger.Warn("producer tries again", "attempt", attempt+1, "error", err)
		}
		if ended := sleep(ctx, backoff(soon, attempt)); ended != nil {
			return fmt.Errorf("%w (last trouble: %w)", ended, err)
		}
	}
}

// elsewhere tells whether an answer may mean that another broker is the coordinator now.
func elsewhere(code sarama.KError) bool {
	switch code {
	case sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrNotLeaderForPartition,
		sarama.ErrBrokerNotAvailable,
		sarama.ErrNetworkException:
		return true
	}
	return false
}

// await returns what f returns, or why ctx has ended before that. F then ends by itself.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// worst sums up the errors of partitions: one that ends the term counts most, and one that only says that others failed
// least.
func worst(errs map[string][]*sarama.PartitionError) verdict {
	var v verdict
	for topic, partitions := range errs {
		for _, e := range partitions {
			if gravity(e.Err) > gravity(v.code) {
				v = verdict{code: e.Err, about: fmt.Sprintf("%s/%d", topic, e.Partition)}
			}
		}
	}
	return v
}

func gravity(code sarama.KError) int {
	switch {
	case code == sarama.ErrNoError:
		return 0
	case code == sarama.ErrOperationNotAttempted:
		return 1
	case codePasses(code):
		return 2
	}
	return 3
}
