package processors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// standbys keep copies of tables that are in service with other members: each follows its changelog, so that a takeover has
// to read no more than its tail. They outlive sessions. A partition is either followed or in a session, never both: the
// assignment says which, and followers that have to go are gone before the session begins.
type standbys struct {
	p   *processor
	ctx context.Context // of the processor

	mu        sync.Mutex
	owned     []int32
	following map[int32]*standby
}

// standby keeps the copy of one partition's table.
type standby struct {
	partition int32
	cancel    context.CancelFunc
	done      chan struct{} // closed when it has let go of the table
	warm      atomic.Bool   // close to the end of the changelog
}

func newStandbys(ctx context.Context, p *processor) *standbys {
	return &standbys{p: p, ctx: ctx, following: map[int32]*standby{}}
}

// assign makes the copies those of these partitions, and returns when nobody follows others any more. Tables of partitions that
// are neither owned nor followed are closed. No session may be running.
func (s *standbys) assign(owned, followed []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned = owned
	var leaving []*standby
	for n, f := range s.following {
		if slices.Contains(owned, n) || !slices.Contains(followed, n) {
			f.cancel()
			leaving = append(leaving, f)
			delete(s.following, n)
		}
	}
	for _, f := range leaving {
		<-f.done
		s.p.report().noStandby(f.partition)
	}
	if err := s.p.stores.retain(slices.Concat(owned, followed)); err != nil {
		s.p.log.Error("a table that has moved away could not be closed", "group", s.p.name, "error", err)
	}
	for _, n := range followed {
		if s.following[n] != nil || n < 0 || n >= s.p.partitions || slices.Contains(owned, n) {
			continue
		}
		ctx, cancel := context.WithCancel(s.ctx)
		f := &standby{partition: n, cancel: cancel, done: make(chan struct{})}
		s.following[n] = f
		go func() {
			defer close(f.done)
			defer cancel()
			s.keep(ctx, f)
		}()
	}
}

// stop ends all of them, and returns when none uses its table any more.
func (s *standbys) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.following {
		f.cancel()
	}
	for _, f := range s.following {
		<-f.done
	}
	clear(s.following)
}

// held returns the partitions of which there are copies here that are close to the present, and those whose copies are
// further behind: what is followed and has not caught up, and what lies on the disk since a time before.
func (s *standbys) held() (warm, stale []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.p.partitions {
		switch f := s.following[n]; {
		case f != nil && f.warm.Load():
			warm = append(warm, n)
		case f != nil:
			stale = append(stale, n)
		case !slices.Contains(s.owned, n) && s.p.stores.onDisk(n):
			stale = append(stale, n)
		}
	}
	return warm, stale
}

// keep follows a partition's changelog until ctx ends, or until an error that trying again cannot mend: then the takeover meets
// it again, and says so.
func (s *standbys) keep(ctx context.Context, f *standby) {
	log := s.p.log.With("group", s.p.name, "partition", f.partition)
	st := s.p.stores.follow(f.partition)
	log.Debug("standby begins")
	var delay backoff
	for {
		begun := time.Now()
		err := s.follow(ctx, f, st)
		f.warm.Store(false)
		if ctx.Err() != nil {
			return
		}
		if isFatal(err) || unreadable(err) {
			log.Error("standby given up", "error", err)
			return
		}
		if errors.Is(err, errRebuild) {
			log.Warn("local state is discarded and restored from the changelog", "cause", err)
			if err = st.rebuild(); err == nil {
				continue
			}
		}
		if time.Since(begun) > steady {
			delay.reset()
		}
		wait := delay.next()
		log.Warn("standby interrupted, trying again", "error", err, "wait", wait)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// warmLag is how many changelog offsets a copy may lack and still be preferred to none: loading them takes no time.
const warmLag = 10_000

// follow loads a partition's changelog into its table for as long as ctx lasts. From where the changelog ended at the beginning the
// table is kept as it would be in service, without what is due; else it would grow for as long as it follows.
func (s *standbys) follow(ctx context.Context, f *standby, st *store) error {
	if err := st.open(); err != nil {
		return err
	}
	oldest, newest, err := s.bounds(ctx, st.partition)
	if err != nil {
		return err
	}
	position := st.table.Position()
	if position > newest || position > 0 && position < oldest {
		return fmt.Errorf("%w: it is at offset %d, the changelog has %d to %d", errRebuild, position, oldest, newest)
	}
	s.note(f, position, newest)
	return s.p.load(ctx, st, max(position, oldest), math.MaxInt64, int(s.p.partitions), func(b loaded) (bool, error) {
		if b.next >= newest {
			if err := st.failed(st.table.Settle(ctx, b.next)); err != nil {
				return false, err
			}
		}
		s.note(f, b.next, b.newest)
		return true, nil
	})
}

// bounds returns where a partition's changelog begins and ends. A rebalance waits for followers that have to go, and a request
// of sarama's cannot be taken back, so it is left to itself when ctx ends.
func (s *standbys) bounds(ctx context.Context, partition int32) (oldest, newest int64, _ error) {
	type answer struct {
		oldest, newest int64
		err            error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		if a.oldest, a.err = s.p.reader.GetOffset(s.p.changelog, partition, sarama.OffsetOldest); a.err == nil {
			a.newest, a.err = s.p.reader.GetOffset(s.p.changelog, partition, sarama.OffsetNewest)
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return 0, 0, fmt.Errorf("read bounds of changelog: %w", a.err)
		}
		return a.oldest, a.newest, nil
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
}

// note takes note of how far a copy is.
func (s *standbys) note(f *standby, position, end int64) {
	f.warm.Store(end-position <= warmLag)
	s.p.report().standby(f.partition, position, end)
}

// follow returns the store of a partition that is not in a session.
func (s *stores) follow(partition int32) *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byPartition[partition]
	if st == nil {
		st = &store{partition: partition, of: s}
		s.byPartition[partition] = st
	}
	return st
}

// retain closes the tables of all other partitions. What is on disk stays there. No session may be running.
func (s *stores) retain(partitions []int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for n, st := range s.byPartition {
		if !slices.Contains(partitions, n) {
			errs = append(errs, st.close())
			delete(s.byPartition, n)
		}
	}
	return errors.Join(errs...)
}

// onDisk tells whether there is a folder with a partition's table.
func (s *stores) onDisk(partition int32) bool {
	dir := s.options(partition).Dir
	if dir == "" {
		return false
	}
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}
