package processors

import (
	"context"
	"fmt"
	"math"
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

// appTopics reads what the topics of an app hold, from outside, while it runs or not: which events it has been given, what has become of
// them, and which rows it has written.
type appTopics struct {
	plan *rules.Plan
	cfg  Config
	m    *maintenance
	dims []*tables.Dimension

	from    time.Time        // event time of the first conversion that matters; zero: of all
	streams func(int) bool   // which streams are read, by rank; nil: all
	counts  map[string]int32 // partitions by topic
	low     int64            // conversions before it need what the topics have lost
	// rowsFrom is from when on no conversion's rows are gone from the outputs.
	rowsFrom int64
	gap      string // what is lost; "": nothing
	// remembered is from when on it is known which records were late or rejected: those topics may have lost their beginnings.
	remembered int64

	// Who reads. All of them are called by several goroutines.
	event  func(e *topicEvent) error
	reject func(rank int, raw *Raw, why *codecs.Reject)
	row    func(rule int, at codecs.Origin, key []byte, row *codecs.WrittenRow) error

	mu           sync.Mutex              // of what follows
	late         places                  // records that came too late
	acceptedFrom map[acceptedEvent]int64 // events that came late and were accepted, with the time of the first conversion that may have them
	refused      places                  // records that the app has rejected
	onTheWay     []places                // records that an intake has passed on and the key's processor has not committed, by index of plan.Keys
	overflown    map[string]bool         // touches that have left a full history: see touchName

	progress    func(stage string, done, total int64) // nil: nobody asks
	done, total atomic.Int64
	reporting   sync.Mutex
}

// openAppTopics connects, and checks that the topics are there. Who asks closes it.
func openAppTopics(ctx context.Context, plan *rules.Plan, cfg Config, from time.Time) (a *appTopics, err error) {
	a = &appTopics{
		plan: plan, cfg: cfg.withDefaults(func() *Stats { return NewStats(plan) }), from: from, low: math.MinInt64, rowsFrom: math.MinInt64, remembered: math.MinInt64,
		late: places{}, acceptedFrom: map[acceptedEvent]int64{}, refused: places{}, overflown: map[string]bool{},
	}
	for range plan.Keys {
		a.onTheWay = append(a.onTheWay, places{})
	}
	if !from.IsZero() {
		a.low = from.UnixMicro()
	}
	if a.m, err = newMaintenance(plan, a.cfg); err != nil {
		return nil, err
	}
	if err := a.prepare(ctx); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *appTopics) close() { a.m.close() }

func (a *appTopics) prepare(ctx context.Context) error {
	checked, err := inspect(a.plan, a.m.admin)
	if err != nil {
		return err
	}
	a.counts = checked.counts
	for _, t := range ownTopics(a.plan) {
		if _, exists := a.counts[t.Name]; !exists {
			return fmt.Errorf("topic %s does not exist: app %s has never run here", t.Name, a.plan.App)
		}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	fail := func(error) {} // a table that cannot be followed any more is as it was when the others were read
	a.dims, err = loadDimensions(following, a.plan, func() (sarama.Client, error) {
		return sarama.NewClient(a.plan.Settings.Brokers, a.m.config)
	}, fail, a.cfg.Logger)
	return err
}

// topicEvent is an event of one key. It is valid during the call.
type topicEvent struct {
	key   int // index of plan.Keys
	bytes []byte
	flags eventFlags
	row   codecs.Row // nil: only that something of the key is in flight is known
	raw   *Raw
}

// topicsSnapshot is what is read, as it stood at one moment.
type topicsSnapshot struct {
	fates  []topicSpan // late and rejected records, and what is on its way from an intake to a key
	events []topicSpan // sources
	rows   []topicSpan // outputs
}

// topicSpan is a part of a partition that is read.
type topicSpan struct {
	topic     string
	partition int32
	from, end int64
	complete  bool // what is open in it is waited for
	reader    func() func(r *committedRecord) error
}

// snapshot takes the positions of the groups, then the ends of the outputs, then those of the sources.
func (a *appTopics) snapshot(ctx context.Context) (*topicsSnapshot, error) {
	committed := map[string]map[string][]int64{} // by group and topic
	for _, stage := range Stages(a.plan) {
		committed[stage.Group] = map[string][]int64{}
		for _, topic := range stage.Topics {
			offsets, err := a.m.offsets(ctx, stage.Group, topic, a.counts[topic])
			if err != nil {
				return nil, err
			}
			committed[stage.Group][topic] = offsets
		}
	}
	s := &topicsSnapshot{}
	if err := a.outputSpans(ctx, s); err != nil {
		return nil, err
	}
	for rank, stream := range a.plan.Streams {
		positions := make([][]int64, len(a.plan.Keys))
		for i, k := range a.plan.Keys {
			if slices.Contains(k.Streams, rank) {
				group := IntakeGroup(a.plan.App, stream)
				if k.Direct {
					group = KeyGroup(a.plan.App, k)
				}
				positions[i] = committed[group][stream.Topic]
			}
		}
		if err := a.sourceSpans(ctx, s, rank, positions); err != nil {
			return nil, err
		}
	}
	for i, k := range a.plan.Keys {
		if k.Direct {
			continue
		}
		topic := RepartitionTopic(a.plan.App, k)
		for n, position := range committed[KeyGroup(a.plan.App, k)][topic] {
			oldest, newest, err := a.m.bounds(ctx, topic, int32(n))
			if err != nil {
				return nil, err
			}
			s.fates = append(s.fates, topicSpan{topic: topic, partition: int32(n), from: max(oldest, position), end: newest,
				reader: func() func(*committedRecord) error { return a.onItsWay(i) }})
		}
	}
	return s, nil
}

// reachOf returns how long before a conversion an event of the stream can matter to it, -1 where nothing uses the stream.
func reachOf(plan *rules.Plan, rank int) int64 {
	reach := int64(-1)
	for _, k := range plan.Keys {
		if slices.Contains(k.Streams, rank) {
			reach = max(reach, k.Retention[rank])
		}
	}
	return reach
}

func (a *appTopics) sourceSpans(ctx context.Context, s *topicsSnapshot, rank int, positions [][]int64) error {
	stream, reach := a.plan.Streams[rank], reachOf(a.plan, rank)
	if reach < 0 || a.streams != nil && !a.streams(rank) {
		return nil
	}
	for n := range a.counts[stream.Topic] {
		from, end, lost, err := a.bounds(ctx, stream.Topic, n, reach+stream.MaxSkew)
		if err != nil {
			return err
		}
		a.bound(lost, stream.Topic, n, reach+stream.MaxSkew)
		s.events = append(s.events, topicSpan{topic: stream.Topic, partition: n, from: from, end: end,
			reader: func() func(*committedRecord) error { return a.source(rank, n, positions) }})
	}
	return nil
}

// outputSpans are those of everything that the app writes for others. Nothing of a conversion is written before it.
func (a *appTopics) outputSpans(ctx context.Context, s *topicsSnapshot) error {
	skew, reach := int64(0), int64(0)
	for rank, stream := range a.plan.Streams {
		skew = max(skew, stream.MaxSkew)
		reach = max(reach, reachOf(a.plan, rank))
	}
	for i, r := range a.plan.Rules {
		var topics []string
		if r.Upserts {
			topics = append(topics, r.Into)
		}
		if r.Deltas {
			topics = append(topics, DeltasTopic(r))
		}
		for _, topic := range topics {
			for n := range a.counts[topic] {
				from, end, lost, err := a.bounds(ctx, topic, n, skew)
				if err != nil {
					return err
				}
				if lost != nil {
					a.rowsFrom = max(a.rowsFrom, lost.until+skew)
				}
				s.rows = append(s.rows, topicSpan{topic: topic, partition: n, from: from, end: end, complete: true,
					reader: func() func(*committedRecord) error { return a.written(i, topic, n) }})
			}
		}
	}
	for topic, take := range map[string]func(*committedRecord) error{LateTopic(a.plan.App): a.lateRecord, RejectedTopic(a.plan.App): a.rejectedRecord} {
		for n := range a.counts[topic] {
			from, end, lost, err := a.bounds(ctx, topic, n, skew+reach)
			if err != nil {
				return err
			}
			switch {
			case lost == nil:
			case lost.all:
				a.remembered = math.MaxInt64
			default:
				a.remembered = max(a.remembered, lost.until)
			}
			s.fates = append(s.fates, topicSpan{topic: topic, partition: n, from: from, end: end, complete: true,
				reader: func() func(*committedRecord) error { return take }})
		}
	}
	return nil
}

// loss is a begin of a partition that is not there any more.
type loss struct {
	until int64 // what came later is there, unless somebody has deleted it
	all   bool  // the partition has no record any more
	what  string
}

// bound raises the time of the first conversion that can be judged where records are lost that may matter to earlier ones, which are
// those of before ahead of a conversion.
func (a *appTopics) bound(lost *loss, topic string, n int32, before int64) {
	if lost == nil || lost.until+before <= a.low {
		return
	}
	a.low = lost.until + before
	a.gap = fmt.Sprintf("conversions before %s cannot be verified: topic %s, partition %d, %s, and what comes %s before a conversion matters to it",
		stamp(a.low), topic, n, lost.what, rules.FormatDuration(before))
}

// bounds returns what is to be read of a partition where records of before ahead of the first conversion matter, and what of that is lost;
// nil: nothing.
func (a *appTopics) bounds(ctx context.Context, topic string, n int32, before int64) (from, end int64, lost *loss, err error) {
	oldest, end, err := a.m.bounds(ctx, topic, n)
	if err != nil {
		return 0, 0, nil, err
	}
	from = oldest
	if !a.from.IsZero() {
		if from, err = a.m.firstSince(ctx, topic, n, time.UnixMicro(a.from.UnixMicro()-before), end); err != nil {
			return 0, 0, nil, err
		}
		from = max(from, oldest)
	}
	if oldest > 0 && from == oldest {
		lost, err = a.lost(ctx, topic, n, oldest, end)
	}
	return from, end, lost, err
}

// lost tells what is missing of a partition that has lost its beginning.
func (a *appTopics) lost(ctx context.Context, topic string, n int32, oldest, newest int64) (*loss, error) {
	first, found, err := a.m.firstTimestamp(ctx, topic, n, oldest, newest)
	switch {
	case err != nil:
		return nil, err
	case found:
		return &loss{first.UnixMicro(), false, "begins with a record of " + stamp(first.UnixMicro())}, nil
	}
	// All that was there is gone. What came within the retention would not be.
	now := time.Now()
	settings, err := topicSettings(a.m.admin, topic)
	if err != nil {
		return nil, err
	}
	if ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64); err == nil && ms > 0 && settings["retention.bytes"] == "-1" {
		now = now.Add(-time.Duration(ms) * time.Millisecond)
	}
	return &loss{now.UnixMicro(), true, "has lost all its records"}, nil
}
