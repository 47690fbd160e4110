package rules

import (
	"reflect"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func noEnv(string) (string, bool) { return "", false }

func mustCompile(t testing.TB, src string) *Plan {
	t.Helper()
	p, err := Compile("rules.yaml", []byte(src), noEnv)
	if err != nil {
		t.Fatalf("compile:\n%v", err)
	}
	return p
}

// adStreams are the streams that most tests are about.
const adStreams = `
app: ads
streams:
  impression:
    topic: impressions
    fields: {impression_id: string, event_ts: time, user_id: string, advertiser_id: string, auction_id: string, pixel_id: string, campaign_id: string, price: decimal}
    time: event_ts
    id: impression_id
  click:
    topic: clicks
    fields: {click_id: string, event_ts: time, user_id: string, advertiser_id: string, auction_id: string}
    time: event_ts
    id: click_id
  conversion:
    topic: conversions
    fields: {conversion_id: string, event_ts: time, user_id: string, advertiser_id: string, pixel_id: string, value: decimal}
    time: event_ts
    id: conversion_id
`

const mediaMathRule = `
rules:
  - name: attributed
    attribute: conversion
    preset: mediamath
    key: [user_id, advertiser_id]
    lookback: 30d
    max_gap: 20d
    join:
      impression: conversion.pixel_id == impression.pixel_id
      click: click.auction_id == impression.auction_id
    classes:
      PC: {touch: click, within: 7d}
      PV: {touch: impression, within: 1d}
    select: {campaign_id: impression.campaign_id}
    measure: {revenue: conversion.value}
    into: attributed
`

const day = 24 * 3600 * 1_000_000

func TestMediaMathVias(t *testing.T) {
	p := mustCompile(t, adStreams+mediaMathRule)
	rule := p.Rules[0]
	const impression, click, conversion = 0, 1, 2
	auctionOfImpression, pixelOfImpression := slotOf(t, p, impression, "auction_id"), slotOf(t, p, impression, "pixel_id")
	auctionOfClick, pixelOfConversion := slotOf(t, p, click, "auction_id"), slotOf(t, p, conversion, "pixel_id")

	if !rule.MediaMath || rule.Conversion != conversion || rule.MaxGap != 20*day {
		t.Errorf("rule: %+v", rule)
	}
	if want := []int{-1, impression, -1}; !reflect.DeepEqual(rule.Parents, want) {
		t.Errorf("parents: got %v, want %v", rule.Parents, want)
	}
	pc, pv := rule.Classes[0], rule.Classes[1]
	if pc.Name != "PC" || pc.Anchor != impression || pc.After || pc.Within != 7*day || pv.Name != "PV" || pv.Anchor != -1 || pv.Within != day {
		t.Errorf("classes: %+v, %+v", pc, pv)
	}

	key := rule.Key
	paths := func(stream int, p ...int) int {
		t.Helper()
		for i, o := range key.Paths[stream] {
			if len(o) == len(p) && (len(p) == 0 || reflect.DeepEqual([]int(o), p)) {
				return i
			}
		}
		t.Fatalf("no path %v into stream %d: %v", p, stream, key.Paths[stream])
		return -1
	}
	wantPC := Via{Ahead: 1,
		Touch: click, Parent: impression, AnchorParent: true, AnyGap: true, MaxGap: 20 * day, MaxParentLag: day,
		ConvParent:    []Pair{{pixelOfConversion, pixelOfImpression}},
		TouchParent:   []Pair{{auctionOfClick, auctionOfImpression}},
		ConvPath:      paths(conversion, pixelOfConversion),
		TouchPath:     paths(click),
		ParentPath:    paths(impression, pixelOfImpression),
		TouchOfParent: paths(click, auctionOfClick),
		ParentOfTouch: paths(impression, auctionOfImpression),
		TouchOfBoth:   paths(click, auctionOfClick),
		ParentOfBoth:  paths(impression, pixelOfImpression, auctionOfImpression),
	}
	if got := *pc.Vias[0]; !reflect.DeepEqual(got, wantPC) {
		t.Errorf("PC:\n got %+v\nwant %+v", got, wantPC)
	}
	wantPV := Via{Ahead: 1,
		Touch: impression, Parent: -1, MaxGap: 20 * day,
		ConvTouch:  []Pair{{pixelOfConversion, pixelOfImpression}},
		ConvPath:   paths(conversion, pixelOfConversion),
		TouchPath:  paths(impression, pixelOfImpression),
		ParentPath: -1, TouchOfParent: -1, ParentOfTouch: -1, TouchOfBoth: -1, ParentOfBoth: -1,
	}
	if got := *pv.Vias[0]; !reflect.DeepEqual(got, wantPV) {
		t.Errorf("PV:\n got %+v\nwant %+v", got, wantPV)
	}
	if want := []int64{7 * day, 7 * day, 0}; !reflect.DeepEqual(key.Retention, want) {
		t.Errorf("retention: got %v, want %v", key.Retention, want)
	}
	if key.Direct || key.Name != "user_id-advertiser_id" || key.MaxTouches != 10000 {
		t.Errorf("key: %+v", key)
	}
}

// slotOf returns the slot of a declared field.
func slotOf(t testing.TB, p *Plan, stream int, field string) int {
	t.Helper()
	s := p.Streams[stream]
	for i, slot := range s.Slots {
		if slot.Stamp == nil && s.Declared[slot.Field].Name == field {
			return i
		}
	}
	switch field {
	case s.Declared[s.ID].Name:
		return codecs.SlotID
	case s.Declared[s.Time].Name:
		return codecs.SlotTime
	}
	t.Fatalf("stream %s has no slot for %s", s.Name, field)
	return 0
}

func TestAfterTheConversionIsAllowedByName(t *testing.T) {
	p := mustCompile(t, adStreams+strings.Replace(mediaMathRule, "preset: mediamath", "preset: mediamath\n    click_after_conversion: allow", 1))
	rule := p.Rules[0]
	if !rule.Classes[0].After || !rule.Classes[0].Vias[0].AllowAfter || rule.Classes[1].After || rule.Classes[1].Vias[0].AllowAfter {
		t.Errorf("after: %+v, %+v", rule.Classes[0], rule.Classes[1])
	}
	// A conversion can be credited anew for 20 days, and what it was credited to until then stays as long.
	if want := []int64{27 * day, 27 * day, 20 * day}; !reflect.DeepEqual(rule.Key.Retention, want) {
		t.Errorf("retention: got %v, want %v", rule.Key.Retention, want)
	}
}
