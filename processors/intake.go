package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// intake reads one stream whose topic is not partitioned by the keys that use it. It has no state: it decodes and cleanses
// each record once, writes it to the repartition topic of every such key, and tells each of their partitions how far event
// time has come in each partition that it reads.
type intake struct {
	s       *session
	plan    *rules.Plan
	now     time.Time // of the last tick
	stream  *rules.Stream
	layout  uint32
	targets []target
	lanes   []*intakeLane // by partition; nil: not assigned

	app      string
	settings rules.Settings
	endOf    func(topic string, partition int32) (int64, error)
	skew     int64 // how far a source's time can be ahead of the clock

	safe []codecs.Source // sources as of the last commit: all events up to there are in the repartition topics
	sent []codecs.Source // as last told
	told time.Time
}

// target is a key's repartition topic.
type target struct {
	key        *rules.Key
	topic      string
	partitions int32
}

// intakeLane is what the records of one partition use. Only that partition's goroutine touches it, and the committer
// when it is at rest.
type intakeLane struct {
	cleaner *cleanser
	source  *source
	tally   *tally
	raw     Raw
	event   codecs.Event
	shuffle codecs.Shuffle
	key     []byte
	row     []byte
	value   []byte
}

// newIntake returns the work of an intake for one session.
func newIntake(s *session, plan *rules.Plan, stream *rules.Stream, dims []*tables.Dimension, targets []target, stats *Stats) (*intake, error) {
	w := &intake{
		s:        s,
		plan:     plan,
		now:      time.Now(),
		stream:   stream,
		layout:   layouts(plan)[stream.Rank].Fingerprint,
		targets:  targets,
		lanes:    make([]*intakeLane, s.p.partitions),
		app:      plan.App,
		settings: plan.Settings,
		endOf:    s.endOf,
	}
	for _, other := range plan.Streams {
		w.skew = max(w.skew, other.MaxSkew)
	}
	var sources []*source
	now := time.Now()
	for _, n := range s.assigned() {
		src := newSource(sourceID{stream.Rank, n}, s.claim(stream.Topic, n), now)
		sources = append(sources, src)
		w.lanes[n] = &intakeLane{cleaner: newCleanser(plan, stream, dims), source: src, tally: stats.tally()}
	}
	return w, recallTimes(s.ctx, s.p.client, s.p.name, stream.Topic, sources, w.latest(now))
}

func (w *intake) open(partition int32, _ *tables.Table) error { return nil }

func (w *intake) handle(batch []input) error {
	for i := range batch {
		w.pass(&batch[i])
	}
	return nil
}

// pass cleanses a record and writes it to the keys that use it.
func (w *intake) pass(in *input) {
	l := w.lanes[in.Partition]
	ev, raw := &l.event, &l.raw
	*raw = Raw{Key: in.Key, Value: in.Value, Origin: originOf(in)}
	ev.Time = noTime
	if why := skips(w.plan, in.Timestamp, w.now); why != nil {
		raw.Headers = in.headers()
		w.s.outbox.Add(rejected(w.app, raw, why, ""))
		l.tally.late(w.stream.Rank, lateSkipped)
		return
	}
	if reject := l.cleaner.clean(raw, ev); reject != nil {
		w.reject(in, raw, reject)
		if ev.Time != noTime { // refused after its time had been read
			l.source.observe(ev.Time, in.Timestamp, w.stream.MaxSkew)
		}
		return
	}
	l.shuffle = codecs.Shuffle{Layout: w.layout, Origin: raw.Origin}
	if w.mayBeLate(l.source, ev.Time, in.Timestamp) {
		l.shuffle.OriginalKey, l.shuffle.Original = in.Key, in.Value
	}
	l.row = codecs.AppendRow(l.row[:0], ev, w.stream.Kept)
	l.shuffle.Row = l.row
	l.value = codecs.AppendShuffle(l.value[:0], &l.shuffle)
	for i := range w.targets {
		t := &w.targets[i]
		key, reject := keyOf(l.key[:0], t.key, ev)
		l.key = key
		if reject != nil {
			w.reject(in, raw, reject)
			continue
		}
		w.s.outbox.Add(codecs.Record{Topic: t.topic, Partition: -1, Key: key, Value: l.value})
	}
	l.source.observe(ev.Time, in.Timestamp, w.stream.MaxSkew)
}

func (w *intake) reject(in *input, raw *Raw, reject *codecs.Reject) {
	raw.Headers = in.headers()
	w.s.outbox.Add(rejected(w.app, raw, reject, ""))
	w.lanes[in.Partition].tally.reject(reject.Reason)
}

// mayBeLate tells whether an event could be late when it reaches its key: only then do its original bytes travel with it.
// The watermark is at most what this source has shown, less the disorder, as long as the source holds it back; while the
// source was idle it can have come as far as the others.
func (w *intake) mayBeLate(src *source, t, timestamp int64) bool {
	if src.idle {
		return true
	}
	watermark := src.held
	if latest := max(src.time, timestamp); latest != noTime {
		watermark = max(watermark, latest-w.stream.Disorder)
	}
	return watermark != noTime && t < watermark-w.stream.Lateness
}

// latest is how far a watermark can have come at a time of the clock: no source's time is further ahead of the timestamp
// of its record than the skew allows.
func (w *intake) latest(now time.Time) int64 { return now.UnixMicro() + w.skew }

// tick tells the keys how far the sources have come. What is told is the state of the last commit: its events are
// acknowledged, so no watermark overtakes an event that has to be sent again.
func (w *intake) tick(now time.Time) error {
	w.now = now
	woke := false
	for _, l := range w.lanes {
		if l == nil {
			continue
		}
		idle := l.source.idle
		l.source.settle(now, w.settings.IdleTimeout, w.endOf)
		if idle || l.source.idle {
			l.source.held = w.latest(now)
		}
		c := l.source.claim
		c.metadata = l.source.metadata()
		c.pressing = c.pressing || l.source.idle && !idle
		woke = woke || idle && !l.source.idle
	}
	for i, src := range w.safe {
		w.safe[i].Idle = src.Idle && w.lanes[src.Partition].source.idle
	}
	// That a source is idle is forgotten unless it is said again.
	renews := now.Sub(w.told) >= w.settings.IdleTimeout/3 && slices.ContainsFunc(w.safe, func(s codecs.Source) bool { return s.Idle })
	if len(w.safe) == 0 || !woke && now.Sub(w.told) < w.settings.WatermarkInterval || slices.Equal(w.safe, w.sent) && !renews {
		return nil
	}
	w.told = now
	w.sent = append(w.sent[:0], w.safe...)
	value := codecs.AppendWatermark(nil, &codecs.Watermark{Sender: w.s.MemberID(), Sources: w.safe})
	for i := range w.targets {
		for n := range w.targets[i].partitions {
			w.s.outbox.Add(codecs.Record{Topic: w.targets[i].topic, Partition: n, Value: value})
		}
	}
	return nil
}

func (w *intake) committed(time.Time) {
	w.safe = w.safe[:0]
	for _, l := range w.lanes {
		if l == nil {
			continue
		}
		l.tally.commit()
		if l.source.time != noTime || l.source.idle {
			w.safe = append(w.safe, l.source.state())
		}
	}
}

func originOf(in *input) codecs.Origin {
	return codecs.Origin{Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Timestamp: in.Timestamp}
}

// recallTimes gives the sources of one topic the progress that was committed with their offsets; latest is how far a
// watermark can have come by now. It waits for transactions of
// the group that are open, whose offsets the session's claims will begin at.
func recallTimes(ctx context.Context, client sarama.Client, group, topic string, sources []*source, latest int64) error {
	if len(sources) == 0 {
		return nil
	}
	var delay backoff
	for {
		err := fetchTimes(client, group, topic, sources, latest)
		if !errors.Is(err, sarama.ErrUnstableOffsetCommit) || !sleep(ctx, delay.next()) {
			return err
		}
	}
}

func fetchTimes(client sarama.Client, group, topic string, sources []*source, latest int64) error {
	var partitions []int32
	for _, src := range sources {
		partitions = append(partitions, src.id.partition)
	}
	coordinator, err := client.Coordinator(group)
	if err != nil {
		return fmt.Errorf("read committed times: %w", err)
	}
	req := sarama.NewOffsetFetchRequest(client.Config().Version, group, map[string][]int32{topic: partitions})
	req.RequireStable = true
	resp, err := coordinator.FetchOffset(req)
	if err != nil {
		_ = coordinator.Close() // so that the next attempt dials again
		return fmt.Errorf("read committed times: %w", err)
	}
	if resp.Err != sarama.ErrNoError {
		return fmt.Errorf("read committed times: %w", resp.Err)
	}
	for _, src := range sources {
		block := resp.GetBlock(topic, src.id.partition)
		if block == nil {
			continue
		}
		if block.Err != sarama.ErrNoError {
			return fmt.Errorf("read committed time of %s/%d: %w", topic, src.id.partition, block.Err)
		}
		src.recall(block.Metadata, latest)
	}
	return nil
}
