package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// processor is one goka processor and what outlives its sessions.
type processor struct {
	name        string   // the consumer group
	topics      []string // inputs, co-partitioned
	partitions  int32    // of each of them
	repartition string   // the input that is ours to trim; "" where there is none
	changelog   string   // "" without state
	rejected    string   // topic of what cannot be written elsewhere

	config        *sarama.Config
	brokers       []string
	deleteRecords func(topic string, below map[int32]int64) error // nil: nothing is trimmed
	stores        *stores                                         // nil without state
	memory        memory                                          // of the tables
	newWork       func(s *session) (work, error)
	instance      string        // name of this instance, which its members of groups tell each other
	copies        int           // of each partition's table that other instances keep
	transactional string        // id of the producer's transactions; "" under at-least-once delivery
	interval      time.Duration // between commits
	records       int64         // from which a commit comes early
	trimming      time.Duration // between deletions of what is of no use any more
	grace         time.Duration // for the commit that is under way when a session ends
	log           *slog.Logger
	stats         *Stats
	lookups       *keyLookups // nil: nobody asks, or there is no state
	onReady       func()

	// While it runs. Broker connections answer in order, so what waits for records must not share one with what commits.
	client   sarama.Client // produces and commits
	producer *producer.Producer
	reader   sarama.Client // reads changelogs
	standbys *standbys     // nil without state

	current   atomic.Pointer[session]
	offsets   offsetWatch
	failure   error // of the consumer group, for good; goka's Run reports it in words of its own
	readyOnce sync.Once
}

// ready reports, once, that the processor's first assignment is in service.
func (p *processor) ready() { p.readyOnce.Do(p.onReady) }

// run processes until ctx ends or an error that trying again cannot mend.
func (p *processor) run(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.disconnect()
	if err := p.awaitTopics(ctx); err != nil {
		return err
	}
	if p.stores != nil {
		p.standbys = newStandbys(ctx, p)
	}
	graph := goka.DefineGroup(goka.Group(p.name), p.edges()...)
	g, err := goka.NewProcessor(p.brokers, graph,
		goka.WithLogger(gokaLog{p.log}),
		goka.WithNilHandling(goka.NilProcess),
		goka.WithPartitionChannelSize(claimBuffer),
		goka.WithStorageBuilder(func(_ string, partition int32) (storage.Storage, error) {
			return gokaStorage{p, partition}, nil
		}),
		goka.WithTopicManagerBuilder(func([]string) (goka.TopicManager, error) { return gokaTopics{p.client}, nil }),
		goka.WithProducerBuilder(func([]string, string, func() hash.Hash32) (goka.Producer, error) {
			return gokaProducer{}, nil
		}),
		goka.WithConsumerSaramaBuilder(func([]string, string) (sarama.Consumer, error) {
			return sarama.NewConsumerFromClient(p.reader)
		}),
		goka.WithConsumerGroupBuilder(func(brokers []string, name, _ string) (sarama.ConsumerGroup, error) {
			return p.newGroup(ctx, brokers, name)
		}),
	)
	if err != nil {
		return fmt.Errorf("processor %s: %w", p.name, err)
	}
	err = g.Run(ctx)
	if p.stores != nil {
		p.standbys.stop()
		if closing := p.stores.close(); closing != nil {
			p.log.Error("tables could not be closed", "group", p.name, "error", closing)
		}
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("processor %s: %w", p.name, cmp.Or(p.failure, plain(err)))
	}
	return nil
}

// plain returns the errors that goka has collected as one that prints on one line; goka's prints as a list.
func plain(err error) error {
	var list interface{ WrappedErrors() []error }
	if !errors.As(err, &list) || len(list.WrappedErrors()) == 0 {
		return err
	}
	causes := list.WrappedErrors()
	all := plain(causes[0])
	for _, cause := range causes[1:] {
		all = fmt.Errorf("%w; %w", all, plain(cause))
	}
	return all
}

func (p *processor) connect(ctx context.Context) (err error) {
	if p.client, err = connect(ctx, p.brokers, p.config, p.log); err != nil {
		return err
	}
	p.producer = producer.New(p.client, producer.Config{
		TransactionalID:    p.transactional,
		TransactionTimeout: transactionTimeout,
		Tracked:            p.changelog,
		Logger:             p.log,
	})
	if p.reader, err = connect(ctx, p.brokers, p.config, p.log); err != nil {
		p.disconnect()
	}
	return err
}

// awaitTopics waits until the broker that is asked has heard of the topics, some of which may have just been created.
func (p *processor) awaitTopics(ctx context.Context) error {
	wanted := p.topics
	if p.changelog != "" {
		wanted = append(slices.Clone(p.topics), p.changelog)
	}
	var delay backoff
	for _, topic := range wanted {
		for {
			partitions, err := p.client.Partitions(topic)
			if err == nil && len(partitions) == int(p.partitions) {
				break
			}
			p.log.Debug("waiting for topic", "topic", topic, "partitions", len(partitions), "error", err)
			if !sleep(ctx, delay.next()) {
				return ctx.Err()
			}
			// What this fails with, asking for the partitions fails with, too.
			_ = p.client.RefreshMetadata(topic)
		}
	}
	return nil
}

// transactionTimeout is after how long a coordinator aborts a transaction that nobody ends. Readers wait for no longer than
// that for what a crash has left open.
const transactionTimeout = 10 * time.Second

func (p *processor) disconnect() {
	p.producer.Close()
	// Nobody waits for what these might still have to say.
	if p.reader != nil {
		_ = p.reader.Close()
	}
	_ = p.client.Close()
}

// newGroup returns the consumer group. Groups cannot share a client.
func (p *processor) newGroup(ctx context.Context, brokers []string, name string) (sarama.ConsumerGroup, error) {
	config := *p.config
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{p.strategy(ctx)}
	client, err := connect(ctx, brokers, &config, p.log)
	if err != nil {
		return nil, err
	}
	inner, err := sarama.NewConsumerGroupFromClient(name, client)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return &group{ConsumerGroup: inner, client: client, p: p, log: p.log}, nil
}

// strategy returns how this member shares the partitions with the others.
func (p *processor) strategy(ctx context.Context) *sticky {
	s := &sticky{instance: p.instance, log: p.log.With("group", p.name)}
	if p.transactional != "" {
		s.settle = func(gone []string) []string { return p.settle(ctx, gone) }
	}
	if p.standbys != nil {
		s.copies, s.held, s.assigned = p.copies, p.standbys.held, p.standbys.assign
	}
	return s
}

func (p *processor) edges() []goka.Edge {
	receive := func(ctx goka.Context, _ any) {
		if s := p.current.Load(); s != nil {
			s.receive(ctx)
		}
	}
	var edges []goka.Edge
	for _, topic := range p.topics {
		edges = append(edges, goka.Input(goka.Stream(topic), rawCodec{}, receive))
	}
	if p.changelog != "" {
		edges = append(edges, goka.Persist(rawCodec{}))
	}
	return edges
}
