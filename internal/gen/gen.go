// Package gen makes a realistic stream of impressions, clicks and conversions: users with a Zipf activity, clicks of
// earlier impressions, conversions after clicks and views, and, in stated shares, records that come late, twice or
// broken. It feeds the demo, the benchmarks and the tests. The same Config makes the same bytes. Time is a schedule
// that starts where the caller says: the package reads no clock and never sleeps.
package gen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

const (
	impression = iota
	click
	conversion
	numStreams
)

var streamNames = [numStreams]string{"impression", "click", "conversion"}

const (
	microsPerMilli  = 1000
	microsPerSecond = 1_000_000

	pixelsPerAdvertiser    = 3
	campaignsPerAdvertiser = 40
	clicksShare            = 4 // clicks are remembered in a ring this much smaller than the impressions'
	candidatesPerTouch     = 4 // impressions that are remembered for each click or conversion that will want one
	lagSigma               = 1.5
	futureBy               = int64(48 * time.Hour / time.Microsecond)
)

// event is what a record says, before it is bytes.
type event struct {
	time       int64 // microseconds, whole milliseconds
	arrival    int64 // microseconds
	n          uint64
	auction    uint64
	user       uint32
	cents      uint32
	advertiser uint16
	pixel      uint8
	campaign   uint8
	stream     uint8
	kind       Kind
	used       bool // in a ring: something refers to it
}

// Generator makes one stream of records. It is not safe for concurrent use. Its memory is bounded by Config.Recent and
// Config.PendingRecords, however long it runs.
type Generator struct {
	cfg         Config
	rng         *rand.Rand
	users       *zipf
	salts       [impressionDomain + numStreams]uint64
	impressions *ring
	clicks      *ring
	pending     pending
	candidate   float64 // share of the impressions that are remembered
	start       int64
	gap         float64 // microseconds per record
	at          int64   // when the next event happens
	events      uint64  // events made
	yielded     uint64
	stats       Stats
}

// New returns a generator at the start of its stream, or everything that is wrong with the configuration.
func New(c Config) (*Generator, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	g := &Generator{
		cfg:         c,
		rng:         rand.New(rand.NewPCG(c.Seed, mix64(c.Seed))),
		users:       newZipf(c.Users, c.Zipf),
		impressions: newRing(c.Recent),
		clicks:      newRing(max(1, c.Recent/clicksShare)),
		start:       c.Start.UnixMicro(),
	}
	for i := range g.salts {
		g.salts[i] = mix64(c.Seed + uint64(i)<<56)
	}
	if c.Mix.Impressions > 0 {
		g.candidate = candidatesPerTouch * (c.Mix.Clicks + c.Mix.Conversions) / c.Mix.Impressions
	}
	if c.Rate > 0 {
		g.gap = microsPerSecond / c.Rate
	} else {
		g.gap = float64(c.Spread.Microseconds()) / float64(c.Events)
	}
	g.schedule()
	return g, nil
}

// Next writes the next record in order of arrival into dst and returns true, or returns false after the last one.
func (g *Generator) Next(dst *Record) bool {
	for {
		if len(g.pending) > 0 && (g.pending[0].arrival <= g.at || g.full()) {
			e := g.pending.pop()
			g.yield(dst, &e)
			return true
		}
		if g.full() {
			return false
		}
		e := g.event()
		g.spoil(&e)
		if e.kind == Delayed {
			g.pending.push(e)
			g.schedule()
			continue
		}
		g.yield(dst, &e)
		g.schedule()
		return true
	}
}

// Stats returns the counts so far.
func (g *Generator) Stats() Stats { return g.stats }

// committed is the number of records that are out or on their way.
func (g *Generator) committed() uint64 { return g.yielded + uint64(len(g.pending)) }

func (g *Generator) full() bool { return g.cfg.Events > 0 && g.committed() >= g.cfg.Events }

// schedule sets the time of the next event: somewhere in the slot of the record that it makes.
func (g *Generator) schedule() {
	g.at = g.start + int64((float64(g.committed())+g.rng.Float64())*g.gap)
}

func (g *Generator) yield(dst *Record, e *event) {
	g.yielded++
	g.stats.counts[e.stream][e.kind]++
	dst.Stream = streamNames[e.stream]
	dst.Key = g.appendUUID(dst.Key[:0], userDomain, uint64(e.user))
	dst.Value = g.appendValue(dst.Value[:0], e)
	if dst.Value == nil {
		dst.Value = []byte{} // nil would be a tombstone
	}
	dst.EventTime = e.time
	dst.Arrival = e.arrival
	dst.Kind = e.kind
}

// event makes what happens now.
func (g *Generator) event() event {
	now := g.at - g.at%microsPerMilli
	g.events++
	var e event
	switch u := g.rng.Float64(); {
	case u < g.cfg.Mix.Clicks:
		if of := g.earlier(g.impressions, g.cfg.ClickLag, now); of != nil {
			e = *of
			e.stream = click
			break
		}
		e = g.impression() // nothing to click on yet
	case u < g.cfg.Mix.Clicks+g.cfg.Mix.Conversions:
		e = g.conversion(now)
	default:
		e = g.impression()
	}
	e.n = g.events
	if e.stream == impression {
		e.auction = e.n
	}
	e.time, e.arrival, e.used = now, g.at, false
	return e
}

func (g *Generator) impression() event {
	e := g.audience()
	e.campaign = uint8(1 + g.rng.IntN(campaignsPerAdvertiser))
	e.cents = uint32(10 + g.rng.IntN(490))
	return e
}

func (g *Generator) conversion(now int64) event {
	var of *event
	switch u := g.rng.Float64(); {
	case u < g.cfg.FromClicks:
		of = g.earlier(g.clicks, g.cfg.ConversionLag, now)
	case u < g.cfg.FromClicks+g.cfg.FromViews:
		of = g.earlier(g.impressions, g.cfg.ConversionLag, now)
	}
	var e event
	if of != nil {
		e = *of
	} else {
		e = g.audience() // organic
	}
	e.stream = conversion
	e.cents = uint32(500 + g.rng.IntN(20_000))
	return e
}

// audience draws a user and the advertiser whose ad or site it meets.
func (g *Generator) audience() event {
	return event{
		user:       g.users.rank(g.rng),
		advertiser: uint16(1 + g.rng.IntN(g.cfg.Advertisers)),
		pixel:      uint8(1 + g.rng.IntN(pixelsPerAdvertiser)),
	}
}

// earlier returns a remembered event that happened a lag ago and at least a millisecond, or nil where there is none.
func (g *Generator) earlier(r *ring, l Lag, now int64) *event {
	lag := float64(l.Median.Microseconds()) * math.Exp(lagSigma*g.rng.NormFloat64())
	reach := min(r.span(now), l.Max.Microseconds())
	if lag > float64(reach) {
		lag = g.rng.Float64() * float64(reach)
	}
	return r.pick(now - max(int64(lag), microsPerMilli))
}

// spoil decides what becomes of the event on its way, plans its second sending, and remembers what others may refer to.
func (g *Generator) spoil(e *event) {
	if g.rng.Float64() < g.cfg.Broken {
		e.kind = Truncated + Kind(g.rng.IntN(int(numKinds-Truncated)))
		if e.kind == FutureTime {
			e.time += futureBy
		}
		return
	}
	switch {
	case e.stream == click:
		g.clicks.push(*e)
	case e.stream == impression && g.rng.Float64() < g.candidate:
		g.impressions.push(*e)
	}
	if g.rng.Float64() < g.cfg.Disorder.Share && g.room(1) {
		// The cube makes most delays short, as they are.
		u := g.rng.Float64()
		e.arrival += 1 + int64(u*u*u*float64(g.cfg.Disorder.Max.Microseconds()))
		e.kind = Delayed
	}
	g.resend(e, Duplicate, g.cfg.Duplicates)
	if e.stream != click { // a click has no amount to differ in
		g.resend(e, Conflict, g.cfg.Conflicts)
	}
}

func (g *Generator) resend(e *event, kind Kind, share float64) {
	if g.rng.Float64() >= share || !g.room(2) {
		return
	}
	again := *e
	again.kind = kind
	again.arrival += 1 + int64(g.rng.Float64()*float64(g.cfg.ResendWithin.Microseconds()))
	if kind == Conflict {
		again.cents++
	}
	g.pending.push(again)
}

// room tells whether n more records, the event's own among them, may be on their way.
func (g *Generator) room(n int) bool {
	return len(g.pending)+n <= g.cfg.PendingRecords && (g.cfg.Events == 0 || g.committed()+uint64(n) <= g.cfg.Events)
}
