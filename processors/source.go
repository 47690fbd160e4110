package processors

import (
	"strconv"
	"strings"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// source is one partition of a stream's topic, where this instance reads it. It knows how far event time has come there
// and whether the partition is idle: read to its end, with nothing new for the idle timeout. A partition that is read
// slowly, or cannot be read at all, is not idle, so its end is looked up before it is called so.
type source struct {
	progress
	id    sourceID
	claim *claim
	idle  bool
	held  int64 // how far the watermark can have come while the source was idle and did not hold it back; noTime: it always did

	seen    int64     // position at the last settle
	quiet   time.Time // since when the position has not moved, or when its end was last looked up
	lastEnd int64     // as it was then; -1: not looked up since the position moved
	asked   int64     // position at which the look-up that is under way was begun
	asking  bool
	answer  chan ending
}

type ending struct {
	offset int64
	err    error
}

func newSource(id sourceID, c *claim, now time.Time) *source {
	return &source{progress: progress{noTime}, id: id, claim: c, held: noTime, seen: -3, quiet: now, lastEnd: -1, answer: make(chan ending, 1)}
}

// progress is how far event time has come in one input.
type progress struct {
	time int64 // largest event time, noTime before the first
}

// observe takes note of an event's time, be the event accepted or not, and tells whether that was progress. Times further
// ahead of the record's Kafka timestamp (0: it has none) than maxSkew do not count: one wrong clock must not make everybody
// else late.
func (p *progress) observe(t, timestamp, maxSkew int64) bool {
	if t <= p.time || timestamp != 0 && t > timestamp+maxSkew {
		return false
	}
	p.time = t
	return true
}

// settle decides whether the source is idle. It is called with the partition at rest; endOf looks up the offset behind
// the topic partition's last record and may take its time.
func (s *source) settle(now time.Time, timeout time.Duration, endOf func(topic string, partition int32) (int64, error)) {
	position := s.claim.position()
	if s.asking {
		select {
		case end := <-s.answer:
			s.asking = false
			s.conclude(position, end, now)
		default:
		}
	}
	if position != s.seen || position == unknownPosition || s.claim.waiting() {
		s.seen, s.quiet, s.lastEnd, s.idle = position, now, -1, false
		return
	}
	if s.idle || s.asking || now.Sub(s.quiet) < timeout {
		return
	}
	s.asking, s.asked = true, position
	topic, partition, answer := s.claim.topic, s.claim.partition, s.answer
	go func() {
		offset, err := endOf(topic, partition)
		answer <- ending{offset, err}
	}()
}

// conclude takes the answer of a look-up. An end beyond the position need not mean that there is more to read: the last
// offsets may be transaction markers, which nobody is given. Then an end that stays where it is for another timeout, and
// nothing that arrives, say the same.
func (s *source) conclude(position int64, end ending, now time.Time) {
	if position != s.asked || position != s.seen {
		return
	}
	if end.err == nil && (end.offset <= position || end.offset == 0 || end.offset == s.lastEnd) {
		s.idle = true
		return
	}
	s.quiet, s.lastEnd = now, end.offset
	if end.err != nil {
		s.lastEnd = -1
	}
}

// state returns what is told about the source to others.
func (s *source) state() codecs.Source {
	return codecs.Source{Stream: s.id.stream, Partition: s.id.partition, Time: s.time, Idle: s.idle}
}

// A source's progress is committed as the metadata of its offset, so that it survives a restart exactly as far as its
// records are not read again: its time, and after another colon what is in held, or that the source is idle.
const (
	metadataPrefix = "lookback:"
	metadataIdle   = "idle"
)

func (s *source) metadata() string {
	text := metadataPrefix
	if s.time != noTime {
		text += strconv.FormatInt(s.time, 10)
	}
	switch {
	case s.idle:
		return text + ":" + metadataIdle
	case s.held > s.time:
		return text + ":" + strconv.FormatInt(s.held, 10)
	case s.time == noTime:
		return ""
	}
	return text
}

// recall takes the progress from committed metadata; other texts are somebody else's. A source that was idle has held
// nothing back up to now, so the watermark can have come as far as latest.
func (s *source) recall(metadata string, latest int64) {
	text, ok := strings.CutPrefix(metadata, metadataPrefix)
	if !ok {
		return
	}
	at, held, _ := strings.Cut(text, ":")
	if t, err := strconv.ParseInt(at, 10, 64); err == nil {
		s.time = max(s.time, t)
	}
	if held == metadataIdle {
		s.held = latest
	} else if t, err := strconv.ParseInt(held, 10, 64); err == nil {
		s.held = max(s.held, t)
	}
}
