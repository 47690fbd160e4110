package producer

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// requestBytes bounds what one request carries, before compression.
const requestBytes = 4 << 20

// leader is a broker that leads partitions. One request to it is under way at any time.
type leader struct {
	addr    string
	waiting []*partition   // have a batch to send
	sending bool           // a goroutine takes care of waiting
	broker  *sarama.Broker // of that goroutine; nil: not connected
}

// flight is a batch that is on its way.
type flight struct {
	*partition
	batch *batch
}

// send sends to a leader for as long as something waits for it.
func (t *term) send(l *leader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.err == nil {
		flights := t.board(l)
		if len(flights) == 0 {
			break
		}
		t.mu.Unlock()
		response, err := t.produce(l, flights)
		t.mu.Lock()
		t.land(l, flights, response, err)
	}
	l.sending = false
}

// board takes the next batch of each waiting partition, as many as one request may carry, and numbers them.
func (t *term) board(l *leader) []flight {
	var flights []flight
	taken, bytes := 0, 0
	for _, p := range l.waiting {
		if len(p.queue) == 0 { // was dropped
			p.busy = false
			taken++
			continue
		}
		b := p.queue[0]
		if bytes > 0 && bytes+b.bytes > requestBytes {
			break
		}
		taken++
		bytes += b.bytes
		if !b.numbered {
			b.numbered = true
			b.wire.ProducerID, b.wire.ProducerEpoch = t.id, t.epoch
			b.wire.IsTransactional = t.cfg.TransactionalID != ""
			b.wire.FirstSequence = p.sequence
			p.sequence = advance(p.sequence, b.count())
		}
		flights = append(flights, flight{p, b})
	}
	l.waiting = append(l.waiting[:0], l.waiting[taken:]...)
	return flights
}

// produce makes the request. The term's end closes the connection, so it comes back soon after that.
func (t *term) produce(l *leader, flights []flight) (*sarama.ProduceResponse, error) {
	conf := t.client.Config()
	request := &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: int32(conf.Producer.Timeout / time.Millisecond), Version: 8}
	if conf.Version.IsAtLeast(sarama.V2_8_0_0) {
		request.Version = 9
	}
	if t.cfg.TransactionalID != "" {
		request.TransactionalID = &t.cfg.TransactionalID
	}
	now := time.Now()
	for _, f := range flights {
		if len(f.batch.pointers) == 0 {
			f.batch.close(now)
		}
		request.AddBatch(f.topic.name, f.id, &f.batch.wire)
	}
	if l.broker == nil {
		broker, err := t.dial.open(l.addr)
		if err != nil {
			return nil, err
		}
		l.broker = broker
	}
	response, err := l.broker.Produce(request)
	if err != nil {
		t.dial.close(l.broker)
		l.broker = nil
		return nil, err
	}
	return response, nil
}

// land settles the batches of a request.
func (t *term) land(l *leader, flights []flight, response *sarama.ProduceResponse, err error) {
	if t.err != nil {
		return
	}
	if err != nil {
		err = fmt.Errorf("produce to broker %s: %w", l.addr, err)
		t.stumble(err, "partitions", len(flights))
	}
	for _, f := range flights {
		if err != nil {
			t.retry(f.partition, err)
			continue
		}
		block := response.GetBlock(f.topic.name, f.id)
		if block == nil {
			t.retry(f.partition, fmt.Errorf("no answer from broker %s", l.addr))
			continue
		}
		switch code := block.Err; {
		case code == sarama.ErrNoError, code == sarama.ErrDuplicateSequenceNumber:
			t.acknowledge(f.partition, block.Offset)
		case tooLarge(code) && f.batch.count() > 1:
			first, second := f.batch.split()
			f.queue = append([]*batch{first, second}, f.queue[1:]...)
			f.busy = false
			t.advance(f.partition)
		default:
			t.retry(f.partition, refusal(code))
		}
	}
	t.changed.Broadcast()
}

func tooLarge(code sarama.KError) bool {
	return code == sarama.ErrMessageSizeTooLarge || code == sarama.ErrMessageSetSizeTooLarge
}

// retry has a partition's first batch sent once more, to whoever leads the partition then, or fails where that is no use.
func (t *term) retry(p *partition, err error) {
	if t.err != nil {
		return
	}
	if len(p.queue) == 0 { // was dropped
		p.busy = false
		return
	}
	if late := overdue(err, &p.missing, t.cfg.MissingTimeout); late || !passes(err) {
		if late {
			err = fmt.Errorf("topic is missing for %s: %w", t.cfg.MissingTimeout, err)
		}
		t.fail(fmt.Errorf("write %d records of %d bytes to %s/%d: %w", p.queue[0].count(), p.queue[0].bytes, p.topic.name, p.id, err))
		return
	}
	t.trouble = fmt.Errorf("write to %s/%d: %w", p.topic.name, p.id, err)
	p.attempts++
	p.leader = nil
	t.lose(p)
}

// stumble reports trouble that is taken for passing.
func (t *term) stumble(err error, args ...any) {
	t.trouble = err
	t.cfg.Logger.Warn("producer tries again", append(args, "error", err)...)
}
