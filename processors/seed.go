package processors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

const (
	// seedCommit is after how many records a seed commits what they came to.
	seedCommit = 20_000
	// seedCache is what the histories of all tables of a seed may take in memory.
	seedCache = 512 << 20
)

// Seed fills the state of an app that has none from records of the past, as Run would have done, so that its first events
// find the touches that came before them. It writes to the changelogs alone, unless it is told to emit. Nothing is late in
// a seed and nothing expires: the order in which the records come does not matter, and watermarks begin with the first run,
// which takes out what is too old by then. It is not safe for concurrent use.
//
// The tables that it works on lie on the disk, in a folder that Close removes, so that memory does not follow the history.
type Seed struct {
	m       *maintenance
	r       *runtime
	emit    bool
	dir     string
	cleaner []*cleanser // by stream rank
	keys    []*seedKey
	tally   *tally
	event   codecs.Event
	buf     []byte
	out     []codecs.Record // outputs since the last commit; a record may come late, and no transaction waits for it
	count   int             // records since the last commit
}

// seedKey is a key that is seeded.
type seedKey struct {
	key       *rules.Key
	changelog string
	outbox    *outbox
	metas     []*codecs.Meta // what the changelog has, by partition; nil: nothing
	lanes     []*partition   // by partition; nil: no event yet
	positions []int64        // of the changelog, by partition
}

// OpenSeed prepares a seed of an app: it creates the app's topics where they are missing, and refuses, before it changes
// anything, where the app is running (a BusyError) or has state. With emit the rows of seeded conversions are written to
// the outputs, otherwise they are taken to be known there.
func OpenSeed(ctx context.Context, plan *rules.Plan, cfg Config, emit bool) (*Seed, error) {
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	for _, k := range plan.Keys {
		for _, rank := range k.Streams {
			if by := plan.Streams[rank].PartitionedBy; k.Direct && len(by) > 1 {
				return nil, fmt.Errorf("key %s is read directly from topics that are partitioned by several fields (%s): which partition a record would be in only its producers know", k.Name, strings.Join(by, ", "))
			}
		}
	}
	m, err := newMaintenance(plan, cfg)
	if err != nil {
		return nil, err
	}
	s := &Seed{m: m, emit: emit, tally: cfg.Stats.tally()}
	if err := s.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Seed) open(ctx context.Context, cfg Config) error {
	plan := s.m.plan
	if err := s.m.wantIdle(ctx, groupNames(plan)); err != nil {
		return err
	}
	checked, err := inspect(plan, s.m.admin)
	if err != nil {
		return err
	}
	for _, k := range plan.Keys {
		topic := ChangelogTopic(plan.App, k)
		at, err := s.m.firstEntry(ctx, topic, checked.counts[topic])
		if err != nil {
			return err
		}
		if at != "" {
			return fmt.Errorf("the app has state: topic %s holds an event at %s; `lookback reset` empties it", topic, at)
		}
	}
	s.r = &runtime{plan: plan, cfg: cfg, log: cfg.Logger, config: s.m.config}
	if err := s.r.prepare(ctx); err != nil {
		return err
	}
	for _, stream := range plan.Streams {
		s.cleaner = append(s.cleaner, newCleanser(plan, stream, s.r.dims))
	}
	s.dir = filepath.Join(plan.Settings.StateDir, plan.App+".seed")
	if err := os.RemoveAll(s.dir); err != nil { // of a seed that was killed
		return &tables.FolderError{Dir: s.dir, Cause: err}
	}
	for _, k := range plan.Keys {
		sk, err := s.openKey(ctx, k)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, sk)
	}
	return nil
}

func (s *Seed) openKey(ctx context.Context, k *rules.Key) (*seedKey, error) {
	plan, n := s.m.plan, s.r.counts[ChangelogTopic(s.m.plan.App, k)]
	sk := &seedKey{key: k, changelog: ChangelogTopic(plan.App, k), lanes: make([]*partition, n), positions: make([]int64, n)}
	var err error
	if err = s.m.served(ctx, []string{sk.changelog}); err != nil {
		return nil, err
	}
	if sk.metas, _, err = s.m.metas(ctx, sk.changelog, n); err != nil {
		return nil, err
	}
	p := producer.New(s.r.client, producer.Config{
		TransactionalID:    s.transactional(k),
		TransactionTimeout: transactionTimeout,
		Tracked:            sk.changelog,
		Logger:             s.m.log,
	})
	sk.outbox, err = newOutbox(ctx, s.r.client, p, RejectedTopic(plan.App), sk.changelog)
	if err != nil {
		p.Close()
		return nil, err
	}
	return sk, nil
}

// transactional returns the transactional id of a key's part of the seed: a second seed of the app fences the first.
func (s *Seed) transactional(k *rules.Key) string {
	if s.m.plan.Settings.Delivery != rules.ExactlyOnce {
		return ""
	}
	return transactionalID(KeyGroup(s.m.plan.App, k), "seed")
}

// firstEntry returns where the first event of a changelog is, "" where there is none. What else a changelog may hold are
// barriers, and the meta records of a reset.
func (m *maintenance) firstEntry(ctx context.Context, topic string, partitions int32) (at string, err error) {
	for n := range partitions {
		oldest, newest, err := m.bounds(ctx, topic, n)
		if err != nil {
			return "", err
		}
		err = m.retry(ctx, func() error {
			_, err := visitCommitted(m.client, topic, n, oldest, newest, func(r *committedRecord) bool {
				if key, err := codecs.DecodeChangelogKey(r.Key); err != nil || key.Kind == codecs.ChangelogEntry && r.Value != nil {
					at = fmt.Sprintf("partition %d, offset %d", n, r.Offset)
				}
				return at == ""
			})
			return err
		})
		if err != nil {
			return "", fmt.Errorf("read %s/%d: %w", topic, n, err)
		}
		if at != "" {
			return at, nil
		}
	}
	return "", nil
}

// Record takes one record of the stream with that rank. An error ends the seed; what is wrong with the record is counted as a
// reject and, where the seed emits, written as one.
func (s *Seed) Record(ctx context.Context, stream int, raw *Raw) error {
	ev := &s.event
	if why := s.cleaner[stream].clean(raw, ev); why != nil {
		s.Reject(raw, why)
		return nil
	}
	for _, k := range s.keys {
		if k.key.Slots[stream] == nil {
			continue
		}
		var why *codecs.Reject
		if s.buf, why = keyOf(s.buf[:0], k.key, ev); why != nil {
			s.Reject(raw, why)
			continue
		}
		lane, err := s.lane(k, s.home(k, ev))
		if err != nil {
			return err
		}
		if err := lane.acceptEvent(s.buf, ev, raw); err != nil {
			return fmt.Errorf("key %s: %w", k.key.Name, err)
		}
	}
	if s.count++; s.count < seedCommit {
		return nil
	}
	return s.commit(ctx)
}

// Reject takes a record that belongs to no stream.
func (s *Seed) Reject(raw *Raw, why *codecs.Reject) {
	s.tally.reject(why.Reason)
	s.add(rejected(s.m.plan.App, raw, why, ""))
}

// add queues an output.
func (s *Seed) add(r codecs.Record) {
	if s.emit {
		s.out = append(s.out, r)
	}
}

// home returns the partition in which Run would meet an event, whose key is in s.buf.
func (s *Seed) home(k *seedKey, ev *codecs.Event) int32 {
	n := int32(len(k.lanes))
	if !k.key.Direct {
		return codecs.PartitionOf(s.buf, n)
	}
	by := s.m.plan.Streams[ev.Stream].PartitionedBy[0]
	for i, field := range k.key.Fields {
		if field != by {
			continue
		}
		v := ev.ID
		if slot := k.key.Slots[ev.Stream][i]; slot >= 0 {
			v = ev.Fields[slot]
		}
		return codecs.PartitionOf(codecs.AppendText(nil, v), n)
	}
	return codecs.PartitionOf(s.buf, n) // a direct key has the field: the compiler has seen to that
}

// lane returns what a partition of a key is seeded with.
func (s *Seed) lane(k *seedKey, n int32) (*partition, error) {
	if k.lanes[n] != nil {
		return k.lanes[n], nil
	}
	all := 0
	for _, k := range s.keys {
		all += len(k.lanes)
	}
	t, err := tables.Open(shapeOf(s.m.plan, k.key), tables.Options{
		Dir: filepath.Join(s.dir, k.key.Name, strconv.Itoa(int(n))), CacheBytes: max(seedCache/int64(all), 1<<20),
	})
	if err != nil {
		return nil, fmt.Errorf("open table of partition %d: %w", n, err)
	}
	meta := emptyMeta("", 0)
	if k.metas[n] != nil {
		meta.Accepted = k.metas[n].Accepted
	}
	t.SetMeta(meta)
	k.lanes[n] = newPartition(s.m.plan, k.key, t, s.add, s.tally)
	return k.lanes[n], nil
}

// commit makes durable what was taken since the last commit: one transaction per key, the outputs in the first.
func (s *Seed) commit(ctx context.Context) error {
	for i, k := range s.keys {
		if i == 0 {
			for _, r := range s.out {
				k.outbox.Add(r)
			}
		}
		for n, lane := range k.lanes {
			if lane == nil {
				continue
			}
			lane.table.Changes(func(key, value []byte) {
				k.outbox.Add(codecs.Record{Topic: k.changelog, Partition: int32(n), Key: key, Value: value})
			})
		}
		write := k.outbox.Flush
		if s.transactional(k.key) != "" {
			// Nobody else writes to the changelog, which is why the seed refuses while the app is running: no group's
			// generation has to vouch for it.
			write = func(ctx context.Context) error { return k.outbox.Commit(ctx, producer.Offsets{}) }
		}
		if err := write(ctx); err != nil {
			return fmt.Errorf("commit key %s: %w", k.key.Name, err)
		}
		for n, lane := range k.lanes {
			if lane == nil || !lane.table.Dirty() {
				continue
			}
			if next, ok := k.outbox.Acked(int32(n)); ok {
				k.positions[n] = next
			}
			if err := lane.table.Commit(k.positions[n]); err != nil {
				return fmt.Errorf("commit table of partition %d: %w", n, err)
			}
		}
	}
	s.tally.commit()
	s.out, s.count = s.out[:0], 0
	return nil
}

// Finish commits the rest. Unless startAt is zero it makes the app read the source topics from there on, by the records' Kafka
// timestamps, instead of from their beginning. It fails where the app was started meanwhile.
func (s *Seed) Finish(ctx context.Context, startAt time.Time) error {
	if err := s.commit(ctx); err != nil {
		return err
	}
	if err := s.m.wantIdle(ctx, groupNames(s.m.plan)); err != nil {
		return fmt.Errorf("the seed cannot be used, `lookback reset` removes it: %w", err)
	}
	if startAt.IsZero() {
		return nil
	}
	for _, stage := range sourceStages(s.m.plan) {
		for _, topic := range stage.Topics {
			starts := map[int32]int64{}
			for n := range s.r.counts[topic] {
				offset, err := s.m.offsetAt(ctx, topic, n, startAt.UnixMilli())
				if err == nil && offset < 0 {
					offset, err = s.m.offsetAt(ctx, topic, n, sarama.OffsetNewest)
				}
				if err != nil {
					return err
				}
				starts[n] = offset
			}
			if err := s.m.setOffsets(ctx, stage.Group, topic, starts); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends the seed and removes its folder. What was not committed is lost.
func (s *Seed) Close() error {
	var errs []error
	for _, k := range s.keys {
		k.outbox.producer.Close()
		for _, lane := range k.lanes {
			if lane != nil {
				errs = append(errs, lane.table.Close())
			}
		}
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if s.r != nil && s.r.client != nil {
		_ = s.r.client.Close()
	}
	s.m.close()
	return errors.Join(errs...)
}
