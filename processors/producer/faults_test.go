package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// Transactions whose connections are cut at random places keep what they promise: what was committed is there once and in
// order, with its offset, and nothing else is.
func TestCutConnections(t *testing.T) {
	const partitions, rounds = 4, 300
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		seed := uint64(20261124)
		random := rand.New(rand.NewPCG(seed, 1))
		between := newProxy(t, addrs[0], seed)
		client := newClient(t, addrs, between.config())
		topics := []string{createTopic(t, addrs, partitions, nil), createTopic(t, addrs, partitions, nil)}
		group := kafkatest.Name("group")
		p := newProducer(t, client, producer.Config{TransactionalID: kafkatest.Name("txn"), Tracked: topics[0], BatchBytes: 2 << 10})
		want := make([][]string, len(topics)*partitions)
		between.trouble(0.02, 0.02)
		failures := 0
		for round := range rounds {
			added := make([][]string, len(want))
			for i := range random.IntN(200) {
				n := random.IntN(len(want))
				value := fmt.Sprintf("%d-%d %s", round, i, strings.Repeat("x", random.IntN(60)))
				added[n] = append(added[n], value)
				p.Add(record(topics[n/partitions], int32(n%partitions), value))
			}
			if random.IntN(5) == 0 {
				if err := p.Flush(patient(t)); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			if random.IntN(5) == 0 {
				if err := p.Abort(patient(t)); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				continue
			}
			if err := p.Commit(patient(t), positions(group, topics[0], int64(round))); err != nil {
				failures++
				t.Logf("round %d: %v", round, err)
				reset(t, p)
				if at, _ := committed(t, addrs, group, topics[0]); at != int64(round) {
					continue
				}
				if !errors.Is(err, producer.ErrUnknownOutcome) {
					t.Fatalf("round %d is committed in spite of: %v", round, err)
				}
			}
			for n := range want {
				want[n] = append(want[n], added[n]...)
			}
		}
		between.trouble(0, 0)
		if between.cutSoFar() == 0 {
			t.Error("no connection was cut")
		}
		t.Logf("%d connections cut, %d commits failed", between.cutSoFar(), failures)
		for n := range want {
			got := read(t, addrs, topics[n/partitions], int32(n%partitions))
			if d := difference(values(got), want[n]); d != "" {
				t.Errorf("%s/%d: %s", topics[n/partitions], n%partitions, d)
			}
		}
	})
}

// The same without transactions, where a batch is written again and again until it is acknowledged.
func TestCutConnectionsWithoutTransactions(t *testing.T) {
	const partitions, records = 4, 20_000
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		seed := uint64(7)
		random := rand.New(rand.NewPCG(seed, 1))
		between := newProxy(t, addrs[0], seed)
		client := newClient(t, addrs, between.config())
		topic := createTopic(t, addrs, partitions, nil)
		p := newProducer(t, client, producer.Config{Tracked: topic, BatchBytes: 2 << 10, PendingBytes: 64 << 10})
		between.trouble(0.02, 0.02)
		want := make([][]string, partitions)
		for i := range records {
			n := random.IntN(partitions)
			want[n] = append(want[n], fmt.Sprint(i))
			p.Add(record(topic, int32(n), fmt.Sprint(i)))
			if random.IntN(100) == 0 {
				if err := p.Flush(patient(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
		between.trouble(0, 0)
		if between.cutSoFar() == 0 {
			t.Error("no connection was cut")
		}
		for n := range want {
			if next, _ := p.Acked(int32(n)); next != int64(len(want[n])) {
				t.Errorf("partition %d: acknowledged up to %d, want %d", n, next, len(want[n]))
			}
			if d := difference(values(read(t, addrs, topic, int32(n))), want[n]); d != "" {
				t.Errorf("partition %d: %s", n, d)
			}
		}
	})
}

// Who waits for answers that do not come is released by a context, by Fail and by Close.
func TestSwallowedAnswers(t *testing.T) {
	own := errors.New("own")
	for name, release := range map[string]func(p *producer.Producer, cancel context.CancelFunc){
		"context": func(_ *producer.Producer, cancel context.CancelFunc) { cancel() },
		"fail":    func(p *producer.Producer, _ context.CancelFunc) { p.Fail(own) },
		"close":   func(p *producer.Producer, _ context.CancelFunc) { p.Close() },
	} {
		for call, wait := range map[string]func(p *producer.Producer, ctx context.Context, topic string) error{
			"flush": func(p *producer.Producer, ctx context.Context, _ string) error { return p.Flush(ctx) },
			"commit": func(p *producer.Producer, ctx context.Context, _ string) error {
				return p.Commit(ctx, producer.Offsets{})
			},
			"offsets": func(p *producer.Producer, ctx context.Context, topic string) error {
				return p.Commit(ctx, positions("swallowed", topic, 3))
			},
			"abort": func(p *producer.Producer, ctx context.Context, _ string) error { return p.Abort(ctx) },
			"add": func(p *producer.Producer, ctx context.Context, topic string) error {
				for errors.Is(p.Flush(done), context.Canceled) {
					p.Add(record(topic, 0, strings.Repeat("x", 2000)))
				}
				return errors.New("released")
			},
			"reset": func(p *producer.Producer, ctx context.Context, _ string) error { return p.Reset(ctx) },
		} {
			if name == "context" && call == "add" { // has none
				continue
			}
			t.Run(call+" released by "+name, func(t *testing.T) {
				addrs := kafkatest.Embedded(t)
				topic := createTopic(t, addrs, 1, nil)
				between := newProxy(t, addrs[0], 1)
				client := newClient(t, addrs, between.config())
				p := newProducer(t, client, producer.Config{TransactionalID: kafkatest.Name("txn"), PendingBytes: 10_000})
				p.Add(record(topic, 0, "before")) // everything is connected then
				commit(t, p, positions("swallowed", topic, 1))
				p.Add(record(topic, 0, "open"))
				if err := p.Flush(patient(t)); err != nil {
					t.Fatal(err)
				}
				between.swallow(true)
				if call != "abort" {
					p.Add(record(topic, 0, "swallowed"))
				}
				ctx, cancel := context.WithCancel(patient(t))
				result := make(chan error)
				go func() { result <- wait(p, ctx, topic) }()
				between.asked(t)
				release(p, cancel)
				err := <-result
				if err == nil {
					t.Fatal("no error")
				}
				if name == "fail" && call != "add" {
					mustBe(t, err, own)
				}
				if name == "context" {
					mustBe(t, err, context.Canceled)
				}
			})
		}
	}
}

// Ended terms leave neither goroutines nor connections behind.
func TestEndedTermsLeaveNothing(t *testing.T) {
	addrs := kafkatest.Embedded(t)
	topic := createTopic(t, addrs, 1, nil)
	between := newProxy(t, addrs[0], 1)
	p := newProducer(t, newClient(t, addrs, between.config()), producer.Config{TransactionalID: kafkatest.Name("txn")})
	p.Add(record(topic, 0, "v")) // the client has its connections then
	commit(t, p, positions("leaving", topic, 1))
	goroutines, connections := 0, 0
	for i := range 10 {
		between.swallow(false)
		reset(t, p)
		p.Add(record(topic, 0, "v"))
		commit(t, p, positions("leaving", topic, 1))
		if i == 0 {
			goroutines, connections = runtime.NumGoroutine(), between.open()
		}
		if i%2 == 0 {
			continue // is replaced while nothing is asked
		}
		between.swallow(true)
		p.Add(record(topic, 0, "swallowed"))
		mustBe(t, p.Flush(done), context.Canceled)
		between.asked(t)
		p.Fail(errors.New("own"))
	}
	ctx := patient(t)
	for (runtime.NumGoroutine() >= goroutines || between.open() >= connections) && ctx.Err() == nil {
		runtime.Gosched()
	}
	if ctx.Err() != nil {
		t.Errorf("%d goroutines and %d connections, with a term there were %d and %d", runtime.NumGoroutine(), between.open(), goroutines, connections)
	}
}

// An abort waits for what is on its way: the next transaction's numbers depend on whether it was written.
func TestAbortWithABatchOnItsWay(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, nil)
		between := newProxy(t, addrs[0], 1)
		p := newProducer(t, newClient(t, addrs, between.config()), producer.Config{TransactionalID: kafkatest.Name("txn"), BatchBytes: 1000})
		p.Add(record(topic, 0, "aborted"))
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
		between.swallow(true)
		p.Add(record(topic, 0, strings.Repeat("on its way", 100)))
		between.asked(t)
		p.Add(record(topic, 0, "unsent"))
		result := make(chan error)
		go func() { result <- p.Abort(patient(t)) }()
		select {
		case <-between.muted:
			t.Error("the transaction was ended before its batch was answered")
		case <-time.After(50 * time.Millisecond): // nothing can tell that an abort waits; less time would only find less
		}
		between.swallow(false)
		between.sever()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		p.Add(record(topic, 0, "committed"))
		commit(t, p, producer.Offsets{})
		if d := difference(values(read(t, addrs, topic, 0)), []string{"committed"}); d != "" {
			t.Error(d)
		}
	})
}

// done is a context that is over: with it Flush only sends and looks.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func TestUnknownOutcome(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic, group := createTopic(t, addrs, 1, nil), kafkatest.Name("group")
		between := newProxy(t, addrs[0], 1)
		p := newProducer(t, newClient(t, addrs, between.config()), producer.Config{TransactionalID: kafkatest.Name("txn")})
		p.Add(record(topic, 0, "first"))
		commit(t, p, positions(group, topic, 1))

		p.Add(record(topic, 0, "second"))
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
		between.swallow(true) // all that is left is the end of the transaction
		ctx, cancel := context.WithCancel(patient(t))
		result := make(chan error)
		go func() { result <- p.Commit(ctx, producer.Offsets{}) }()
		between.asked(t)
		cancel()
		mustBe(t, <-result, producer.ErrUnknownOutcome, context.Canceled)
		if p.Usable() {
			t.Error("usable in doubt")
		}
		between.swallow(false)
		reset(t, p)
		p.Add(record(topic, 0, "third"))
		commit(t, p, producer.Offsets{})
		// The broker's answer was swallowed, not the request: it did happen.
		if d := difference(values(read(t, addrs, topic, 0)), []string{"first", "second", "third"}); d != "" {
			t.Error(d)
		}
	})
}

func TestBrokerThatIsAwayForSomeTime(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, nil)
		between := newProxy(t, addrs[0], 1)
		p := newProducer(t, newClient(t, addrs, between.config()), producer.Config{TransactionalID: kafkatest.Name("txn")})
		p.Add(record(topic, 0, "before"))
		commit(t, p, producer.Offsets{})
		between.trouble(1, 0)
		between.sever()
		p.Add(record(topic, 0, "meanwhile"))
		result := make(chan error)
		go func() { result <- p.Commit(patient(t), producer.Offsets{}) }()
		ctx := patient(t)
		for between.cutSoFar() < 20 && ctx.Err() == nil {
			runtime.Gosched()
		}
		between.trouble(0, 0)
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if d := difference(values(read(t, addrs, topic, 0)), []string{"before", "meanwhile"}); d != "" {
			t.Error(d)
		}
	})
}

// A transaction that is open for longer than its time-out is aborted by the coordinator, which fences its producer.
func TestExpiredTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, nil)
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn"), TransactionTimeout: 50 * time.Millisecond})
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		var err error
		for ctx := patient(t); err == nil; <-again.C { // brokers look for expired transactions every few seconds
			p.Add(record(topic, 0, "expired"))
			err = p.Flush(ctx)
		}
		mustBe(t, err, producer.ErrFenced)
		reset(t, p)
		p.Add(record(topic, 0, "committed"))
		commit(t, p, producer.Offsets{})
		if d := difference(values(read(t, addrs, topic, 0)), []string{"committed"}); d != "" {
			t.Error(d)
		}
	})
}
