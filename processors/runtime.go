// Package processors is the station that joins the others: it reads topics, lets codecs decode and rules decide, keeps
// state in tables and writes what comes of it. It is built on goka, whose processors, groups and callbacks it uses, and
// under which it puts storage, production and commits of its own, so that what a commit interval caused becomes durable
// in one order (see session.flush) and can become one transaction.
//
// The route of a record: claim (a topic partition) -> gate -> goka's callback -> work (intake or keyed) -> outbox.
package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	// commitGrace is how long the commit that is under way when a session ends may take to finish.
	commitGrace = 1500 * time.Millisecond
	// stopGrace is how long everything may take to end: that commit, leaving the groups, closing the tables.
	stopGrace = commitGrace + 500*time.Millisecond
)

// Run processes a plan until ctx ends, which is no error: the commit that is under way is finished and the consumer groups
// are left. Where that takes too long, because brokers do not answer, it is given up; what then still waits for an answer
// keeps its tables' folders locked until the answer, or the end of the process.
//
// It returns early on errors that trying again cannot mend: topics that do not fit the rules (Mismatches), missing
// permissions, state that other rules have written, a state folder that cannot be used. While the broker cannot be reached
// it tries again, at the start as well as later, and says so in the log; nothing is lost by that.
//
// What delivery is exactly once commits inputs, state and outputs of an interval in one transaction. Under at-least-once
// delivery what was processed after the last commit before a failure is processed again.
func Run(ctx context.Context, plan *rules.Plan, cfg Config) error {
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	r := &runtime{plan: plan, cfg: cfg, log: cfg.Logger, config: saramaConfig(cfg.ClientID)}
	stop := context.AfterFunc(ctx, func() { cfg.Stats.enter("stopping") })
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.serve(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// A request of sarama's cannot be taken back, and may wait for its broker for a quarter of a minute, again and again.
	overdue := time.NewTimer(stopGrace)
	defer overdue.Stop()
	select {
	case err := <-ended:
		return err
	case <-overdue.C:
		r.log.Warn("stopping without waiting any longer for brokers that do not answer", "waited", stopGrace)
		return nil
	}
}

// serve is Run, for as long as that takes.
func (r *runtime) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.fail = cancel
	var err error
	if r.instance, err = instanceName(r.plan.Settings, r.plan.App); err != nil {
		return err
	}
	membership(r.config, r.plan.Settings)
	if err = r.prepare(ctx); err == nil {
		err = r.run(ctx)
	}
	if r.client != nil {
		_ = r.client.Close() // nothing of it is waited for any more
	}
	if ctx.Err() != nil && isCancelled(err) {
		return nil
	}
	return err
}

func isCancelled(err error) bool {
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// runtime is one call of Run.
type runtime struct {
	plan     *rules.Plan
	cfg      Config
	log      *slog.Logger
	config   *sarama.Config
	fail     func(error)   // ends it
	client   sarama.Client // for questions; processors have their own
	admin    sarama.ClusterAdmin
	instance string           // names this instance in transactional ids
	counts   map[string]int32 // partitions by topic
	dims     []*tables.Dimension

	blocks       *tables.BlockCache
	incarnations map[string]string // ids of changelogs by topic, where the broker gives them
}

// prepare connects, checks topics and loads the dimension tables.
func (r *runtime) prepare(ctx context.Context) error {
	var err error
	r.cfg.Stats.enter("connecting to the brokers")
	if r.client, err = connect(ctx, r.plan.Settings.Brokers, r.config, r.log); err != nil {
		return err
	}
	err = r.retry(ctx, "checking topics", func() error {
		if r.admin, err = sarama.NewClusterAdminFromClient(r.client); err == nil {
			r.counts, err = Prepare(r.plan, r.admin)
		}
		if err == nil {
			r.incarnations, err = incarnations(r.plan, r.admin)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = r.retry(ctx, "loading tables", func() error {
		following, stop := context.WithCancel(ctx)
		r.dims, err = loadDimensions(following, r.plan, func() (sarama.Client, error) {
			return connect(ctx, r.plan.Settings.Brokers, r.config, r.log)
		}, r.fail, r.log)
		if err != nil {
			stop()
		} else {
			context.AfterFunc(ctx, stop)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.retry(ctx, "sampling topics", func() error { return checkPartitioning(ctx, r.plan, r.client, r.counts) })
}

// retry calls do until it succeeds, or fails for good.
func (r *runtime) retry(ctx context.Context, what string, do func() error) error {
	var delay backoff
	r.cfg.Stats.enter(what)
	for {
		err := do()
		if mismatches := (Mismatches{}); err == nil || isFatal(err) || isPermanent(err) || errors.As(err, &mismatches) {
			return err
		}
		wait := delay.next()
		r.log.Warn(what+" failed, trying again", "error", err, "wait", wait)
		r.cfg.Stats.enter(fmt.Sprintf("%s failed, trying again: %v", what, err))
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
		if err := r.client.RefreshMetadata(); err != nil {
			r.log.Debug("refreshing metadata", "error", err)
		}
	}
}

// isPermanent tells answers to administrative requests that another attempt would get again.
func isPermanent(err error) bool {
	for _, cause := range []error{
		sarama.ErrInvalidReplicationFactor, sarama.ErrInvalidPartitions, sarama.ErrInvalidConfig,
		sarama.ErrInvalidTopic, sarama.ErrPolicyViolation,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// run runs the processors. The first that fails for good stops the others.
func (r *runtime) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.blocks = newBlockCache(&r.plan.Settings, len(r.plan.Keys))
	defer r.blocks.Close()
	processors := r.processors()
	for _, p := range processors {
		p.report() // all are known of before one is ready
	}
	r.cfg.Stats.enter("")
	var waiting atomic.Int32
	waiting.Store(int32(len(processors)))
	var running sync.WaitGroup
	for _, p := range processors {
		p.onReady = func() {
			if waiting.Add(-1) == 0 {
				r.log.Info("ready", "processors", len(processors))
				r.cfg.OnReady()
			}
		}
		running.Go(func() {
			if err := p.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// processors returns the graph: one processor per key, and one intake per stream that some key does not read directly.
func (r *runtime) processors() []*processor {
	var all []*processor
	targets := map[int][]target{} // by stream rank
	for _, key := range r.plan.Keys {
		all = append(all, r.keyProcessor(key))
		if key.Direct {
			continue
		}
		topic := RepartitionTopic(r.plan.App, key)
		for _, rank := range key.Streams {
			targets[rank] = append(targets[rank], target{key: key, topic: topic, partitions: r.counts[topic]})
		}
	}
	for rank, stream := range r.plan.Streams {
		if len(targets[rank]) > 0 {
			all = append(all, r.intakeProcessor(stream, targets[rank]))
		}
	}
	return all
}

// processor returns what all processors have in common.
func (r *runtime) processor(group string, topics ...string) *processor {
	return &processor{
		name:          group,
		topics:        topics,
		partitions:    r.counts[topics[0]],
		rejected:      RejectedTopic(r.plan.App),
		config:        r.config,
		brokers:       r.plan.Settings.Brokers,
		deleteRecords: r.admin.DeleteRecords,
		instance:      r.instance,
		copies:        r.plan.Settings.Standby,
		transactional: r.transactional(group),
		interval:      r.plan.Settings.CommitInterval,
		records:       int64(r.plan.Settings.CommitRecords),
		trimming:      trimInterval,
		grace:         commitGrace,
		log:           r.log,
		stats:         r.cfg.Stats,
	}
}

// transactional returns the transactional id of a group's producer in this instance: the same after a restart where the
// instance has a lasting name, so that its own leftovers are aborted at once.
func (r *runtime) transactional(group string) string {
	if r.plan.Settings.Delivery != rules.ExactlyOnce {
		return ""
	}
	return transactionalID(group, r.instance)
}

func (r *runtime) intakeProcessor(stream *rules.Stream, targets []target) *processor {
	p := r.processor(IntakeGroup(r.plan.App, stream), stream.Topic)
	p.newWork = func(s *session) (work, error) {
		return newIntake(s, r.plan, stream, r.dims, targets, r.cfg.Stats)
	}
	return p
}

func (r *runtime) keyProcessor(key *rules.Key) *processor {
	var topics []string
	repartition := ""
	if key.Direct {
		for _, rank := range key.Streams {
			topics = append(topics, r.plan.Streams[rank].Topic)
		}
	} else {
		repartition = RepartitionTopic(r.plan.App, key)
		topics = []string{repartition}
	}
	p := r.processor(KeyGroup(r.plan.App, key), topics...)
	p.repartition = repartition
	p.changelog = ChangelogTopic(r.plan.App, key)
	p.memory = memoryOf(&r.plan.Settings, len(r.plan.Keys), r.blocks)
	if r.cfg.Lookups != nil {
		p.lookups = r.cfg.Lookups.keys[slices.Index(r.plan.Keys, key)]
	}
	p.stores = newStores(shapeOf(r.plan, key), func(partition int32) tables.Options {
		o := tables.Options{CacheBytes: p.memory.share(int(p.partitions)), WriteBytes: p.memory.writeShare(p.partitions), Blocks: p.memory.blocks}
		if r.plan.Settings.Store == "disk" {
			o.Incarnation = r.incarnations[p.changelog]
			o.Dir = filepath.Join(r.plan.Settings.StateDir, r.plan.App, key.Name, strconv.Itoa(int(partition)))
		}
		return o
	})
	p.newWork = func(s *session) (work, error) {
		w := newKeyed(s, r.plan, key, repartition, r.dims, r.counts, r.cfg.Stats)
		w.interval = r.cfg.interval
		return w, nil
	}
	return p
}

// layouts returns the layouts of all streams' rows, by rank.
func layouts(plan *rules.Plan) []codecs.Layout {
	all := make([]codecs.Layout, len(plan.Streams))
	for rank, s := range plan.Streams {
		kept := make([]codecs.Field, s.Kept)
		for slot := range kept {
			kept[slot] = fieldOf(plan, s, slot)
		}
		all[rank] = codecs.LayoutOf(s.Name, kept)
	}
	return all
}

// connect returns a client, after as many attempts as it takes.
func connect(ctx context.Context, brokers []string, config *sarama.Config, log *slog.Logger) (sarama.Client, error) {
	var delay backoff
	for {
		client, err := sarama.NewClient(brokers, config)
		if err == nil {
			return client, nil
		}
		if isFatal(err) {
			return nil, fmt.Errorf("connect to %v: %w", brokers, err)
		}
		wait := delay.next()
		log.Warn("broker is not reachable, trying again", "brokers", brokers, "error", err, "wait", wait)
		if !sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}
