package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/rules"
)

// countingRules let some conversions count, with state that no event holds (who has lost), and are taken back in part.
const countingRules = `
  - name: counted
    attribute: conversion
    key: [user_id, advertiser_id]
    lookback: 30d
    join: {click: click.auction_id == impression.auction_id}
    classes: {any: {touch: [click, impression], within: 3d}}
    priority: impression.price
    retire: losers
    dedup: conversion.pixel_id
    budget: {max: {click: 2, impression: 1}, replace: conversion.value, windows: {click: [1d]}}
    select: {campaign_id: impression.campaign_id}
    measure: {revenue: conversion.value}
    cap: {measure: revenue, at: 120, per: 1d}
    unattributed: emit
    into: @APP@.counted
  - name: of_user
    attribute: conversion
    key: user_id
    lookback: 30d
    classes: {any: {touch: [click, impression], within: 3d}}
    model: [last, first]
    count: {one_per_key: 4h}
    measure: {revenue: conversion.value}
    into: @APP@.ofuser
`

const takingStreams = `
  refund:
    topic: @TOPICS@.refunds
    fields: {refund_id: string, event_ts: time, user_id: string, advertiser_id: string, conversion_id: string, amount: decimal}
    time: event_ts
    id: refund_id
    lateness: 30d
    refund_of: {stream: conversion, id: conversion_id, value: amount, of: value}
    @STREAM@
  fraud:
    topic: @TOPICS@.frauds
    fields: {fraud_id: string, event_ts: time, user_id: string, advertiser_id: string, click_id: string}
    time: event_ts
    id: fraud_id
    lateness: 30d
    invalidate: {stream: click, id: click_id}
    @STREAM@
`

// withTakings adds refunds of some conversions and reports about some clicks, around the events that they are about, before and behind.
func withTakings(t *testing.T, inputs []input, topics string) []input {
	t.Helper()
	all := slices.Clone(inputs)
	for i := range inputs {
		in := &inputs[i]
		var event struct {
			User       string `json:"user_id"`
			Advertiser string `json:"advertiser_id"`
			Conversion string `json:"conversion_id"`
			Click      string `json:"click_id"`
		}
		if in.kind.Broken() || i%4 != 0 || json.Unmarshal(in.value, &event) != nil || event.Conversion == "" && event.Click == "" {
			continue
		}
		at := in.time + int64(time.Hour/time.Microsecond)
		by := input{record: record{key: in.key, at: in.at}, stream: 3, time: at}
		members := fmt.Sprintf(`"event_ts":%q,"user_id":%q,"advertiser_id":%q`, time.UnixMicro(at).UTC().Format(time.RFC3339Nano), event.User, event.Advertiser)
		if event.Conversion != "" {
			by.topic = topics + ".refunds"
			by.value = fmt.Appendf(nil, `{"refund_id":"r%d",%s,"conversion_id":%q,"amount":%d}`, i, members, event.Conversion, i%30+1)
		} else {
			by.stream, by.topic = 4, topics+".frauds"
			by.value = fmt.Appendf(nil, `{"fraud_id":"f%d",%s,"click_id":%q}`, i, members, event.Click)
		}
		all = slices.Insert(all, max(i*7/8, 1), by)
	}
	return all
}

// A program that counts conversions and takes them back is killed in the middle of transactions, and comes to the batch answer: which touches are
// out, which nothing but its state says, is as exactly once as its rows.
func TestCountingSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("a killed member holds its partitions for the session time-out, ten seconds")
	}
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		t.Parallel() // what takes long is waiting for time-outs
		r, app := newRig(t, addrs), appName()
		r.createAdTopics(app)
		r.createTopics(app+".refunds", app+".frauds")
		src := adOptions{app: app, topics: app}.source()
		src = src[:strings.Index(src, "rules:\n")]
		src = src + strings.NewReplacer("@APP@", app, "@TOPICS@", app, "@STREAM@", "").Replace(takingStreams[1:]+"rules:"+countingRules)
		c := adStream(seedOf(t), 9000)
		inputs := withTakings(t, generate(t, c, app), app)
		third := len(inputs) / 3
		repeated := r.killTwice(binary, src, [3][]input{inputs[:third], inputs[third : 2*third], inputs[2*third:]}, func(rule *rules.Rule) string { return rule.Into })
		if repeated > 0 {
			t.Errorf("%d deltas came more than once", repeated)
		}
		file := writeRules(t, src)
		got := command(t, binary, "verify", file, "--brokers", addrs[0], "--tmp", t.TempDir())
		got.want(t, 0, "equal: ")
	})
}
