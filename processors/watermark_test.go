package processors

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func TestWatermarkIsTheMinimumOverActiveSources(t *testing.T) {
	ids := []sourceID{{0, 0}, {0, 1}, {1, 0}}
	disorder := func(stream int) int64 { return int64(10 * stream) }
	mark := func(stream int, partition int32, time int64, idle bool) codecs.Source {
		return codecs.Source{Stream: stream, Partition: partition, Time: time, Idle: idle}
	}
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
		tracker := newTracker(ids, disorder)
		for _, m := range test.marks {
			tracker.set(m)
		}
		if got := tracker.watermark(); got != test.want {
			t.Errorf("%s: watermark %d, want %d", name, got, test.want)
		}
		// What is kept with the state gives the same watermark to whoever takes it up.
		known, _ := tracker.snapshot()
		again := newTracker(ids, disorder)
		for _, m := range known {
			again.set(m)
		}
		if got := again.watermark(); got != test.want {
			t.Errorf("%s: watermark %d after a restart, want %d", name, got, test.want)
		}
	}
}

func TestTrackerTellsChanges(t *testing.T) {
	tracker := newTracker([]sourceID{{0, 0}}, func(int) int64 { return 0 })
	if _, changed := tracker.snapshot(); changed {
		t.Error("a new tracker says that it has changed")
	}
	tracker.set(codecs.Source{Time: 5})
	if known, changed := tracker.snapshot(); !changed || len(known) != 1 {
		t.Errorf("after a change: %v, %v", known, changed)
	}
	tracker.set(codecs.Source{Time: 4})
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
	again.recall(s.metadata())
	if again.time != s.time {
		t.Errorf("time %d after a restart, want %d", again.time, s.time)
	}
	for _, foreign := range []string{"", "lookback:", "lookback:x", "something else"} {
		fresh := newSourceAt()
		fresh.recall(foreign)
		if fresh.time != noTime {
			t.Errorf("metadata %q gave time %d", foreign, fresh.time)
		}
	}
}
