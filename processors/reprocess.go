package processors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// ReprocessOptions say what is computed again.
type ReprocessOptions struct {
	From, To time.Time // of the conversions' event time, To excluded
	// Suffix is appended to the names of the output topics, which must be empty. Without one the rows replace those in the
	// same topics, and no rule may write deltas: what was written once cannot be taken back by adding to it.
	Suffix       string
	AllowMissing bool // go on where the source topics do not reach back far enough
	Keep         bool // leave the groups and topics of the re-processing

	Progress func(done, total int64) // told now and then how many source records are done; nil: nobody asks
}

// reprocessing is one run of Reprocess.
type reprocessing struct {
	plan *rules.Plan // with the names of the re-processing
	live string      // name of the app
	m    *maintenance
	cfg  Config
	o    ReprocessOptions
	into []Topic // its outputs
}

// Reprocess computes the rows of the conversions of an interval again, from the source topics, and returns when that is done,
// or when ctx ends, which is no error: finished tells. It takes the plan over.
//
// It runs as an app of its own beside the one of the plan, with groups, topics and state whose names begin with the app's and
// follow from the plan, the interval and the suffix: so it goes on where it was when it is called again with the same, and
// several instances share the work. Histories are complete because it reads from the interval's begin less what the rules look
// back. It reads to what is the sources' end when it is called, since what came after the interval may correct it.
//
// Where rows replace others, versions have a higher epoch: rows of the re-processing those that the app has written, and
// rows that the app writes later those of the re-processing. For that the app must not be running when a re-processing
// begins (a BusyError), but may as soon as it has begun.
func Reprocess(ctx context.Context, plan *rules.Plan, cfg Config, o ReprocessOptions) (finished bool, err error) {
	cfg = cfg.withDefaults(func() *Stats { return NewStats(plan) })
	p := &reprocessing{plan: plan, live: plan.App, cfg: cfg, o: o}
	if err := p.rename(); err != nil {
		return false, err
	}
	if p.m, err = newMaintenance(plan, cfg); err != nil {
		return false, err
	}
	defer p.m.close()
	if err := p.begin(ctx); err != nil {
		return false, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	caughtUp := make(chan error, 1)
	go func() {
		defer stop()
		caughtUp <- p.await(running)
	}()
	if err := Run(running, plan, p.cfg); err != nil {
		return false, err
	}
	stop()
	if err := <-caughtUp; err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	if o.Keep {
		return true, nil
	}
	return true, p.clean(ctx)
}

// rename gives the plan the names of the re-processing.
func (p *reprocessing) rename() error {
	plan, from, to := p.plan, p.o.From.UnixMicro(), p.o.To.UnixMicro()
	for _, r := range plan.Rules {
		if p.o.Suffix == "" && r.Deltas {
			return fmt.Errorf("rule %q writes deltas, and deltas that are written again count twice: write to other topics (a suffix), or upserts alone", r.Name)
		}
		if r.Into += p.o.Suffix; r.Upserts {
			p.into = append(p.into, Topic{Name: r.Into, Role: RoleUpserts})
		}
		if r.Deltas {
			p.into = append(p.into, Topic{Name: DeltasTopic(r), Role: RoleEvents})
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s\x00%v", plan.Hash, from, to, p.o.Suffix, p.into))
	plan.App = p.live + ".replay-" + hex.EncodeToString(sum[:4])
	plan.Settings.InstanceID = "" // a static member would stay in groups that are to be deleted
	plan.Settings.Standby = 0
	plan.Settings.SkipOlderThan = 0
	p.cfg.interval = &interval{from: from, to: to, replaces: p.o.Suffix == ""}
	return nil
}

// begin prepares the re-processing, unless an earlier call has. Where it fails in the middle the next call does it again. The
// offsets come last: before they are there nothing is read.
func (p *reprocessing) begin(ctx context.Context) error {
	plan := p.plan
	checked, err := inspect(plan, p.m.admin)
	if err != nil {
		return err
	}
	counts := checked.counts
	begun, err := p.hasBegun(ctx, counts)
	if err != nil || begun {
		return err
	}
	starts, err := p.starts(ctx, counts)
	if err != nil {
		return err
	}
	if p.o.Suffix != "" {
		err = p.wantEmpty(ctx, counts)
	} else {
		err = p.m.wantIdle(ctx, p.liveGroups())
	}
	if err != nil {
		return err
	}
	if err := p.m.create(ctx, counts, ownTopics(plan)...); err != nil {
		return err
	}
	if p.o.Suffix == "" {
		if err := p.raiseEpochs(ctx, counts); err != nil {
			return err
		}
	}
	for _, stage := range sourceStages(plan) {
		for _, topic := range stage.Topics {
			if err := p.m.setOffsets(ctx, stage.Group, topic, starts[topic]); err != nil {
				return err
			}
		}
	}
	p.cfg.Logger.Info("re-processing begins", "app", plan.App, "from", p.o.From, "to", p.o.To)
	return nil
}

// hasBegun tells whether an earlier call has begun: each source has an offset.
func (p *reprocessing) hasBegun(ctx context.Context, counts map[string]int32) (bool, error) {
	for _, stage := range sourceStages(p.plan) {
		for _, topic := range stage.Topics {
			offsets, err := p.m.offsets(ctx, stage.Group, topic, counts[topic])
			if err != nil || slices.Contains(offsets, -1) {
				return false, err
			}
		}
	}
	return true, nil
}

// ownTopics returns the topics of a plan that Lookback creates.
func ownTopics(plan *rules.Plan) []Topic {
	return slices.DeleteFunc(Topics(plan), func(t Topic) bool { return t.Role.foreign() })
}

// liveGroups returns the consumer groups of the app.
func (p *reprocessing) liveGroups() []string {
	live := *p.plan
	live.App = p.live
	return groupNames(&live)
}

// wantEmpty refuses outputs that hold something: what versions it has is not known.
func (p *reprocessing) wantEmpty(ctx context.Context, counts map[string]int32) error {
	for _, t := range p.into {
		n, err := p.m.records(ctx, t.Name, counts[t.Name])
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("topic %s is not empty: choose another suffix, or delete it", t.Name)
		}
	}
	return nil
}

// raiseEpochs gives the re-processing the epoch above the app's, and the app the one above that, durably, before any row is
// written: whatever happens later, a row of the app that is still to come is newer than one of the re-processing.
func (p *reprocessing) raiseEpochs(ctx context.Context, counts map[string]int32) error {
	live := *p.plan
	live.App = p.live
	liveCounts, err := countPartitions(p.m.admin, Topics(&live))
	if err != nil {
		return err
	}
	for _, k := range p.plan.Keys {
		topic := ChangelogTopic(p.live, k)
		n, exists := liveCounts[topic]
		if !exists {
			return fmt.Errorf("the app has never run: topic %s does not exist; start it, it reads everything", topic)
		}
		metas, epoch, err := p.m.metas(ctx, topic, n)
		if err != nil {
			return err
		}
		if err := checkEpoch(epoch + 2); err != nil {
			return err
		}
		layout := shapeOf(p.plan, k).Layout
		raised := make([]codecs.Meta, n)
		for i, m := range metas {
			raised[i] = emptyMeta(layout, epoch+2)
			if m != nil {
				m.Accepted = raised[i].Accepted
				raised[i] = *m
			}
		}
		if _, err := p.m.writeMetas(ctx, topic, raised); err != nil {
			return err
		}
		own := make([]codecs.Meta, counts[ChangelogTopic(p.plan.App, k)])
		for i := range own {
			own[i] = emptyMeta(layout, epoch+1)
		}
		if _, err := p.m.writeMetas(ctx, ChangelogTopic(p.plan.App, k), own); err != nil {
			return err
		}
	}
	return nil
}

// starts returns from where each source partition is read: the first record that may hold an event which a conversion of the
// interval can be credited to. Event times are not further ahead of records' timestamps than max_skew.
func (p *reprocessing) starts(ctx context.Context, counts map[string]int32) (map[string]map[int32]int64, error) {
	all := map[string]map[int32]int64{}
	var missing []string
	for rank, stream := range p.plan.Streams {
		use := reachOf(p.plan, rank)
		if use < 0 {
			continue
		}
		need := p.o.From.UnixMicro() - use
		at := time.UnixMicro(need - stream.MaxSkew)
		all[stream.Topic] = map[int32]int64{}
		for n := range counts[stream.Topic] {
			start, gap, err := p.start(ctx, stream.Topic, n, at)
			if err != nil {
				return nil, err
			}
			all[stream.Topic][n] = start
			if gap != "" {
				missing = append(missing, fmt.Sprintf("topic %s, partition %d, %s; stream %s is needed from %s on", stream.Topic, n, gap, stream.Name, stamp(need)))
			}
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	if p.o.AllowMissing {
		p.cfg.Logger.Warn("records that the interval may need are not there any more", "missing", missing)
		return all, nil
	}
	return nil, fmt.Errorf("records that the interval may need are not there any more:\n  %s\nchoose a later begin, or allow what is missing", strings.Join(missing, "\n  "))
}

// start returns the offset of the first record of a partition with a timestamp of at or later. Where earlier records were
// deleted that may have been as late, gap says so.
func (p *reprocessing) start(ctx context.Context, topic string, n int32, at time.Time) (offset int64, gap string, err error) {
	oldest, newest, err := p.m.bounds(ctx, topic, n)
	if err != nil {
		return 0, "", err
	}
	if offset, err = p.m.firstSince(ctx, topic, n, at, newest); err != nil {
		return 0, "", err
	}
	if oldest == 0 || offset > oldest {
		return offset, "", nil
	}
	gap = "has no records any more"
	first, found, err := p.m.firstTimestamp(ctx, topic, n, oldest, newest)
	if err != nil {
		return 0, "", err
	}
	if found {
		gap = "begins with a record of " + first.UTC().Format(time.RFC3339)
	}
	return offset, gap, nil
}

// clean removes what the re-processing has had for itself. Where another instance of it is still at work, that is left to it. One
// that was killed is a member until its session times out, which is waited for: nobody else would clean up.
func (p *reprocessing) clean(ctx context.Context) error {
	plan := p.plan
	if err := p.awaitIdle(ctx, 2*p.m.config.Consumer.Group.Session.Timeout); err != nil {
		if busy := (*BusyError)(nil); errors.As(err, &busy) {
			p.cfg.Logger.Info("another instance is still at work and is going to clean up", "app", plan.App)
			return nil
		}
		return err
	}
	var errs []error
	errs = append(errs, p.m.deleteGroups(ctx, groupNames(plan)))
	for _, t := range ownTopics(plan) {
		if !slices.Contains(p.into, t) {
			errs = append(errs, p.m.deleteTopic(ctx, t.Name))
		}
	}
	errs = append(errs, os.RemoveAll(filepath.Join(plan.Settings.StateDir, plan.App)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the re-processing is complete, but what it had for itself could not be removed: %w", err)
	}
	return nil
}

// awaitIdle waits until the groups of the re-processing have no members. It returns a BusyError where that takes longer than
// atMost.
func (p *reprocessing) awaitIdle(ctx context.Context, atMost time.Duration) error {
	begun := time.Now()
	for {
		err := p.m.wantIdle(ctx, groupNames(p.plan))
		busy := (*BusyError)(nil)
		if !errors.As(err, &busy) || time.Since(begun) > atMost {
			return err
		}
		if !sleep(ctx, lookInterval) {
			return ctx.Err()
		}
	}
}
