package gen

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// busy is a small stream in which everything happens.
func busy() Config {
	c := Default()
	c.Events = 200_000
	c.Users = 10_000
	c.Disorder = Disorder{Share: 0.1, Max: 2 * time.Hour}
	c.Duplicates = 0.05
	c.Conflicts = 0.02
	c.Broken = 0.07
	c.PendingRecords = 1 << 20
	return c
}

func generator(t testing.TB, c Config) *Generator {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type parsed struct {
	ImpressionID string      `json:"impression_id"`
	ClickID      string      `json:"click_id"`
	ConversionID string      `json:"conversion_id"`
	EventTS      int64       `json:"event_ts"`
	UserID       string      `json:"user_id"`
	AdvertiserID string      `json:"advertiser_id"`
	AuctionID    string      `json:"auction_id"`
	PixelID      string      `json:"pixel_id"`
	CampaignID   string      `json:"campaign_id"`
	Price        json.Number `json:"price"`
	Value        json.Number `json:"value"`
}

func (p *parsed) id() string { return p.ImpressionID + p.ClickID + p.ConversionID }

func parse(t *testing.T, r *Record) parsed {
	t.Helper()
	var p parsed
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s record %s: %v", r.Kind, r.Value, err)
	}
	return p
}

func TestRecordsHaveTheirFields(t *testing.T) {
	want := map[string]string{
		"impression": "impression_id event_ts user_id advertiser_id auction_id pixel_id campaign_id price",
		"click":      "click_id event_ts user_id advertiser_id auction_id",
		"conversion": "conversion_id event_ts user_id advertiser_id pixel_id value",
	}
	g := generator(t, Default())
	var r Record
	for range 5000 {
		g.Next(&r)
		if r.Kind.Broken() {
			continue
		}
		var names []string
		d := json.NewDecoder(bytes.NewReader(r.Value))
		for tok, err := d.Token(); err == nil; tok, err = d.Token() {
			if name, ok := tok.(string); ok {
				names = append(names, name)
				if _, err := d.Token(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := strings.Join(names, " "); got != want[r.Stream] {
			t.Fatalf("%s has the fields %s", r.Stream, got)
		}
		p := parse(t, &r)
		if string(r.Key) != p.UserID || len(p.UserID) != 36 || len(p.id()) != 36 {
			t.Fatalf("key %s, record %s", r.Key, r.Value)
		}
		if p.EventTS*1000 != r.EventTime {
			t.Fatalf("event_ts %d, EventTime %d", p.EventTS, r.EventTime)
		}
	}
}

func TestSameConfigSameBytes(t *testing.T) {
	digest := func(c Config) (sum [32]byte) {
		h := sha256.New()
		g := generator(t, c)
		var r Record
		for g.Next(&r) {
			h.Write(r.AppendLine(nil, true))
			h.Write(r.Key)
		}
		h.Sum(sum[:0])
		return sum
	}
	c := busy()
	c.Events = 50_000
	first := digest(c)
	if digest(c) != first {
		t.Error("the same configuration made other bytes")
	}
	c.Seed++
	if digest(c) == first {
		t.Error("another seed made the same bytes")
	}
}

func TestSharesAreAsStated(t *testing.T) {
	c := busy()
	g := generator(t, c)
	var r Record
	var n uint64
	for g.Next(&r) {
		n++
	}
	s := g.Stats()
	if n != c.Events || s.Total() != c.Events {
		t.Fatalf("%d records, %d counted, want %d", n, s.Total(), c.Events)
	}
	again := s.Kind(Duplicate) + s.Kind(Conflict)
	events := float64(n - again)
	near := func(what string, got uint64, share float64) {
		t.Helper()
		want := share * events
		if d := math.Abs(float64(got) - want); d > 5*math.Sqrt(want)+1 {
			t.Errorf("%s: %d of %.0f events, want %.0f", what, got, events, want)
		}
	}
	first := func(stream string) uint64 {
		return s.Stream(stream) - s.Of(stream, Duplicate) - s.Of(stream, Conflict)
	}
	near("impressions", first("impression"), c.Mix.Impressions)
	near("clicks", first("click"), c.Mix.Clicks)
	near("conversions", first("conversion"), c.Mix.Conversions)
	near("broken", s.Broken(), c.Broken)
	whole := 1 - c.Broken
	near("delayed", s.Kind(Delayed), c.Disorder.Share*whole)
	near("duplicates", s.Kind(Duplicate), c.Duplicates*whole)
	near("conflicts", s.Kind(Conflict), c.Conflicts*whole*(1-c.Mix.Clicks))
	for k := Truncated; k < numKinds; k++ {
		near(k.String(), s.Kind(k), c.Broken/float64(numKinds-Truncated))
	}
}

func TestArrivalsAreInOrderAndNeverBeforeTheEvent(t *testing.T) {
	c := busy()
	g := generator(t, c)
	var r Record
	var last, newest int64
	var overtaken uint64
	for g.Next(&r) {
		if r.Arrival < last {
			t.Fatalf("arrival %d after %d", r.Arrival, last)
		}
		last = r.Arrival
		if r.Kind == FutureTime {
			if r.EventTime <= r.Arrival {
				t.Fatalf("a record of kind %s happens %d µs before it arrives", r.Kind, r.Arrival-r.EventTime)
			}
			continue
		}
		lag := r.Arrival - r.EventTime
		longest := (c.Disorder.Max + c.ResendWithin + time.Second).Microseconds()
		if lag < 0 || lag > longest {
			t.Fatalf("a record of kind %s arrives %d µs after it happens", r.Kind, lag)
		}
		if r.Kind == Delayed && r.EventTime < newest {
			overtaken++
		}
		newest = max(newest, r.EventTime)
	}
	start := c.Start.UnixMicro()
	if end := start + (c.Spread + c.Disorder.Max + c.ResendWithin).Microseconds(); last < start+c.Spread.Microseconds()*99/100 || last > end {
		t.Errorf("the last record arrives at %d, want the end of the spread", last)
	}
	s := g.Stats()
	if all := s.Kind(Delayed); overtaken < all/2 {
		t.Errorf("%d of %d delayed records come after later ones", overtaken, all)
	}
}

func TestClicksAndConversionsReferToEarlierTouches(t *testing.T) {
	c := busy()
	g := generator(t, c)
	type pixel struct{ user, advertiser, pixel string }
	auctions := map[string]parsed{}
	views := map[pixel]int64{} // the first view
	byPixel := map[string]int64{}
	var clicks, conversions []parsed
	var r Record
	for g.Next(&r) {
		if r.Kind.Broken() || r.Kind == Duplicate || r.Kind == Conflict {
			continue
		}
		switch p := parse(t, &r); r.Stream {
		case "impression":
			auctions[p.AuctionID] = p
			k := pixel{p.UserID, p.AdvertiserID, p.PixelID}
			if first, ok := views[k]; !ok || p.EventTS < first {
				views[k] = p.EventTS
			}
		case "click":
			clicks = append(clicks, p)
		case "conversion":
			conversions = append(conversions, p)
		}
	}
	clicked := map[string]int{}
	for _, p := range clicks {
		of, ok := auctions[p.AuctionID]
		switch {
		case !ok:
			t.Fatalf("click %s has no impression", p.ClickID)
		case of.UserID != p.UserID || of.AdvertiserID != p.AdvertiserID:
			t.Fatalf("click %+v is not of the user and advertiser of %+v", p, of)
		case of.EventTS >= p.EventTS:
			t.Fatalf("click %+v is not later than %+v", p, of)
		}
		clicked[p.AuctionID]++
		pix := pixel{of.UserID, of.AdvertiserID, of.PixelID}
		byPixel[pix.user+pix.advertiser+pix.pixel] = p.EventTS
	}
	if len(clicked) < len(clicks)*9/10 {
		t.Errorf("%d clicks are of only %d impressions", len(clicks), len(clicked))
	}
	var seen, afterClick int
	for _, p := range conversions {
		k := pixel{p.UserID, p.AdvertiserID, p.PixelID}
		if first, ok := views[k]; ok && first < p.EventTS {
			seen++
		}
		if _, ok := byPixel[k.user+k.advertiser+k.pixel]; ok {
			afterClick++
		}
	}
	// Organic conversions may meet a view by chance, so the shares are lower bounds.
	if want := (c.FromClicks + c.FromViews) * 0.95 * float64(len(conversions)); float64(seen) < want {
		t.Errorf("%d of %d conversions follow a view of their pixel, want %.0f", seen, len(conversions), want)
	}
	if want := c.FromClicks * 0.9 * float64(len(conversions)); float64(afterClick) < want {
		t.Errorf("%d of %d conversions belong to a click, want %.0f", afterClick, len(conversions), want)
	}
}

func TestSecondSendings(t *testing.T) {
	g := generator(t, busy())
	sent := map[string]string{}
	var r Record
	for g.Next(&r) {
		if r.Kind.Broken() {
			continue
		}
		p := parse(t, &r)
		before, known := sent[p.id()]
		switch {
		case r.Kind == OK || r.Kind == Delayed:
			if known {
				t.Fatalf("id %s is of two events", p.id())
			}
			sent[p.id()] = string(r.Value)
		case !known:
			t.Fatalf("%s of %s comes before the first sending", r.Kind, p.id())
		case (before == string(r.Value)) != (r.Kind == Duplicate):
			t.Fatalf("%s of %s is %s", r.Kind, before, r.Value)
		}
	}
}

// A stream without end must not grow: what is remembered has a fixed size, and what is delayed a bound.
func TestMemoryIsBounded(t *testing.T) {
	c := busy()
	c.Events = 0
	c.Rate = 1000
	c.Recent = 64
	c.PendingRecords = 32
	c.Disorder = Disorder{Share: 0.9, Max: 24 * time.Hour}
	c.Duplicates = 0.9
	g := generator(t, c)
	var r Record
	most := 0
	for range 100_000 {
		if !g.Next(&r) {
			t.Fatal("a stream without end ended")
		}
		most = max(most, len(g.pending))
	}
	if most == 0 || most > c.PendingRecords {
		t.Errorf("up to %d records on their way, bound %d", most, c.PendingRecords)
	}
	if len(g.impressions.buf) != c.Recent || g.impressions.n != c.Recent || len(g.clicks.buf) > c.Recent {
		t.Errorf("remembered: %d impressions, %d clicks", len(g.impressions.buf), len(g.clicks.buf))
	}
}

func TestRateIsTheSchedule(t *testing.T) {
	c := Default()
	c.Events = 0
	c.Rate = 250
	c.Disorder.Share, c.Duplicates = 0, 0
	g := generator(t, c)
	var r Record
	for i := range 10_000 {
		g.Next(&r)
		slot := c.Start.UnixMicro() + int64(i)*4000
		if r.Arrival < slot || r.Arrival >= slot+4001 {
			t.Fatalf("record %d arrives at %d, its slot begins at %d", i, r.Arrival, slot)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	c := Default()
	c.Events, c.Rate = 0, 100_000
	g := generator(b, c)
	var r Record
	var size int
	b.ReportAllocs()
	for b.Loop() {
		g.Next(&r)
		size += len(r.Value)
	}
	b.ReportMetric(float64(size)/float64(b.N), "B/record")
}
