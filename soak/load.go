package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Times of the load, in microseconds of its clock. Events come in up to maxDisorder after they happened, and copies of them
// up to maxRepeat after that, both well within the lateness of the rules; stragglers are beyond it.
const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute

	maxDisorder = 4 * minute
	maxRepeat   = 2 * minute
)

// message is a record of the load.
type message struct {
	stream     *stream
	key, value []byte
	at         int64 // its Kafka timestamp, in microseconds
}

// load makes the input: users who are shown ads, click on them and buy, in an order of arrival that is not that of event
// time, with copies, contradictions and records that are no events. All of it follows from the seed. It has a clock of its
// own, which each record advances by step.
type load struct {
	rng   *rand.Rand
	clock int64
	step  int64
	due   queue
	next  int // the number of the next user or event
	hot   []*hotUser
	whole float64 // of a new user, who comes when it reaches 1
}

// hotUser has many events and lives for several rounds.
type hotUser struct {
	user, advertiser string
	rule             int
	auctions         []string
}

const (
	hotUsers = 60
	// perUser is about how many records a user causes, so that what is due does not pile up.
	perUser   = 5.2
	hotShare  = 0.06
	hotPixels = 4
)

func newLoad(seed uint64, start time.Time, step time.Duration) *load {
	l := &load{rng: rand.New(rand.NewPCG(seed, 1)), clock: start.UnixMilli() * 1000, step: step.Microseconds()}
	l.newHotUsers()
	return l
}

// newRound forgets what was still to come. Every few rounds the hot users are replaced, so that their histories are bounded.
func (l *load) newRound(number int) {
	l.due = nil
	const rounds = 4
	if number%rounds == 0 {
		l.newHotUsers()
	}
}

func (l *load) newHotUsers() {
	l.hot = nil
	for i := range hotUsers {
		l.hot = append(l.hot, &hotUser{user: l.name("hot"), advertiser: "a1", rule: i % 2})
	}
}

// name returns a name that was not used before.
func (l *load) name(prefix string) string {
	l.next++
	return prefix + "-" + strconv.Itoa(l.next)
}

// chance is true with probability p.
func (l *load) chance(p float64) bool { return l.rng.Float64() < p }

// within returns a time from 0 to d.
func (l *load) within(d int64) int64 { return l.rng.Int64N(d + 1) }

// after returns an exponentially distributed time with the mean d.
func (l *load) after(d int64) int64 { return int64(l.rng.ExpFloat64() * float64(d)) }

// take advances the clock by n steps and appends the records that come in meanwhile.
func (l *load) take(n int, to []message) []message {
	for range n {
		l.clock += l.step
		if l.whole += 1 / perUser; l.whole >= 1 && len(l.due) < 2_000_000 {
			l.whole--
			l.newUser()
		}
		if l.chance(hotShare) {
			l.hotEvent(l.hot[l.rng.IntN(len(l.hot))])
		}
		if len(l.due) > 0 && l.due[0].arrives <= l.clock {
			e := heap.Pop(&l.due).(*happening)
			to = append(to, l.emit(e))
			if l.chance(0.012) {
				to = append(to, l.refuse(e))
			}
		}
	}
	return to
}

// newUser plans everything that a user does.
func (l *load) newUser() {
	rule := 0
	if l.chance(0.4) {
		rule = 1
	}
	user, advertiser := l.name("u"), fmt.Sprint("a", 1+l.rng.IntN(3))
	pixels := []string{l.name("p"), l.name("p")}
	pixel := func() string {
		if l.chance(0.15) {
			return pixels[1]
		}
		return pixels[0]
	}
	var moments []int64 // where conversions may fall on
	for range 1 + l.rng.IntN(4) {
		at := l.tick(l.clock + l.after(15*minute))
		auction := l.name("x")
		l.plan(&happening{stream: streamOf(rule, shown), user: user, advertiser: advertiser, at: at, auction: auction, pixel: pixel()})
		moments = append(moments, at)
		if l.chance(0.03) { // shown twice in one auction
			l.plan(&happening{stream: streamOf(rule, shown), user: user, advertiser: advertiser, at: at + l.within(minute), auction: auction, pixel: pixel()})
		}
		for l.chance(0.4) {
			clickedAt := l.tick(at + l.after(12*minute))
			switch {
			case l.chance(0.04):
				clickedAt = at
			case l.chance(0.02):
				clickedAt = at - second
			}
			l.plan(&happening{stream: streamOf(rule, clicked), user: user, advertiser: advertiser, at: clickedAt, auction: auction})
			moments = append(moments, clickedAt)
		}
	}
	for l.chance(0.55) {
		at := l.tick(l.clock + l.after(40*minute))
		if l.chance(0.06) {
			at = moments[l.rng.IntN(len(moments))]
		}
		l.plan(&happening{stream: streamOf(rule, converted), user: user, advertiser: advertiser, at: at, pixel: pixel(), value: int64(l.rng.IntN(100_000))})
	}
}

// hotEvent lets something happen now to a user with a long history.
func (l *load) hotEvent(u *hotUser) {
	h := &happening{user: u.user, advertiser: u.advertiser, at: l.tick(l.clock), pixel: fmt.Sprintf("%s-p%d", u.user, l.rng.IntN(hotPixels))}
	switch n := l.rng.IntN(10); {
	case n < 5 || len(u.auctions) == 0:
		h.stream, h.auction = streamOf(u.rule, shown), l.name("x")
		u.auctions = append(u.auctions, h.auction)
		if len(u.auctions) > 20 {
			u.auctions = u.auctions[1:]
		}
	case n < 8:
		h.stream, h.auction = streamOf(u.rule, clicked), u.auctions[l.rng.IntN(len(u.auctions))]
	default:
		h.stream, h.value = streamOf(u.rule, converted), int64(l.rng.IntN(100_000))
	}
	l.plan(h)
}

// tick rounds some times to seconds, so that many are equal.
func (l *load) tick(at int64) int64 {
	if l.chance(0.3) {
		return at / second * second
	}
	return at / 1000 * 1000
}

// happening is an event that is to come in.
type happening struct {
	stream           *stream
	id               string
	user, advertiser string
	auction, pixel   string
	value            int64 // in cents
	at               int64 // event time
	arrives          int64
	copies           bool // it is a copy, or has one already
}

// plan gives an event its id and the time at which it comes in.
func (l *load) plan(h *happening) {
	if h.stream.role == shown {
		h.id = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", l.rng.Uint32(), l.rng.Uint32N(1<<16), l.rng.Uint32N(1<<12), l.rng.Uint32N(1<<12), l.rng.Uint64N(1<<48))
	} else {
		h.id = l.name(h.stream.name[:1])
	}
	h.arrives = h.at
	switch p := l.rng.Float64(); {
	case p < 0.6:
		h.arrives += l.within(2 * second)
	case p < 0.98:
		h.arrives += l.within(maxDisorder)
	case p < 0.995:
		h.arrives += 10*minute + l.within(30*minute)
		h.copies = true
	default:
		h.at -= 7 * hour // rejected for its age
		h.copies = true
	}
	heap.Push(&l.due, h)
}

// emit writes an event as it comes in, and plans copies of it.
func (l *load) emit(h *happening) message {
	if !h.copies && l.clock-h.at < maxDisorder+minute {
		again := *h
		again.copies = true
		again.arrives = l.clock + l.within(maxRepeat)
		switch p := l.rng.Float64(); {
		case p < 0.05:
			heap.Push(&l.due, &again)
		case p < 0.06: // the same id with other content: the earlier one counts
			again.at -= 1000 * (1 + l.rng.Int64N(30_000))
			again.pixel, again.value = again.pixel+"-other", again.value+1
			heap.Push(&l.due, &again)
		case p < 0.07:
			again.at += 1000 * (1 + l.rng.Int64N(30_000))
			again.arrives = max(again.arrives, again.at)
			again.auction, again.value = again.auction+"-other", again.value+1
			heap.Push(&l.due, &again)
		}
	}
	return l.message(h, l.json(h))
}

func (l *load) message(h *happening, value []byte) message {
	key := h.user
	if !h.stream.keyed {
		key = strconv.FormatUint(uint64(l.rng.Uint32()), 36)
	}
	return message{stream: h.stream, key: []byte(key), value: value, at: l.clock}
}

// json writes an event. One event may be written in several ways.
func (l *load) json(h *happening) []byte {
	b := fmt.Appendf(nil, `{"%s":%q,"user_id":%q`, h.stream.id, h.id, h.user)
	if h.stream.account {
		b = fmt.Appendf(b, `,"advertiser_id":%q`, h.advertiser)
	}
	switch l.rng.IntN(6) {
	case 0:
		b = fmt.Appendf(b, `,"event_ts":%q`, time.UnixMicro(h.at).UTC().Format("2006-01-02T15:04:05.000Z"))
	case 1:
		b = fmt.Appendf(b, `,"event_ts":%d`, h.at)
	default:
		b = fmt.Appendf(b, `,"event_ts":%d`, h.at/1000)
	}
	switch h.stream.role {
	case shown:
		b = fmt.Appendf(b, `,"auction_id":%q,"pixel_id":%q,"campaign_id":"k-%s","price":0.25`, h.auction, h.pixel, h.auction)
	case clicked:
		b = fmt.Appendf(b, `,"auction_id":%q`, h.auction)
	case converted:
		format := `,"pixel_id":%q,"value":%d.%02d`
		if l.chance(0.3) {
			format = `,"pixel_id":%q,"value":"%d.%02d0"`
		}
		b = fmt.Appendf(b, format, h.pixel, h.value/100, h.value%100)
	}
	return append(b, '}')
}

// refuse makes a record that is no event, or not one that is wanted.
func (l *load) refuse(like *happening) message {
	h := *like
	h.id, h.at = l.name("bad"), l.clock
	var value []byte
	switch l.rng.IntN(9) {
	case 0: // a tombstone
	case 1:
		value = []byte("  \n")
	case 2:
		value = l.json(&h)
		value = value[:len(value)-2]
	case 3:
		value = fmt.Appendf(nil, `{"%s":17,"user_id":%q,"event_ts":%d}`, h.stream.id, h.user, h.at)
	case 4:
		h.id = ""
		value = l.json(&h)
	case 5:
		value = fmt.Appendf(nil, `{"%s":%q,"user_id":%q,"advertiser_id":"a1"}`, h.stream.id, h.id, h.user)
	case 6:
		h.user = ""
		value = l.json(&h)
	case 7:
		h.at += 31*minute + l.within(3*hour)
		value = l.json(&h)
	default:
		if !h.stream.account {
			h.user = ""
		}
		value = fmt.Appendf(nil, `{"%s":%q,"user_id":%q,"advertiser_id":null,"event_ts":%d}`, h.stream.id, h.id, h.user, h.at/1000)
	}
	return l.message(&h, value)
}

// queue has the event that comes in first at its head.
type queue []*happening

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].arrives < q[j].arrives }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*happening)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
