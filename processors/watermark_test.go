package processors

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

func TestWatermarkIsTheMinimumOverActiveSources(t *testing.T) {
	ids := []sourceID{{0, 0}, {0, 1}, {1, 0}}
	disorder := func(stream int) int64 { return int64(10 * stream) }
	mark := func(stream int, partition int32, time int64, idle bool) codecs.Source {
		return codecs.Source{Stream: stream, Partition: partition, Time: time, Idle: idle}
	}
	const patience = time.Second
	for name, test := range map[string]struct {
		marks []codecs.Source
		want  int64
	}{
		"nothing known":                   {nil, noTime},
		"one source unknown":              {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 100, false)}, noTime},
		"minimum, less disorder":          {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 95, false), mark(1, 0, 100, false)}, 90},
		"an idle source holds nobody":     {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 40, true), mark(1, 0, 120, false)}, 100},
		"an empty idle source neither":    {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, noTime, true), mark(1, 0, 120, false)}, 100},
		"all idle: the maximum":           {[]codecs.Source{mark(0, 0, 100, true), mark(0, 1, 40, true), mark(1, 0, 105, true)}, 100},
		"all idle and empty":              {[]codecs.Source{mark(0, 0, noTime, true), mark(0, 1, noTime, true), mark(1, 0, noTime, true)}, noTime},
		"a source's time never falls":     {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 100, false), mark(1, 0, 200, false), mark(0, 0, 50, false)}, 100},
		"awake again, it holds the rest":  {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 40, true), mark(1, 0, 200, false), mark(0, 1, 60, false)}, 60},
		"sources of other rules: ignored": {[]codecs.Source{mark(0, 0, 100, false), mark(0, 1, 100, false), mark(1, 0, 200, false), mark(7, 0, 1, false), mark(0, 9, 1, false)}, 100},
	} {
		tracker := newTracker(ids, patience, disorder)
		for _, m := range test.marks {
			tracker.set(m, 0)
		}
		if got := tracker.watermark(); got != test.want {
			t.Errorf("%s: watermark %d, want %d", name, got, test.want)
		}
		// What is kept with the state gives the same watermark to whoever takes it up, once it is said again who is idle.
		known, _ := tracker.snapshot()
		again := newTracker(ids, patience, disorder)
		for _, m := range known {
			again.recall(m)
		}
		if got := again.watermark(); got > test.want {
			t.Errorf("%s: watermark %d after a restart, want at most %d", name, got, test.want)
		}
		for _, m := range known {
			again.set(m, 0)
		}
		if got := again.watermark(); got != test.want {
			t.Errorf("%s: watermark %d after a restart, want %d", name, got, test.want)
		}
	}
}

// A source is idle no longer than its reader says so: when the reader has died, nobody knows.
func TestIdlenessMustBeSaidAgain(t *testing.T) {
	tracker := newTracker([]sourceID{{0, 0}, {1, 0}}, time.Second, func(int) int64 { return 0 })
	say := func(stream int, time int64, idle bool, at time.Duration) {
		tracker.set(codecs.Source{Stream: stream, Time: time, Idle: idle}, at.Microseconds())
	}
	want := func(when string, want int64) {
		t.Helper()
		if got := tracker.watermark(); got != want {
			t.Errorf("%s: watermark %d, want %d", when, got, want)
		}
	}
	say(0, 100, false, 0)
	say(1, 40, true, 0)
	want("idle", 100)
	say(0, 200, false, time.Second)
	want("said a second ago", 200)
	tracker.snapshot()
	say(0, 300, false, time.Second+time.Microsecond)
	want("said longer ago", 40)
	tracker.snapshot()
	say(1, 40, true, 2*time.Second)
	want("said again", 300)
	if _, changed := tracker.snapshot(); !changed {
		t.Error("that it is idle again is no change")
	}
	say(1, 40, true, 3*time.Second)
	if _, changed := tracker.snapshot(); changed {
		t.Error("that it is still idle is a change")
	}
}

func TestTrackerTellsChanges(t *testing.T) {
	tracker := newTracker([]sourceID{{0, 0}}, time.Second, func(int) int64 { return 0 })
	if _, changed := tracker.snapshot(); changed {
		t.Error("a new tracker says that it has changed")
	}
	tracker.set(codecs.Source{Time: 5}, 0)
	if known, changed := tracker.snapshot(); !changed || len(known) != 1 {
		t.Errorf("after a change: %v, %v", known, changed)
	}
	tracker.set(codecs.Source{Time: 4}, 0)
	if _, changed := tracker.snapshot(); changed {
		t.Error("an older time counts as a change")
	}
}

// sourceAt is a source whose claim is at a position, with a clock and an end that the test sets.
type sourceAt struct {
	*source
	now time.Time
	end int64
	err error
	ask int
}

const idleAfter = 10 * time.Second

func newSourceAt() *sourceAt {
	s := &sourceAt{now: time.Unix(1000, 0)}
	s.source = newSource(sourceID{0, 0}, newClaim("t", 0), s.now)
	return s
}

// pass lets time go by in steps and settles after each; a look-up has its answer at the next settle.
func (s *sourceAt) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		s.now = s.now.Add(time.Second)
		asking := s.asking
		s.settle(s.now, idleAfter, func(string, int32) (int64, error) {
			s.ask++
			return s.end, s.err
		})
		if s.asking && !asking {
			s.answer <- <-s.answer // wait for it
		}
	}
}

func TestSourceIsIdleOnlyAtItsEnd(t *testing.T) {
	s := newSourceAt()
	s.claim.next.Store(10)
	s.end = 10
	s.pass(5 * time.Second)
	if s.idle || s.ask > 0 {
		t.Fatal("idle before the time-out")
	}
	s.pass(10 * time.Second)
	if !s.idle {
		t.Fatal("read to its end and silent, but not idle")
	}
	asked := s.ask
	s.pass(100 * time.Second)
	if !s.idle || s.ask != asked {
		t.Errorf("an idle source asked %d times more", s.ask-asked)
	}
	s.claim.next.Store(11)
	s.pass(time.Second)
	if s.idle {
		t.Error("idle although a record came")
	}
}

func TestSlowSourceIsNotIdle(t *testing.T) {
	s := newSourceAt()
	s.claim.next.Store(10)
	s.end = 500
	for range 20 {
		s.end++ // the producers go on, this instance does not get on
		s.pass(5 * time.Second)
	}
	if s.idle {
		t.Error("idle with records left to read")
	}
}

func TestUnreachableSourceIsNotIdle(t *testing.T) {
	s := newSourceAt()
	s.claim.next.Store(10)
	s.end, s.err = 10, errors.New("no leader")
	s.pass(100 * time.Second)
	if s.idle {
		t.Error("idle although its end cannot be looked up")
	}
	s.err = nil
	s.pass(25 * time.Second)
	if !s.idle {
		t.Error("not idle after its end could be looked up again")
	}
}

// The last offsets of a transactional topic are markers, which nobody is given.
func TestSourceWithMarkersAtItsEndBecomesIdle(t *testing.T) {
	s := newSourceAt()
	s.claim.next.Store(10)
	s.end = 12
	s.pass(15 * time.Second)
	if s.idle {
		t.Fatal("idle at once, although two offsets are left")
	}
	s.pass(15 * time.Second)
	if !s.idle {
		t.Error("not idle although its end stays where it is")
	}
}

func TestSourceTimesSurviveWithTheirOffset(t *testing.T) {
	s := newSourceAt()
	s.observe(500, 400, 200)
	s.observe(5000, 400, 200) // beyond what the record's timestamp allows
	s.observe(300, 0, 200)
	if s.time != 500 {
		t.Fatalf("time %d, want 500", s.time)
	}
	again := newSourceAt()
	again.recall(s.metadata(), 9000)
	if again.time != s.time {
		t.Errorf("time %d after a restart, want %d", again.time, s.time)
	}
	for _, foreign := range []string{"", "lookback:", "lookback:x", "lookback:x:y", "something else"} {
		fresh := newSourceAt()
		fresh.recall(foreign, 9000)
		if fresh.time != noTime || fresh.held != noTime {
			t.Errorf("metadata %q gave time %d, held %d", foreign, fresh.time, fresh.held)
		}
	}
}

// What the others can have done while a source was idle is known after a restart, too.
func TestIdlenessSurvivesWithItsOffset(t *testing.T) {
	for _, c := range []struct {
		time, held int64
		idle       bool
		want       int64
	}{
		{time: 500, held: noTime, want: noTime},
		{time: 500, held: 400, want: noTime}, // its own time has come further since
		{time: 500, held: 700, want: 700},
		{time: 500, held: 700, idle: true, want: 9000},
		{time: noTime, held: 700, want: 700},
		{time: noTime, held: noTime, idle: true, want: 9000},
	} {
		s, again := newSourceAt(), newSourceAt()
		s.time, s.held, s.idle = c.time, c.held, c.idle
		again.recall(s.metadata(), 9000)
		if again.time != c.time || again.held != c.want {
			t.Errorf("%+v: %q gave time %d, held %d", c, s.metadata(), again.time, again.held)
		}
	}
}

// An event that is late brings its bytes, however its source slept and woke: whatever the watermark can be is no further
// than the intake takes it to be.
func TestWhatMayBeLateBringsItsBytes(t *testing.T) {
	stream := &rules.Stream{Disorder: 10, Lateness: 5, MaxSkew: 1000}
	w := &intake{stream: stream, skew: stream.MaxSkew}
	random := rand.New(rand.NewPCG(1, 2))
	late := 0
	for range 2000 {
		src, now := newSourceAt(), time.UnixMicro(0)
		tr := newTracker([]sourceID{{0, 0}, {0, 1}}, 200*time.Microsecond, func(int) int64 { return stream.Disorder })
		watermark := int64(noTime)
		for range 60 {
			now = now.Add(time.Duration(random.Int64N(100)) * time.Microsecond)
			switch random.IntN(4) {
			case 0: // the source falls asleep, or is seen to be awake
				was := src.idle
				if src.idle = random.IntN(2) == 0; src.idle || was {
					src.held = w.latest(now)
				}
				tr.set(src.state(), now.UnixMicro())
			case 1: // the other source
				tr.set(codecs.Source{Partition: 1, Time: now.UnixMicro() + random.Int64N(stream.MaxSkew)}, now.UnixMicro())
			case 2: // a restart
				again := newSourceAt()
				again.recall(src.metadata(), w.latest(now))
				src = again
				tr.set(src.state(), now.UnixMicro())
			default:
				timestamp := now.UnixMicro() - random.Int64N(400)
				at := timestamp - random.Int64N(100)
				watermark = max(watermark, tr.watermark())
				if watermark != noTime && at < watermark-stream.Lateness {
					late++
					if !w.mayBeLate(src.source, at, timestamp) {
						t.Fatalf("an event of %d is late by a watermark of %d and comes without its bytes: time %d, held %d", at, watermark, src.time, src.held)
					}
				}
				src.observe(at, timestamp, stream.MaxSkew)
			}
		}
	}
	if late < 1000 {
		t.Errorf("%d events were late: too few to show anything", late)
	}
}
