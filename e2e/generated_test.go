package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// adRules are two rules of different keys over the generator's streams, so that every event goes two ways.
const adRules = `
app: @APP@
commit_interval: 50ms
watermark_interval: 100ms
idle_timeout: 500ms
topics: {partitions: 3, replication: 1}
state: @STATE@
streams:
  impression:
    topic: @TOPICS@.impressions
    fields: {impression_id: string, event_ts: time, user_id: string, advertiser_id: string, auction_id: string, pixel_id: string, campaign_id: string, price: decimal}
    time: event_ts
    id: impression_id
    lateness: @LATENESS@
    @STREAM@
  click:
    topic: @TOPICS@.clicks
    fields: {click_id: string, event_ts: time, user_id: string, advertiser_id: string, auction_id: string}
    time: event_ts
    id: click_id
    lateness: @LATENESS@
    @STREAM@
  conversion:
    topic: @TOPICS@.conversions
    fields: {conversion_id: string, event_ts: time, user_id: string, advertiser_id: string, pixel_id: string, value: decimal}
    time: event_ts
    id: conversion_id
    lateness: @LATENESS@
    @STREAM@
rules:
  - name: attributed
    attribute: conversion
    key: [user_id, advertiser_id]
    lookback: 30d
    join: {impression: conversion.pixel_id == impression.pixel_id, click: click.auction_id == impression.auction_id}
    classes: {PC: {touch: click, within: 7d}, PV: {touch: impression, within: 1d}}
    select: {campaign_id: impression.campaign_id}
    measure: {revenue: conversion.value, spend: impression.price}
    unattributed: emit
    into: @APP@.attributed
  - name: original
    attribute: conversion
    key: user_id
    lookback: 30d
    join: {impression: conversion.pixel_id == impression.pixel_id, click: click.auction_id == impression.auction_id}
    classes: {PC: {touch: click, within: 7d}, PV: {touch: impression, within: 1d}}
    preset: mediamath
    measure: {revenue: conversion.value}
    into: @APP@.original
`

// adOptions are what tests change about adRules; empty fields are the defaults of a test in which nothing is late.
type adOptions struct {
	app, topics, lateness string
	state                 string // a YAML mapping
	direct                bool
}

func (o adOptions) source() string {
	state, lateness, stream := o.state, o.lateness, ""
	if state == "" {
		state = "{store: memory}"
	}
	if lateness == "" {
		lateness = "30d"
	}
	if o.direct {
		stream = "partitioned_by: user_id"
	}
	return strings.NewReplacer("@APP@", o.app, "@TOPICS@", o.topics, "@STATE@", state, "@LATENESS@", lateness, "@STREAM@", stream).Replace(adRules)
}

var adStreams = []string{"impression", "click", "conversion"}

// createAdTopics makes the sources of adRules.
func (r *rig) createAdTopics(prefix string) {
	r.t.Helper()
	for _, s := range adStreams {
		r.createTopics(prefix + "." + s + "s")
	}
}

// input is one record that went into a source topic.
type input struct {
	record
	stream int // rank
	kind   gen.Kind
	time   int64 // event time, microseconds
	place  place // where send has put it
}

// adStream is a stream of three days that ends about now, with everything in it that can be wrong with one.
func adStream(seed uint64, events int) gen.Config {
	c := gen.Default()
	c.Seed, c.Events, c.Users, c.Advertisers = seed, uint64(events), events/12, 5
	c.Zipf = 0.6 // the recount tries all pairs of a user's events
	c.Mix = gen.Mix{Impressions: 0.8, Clicks: 0.12, Conversions: 0.08}
	c.Spread = 3 * 24 * time.Hour
	c.Start = time.Now().Add(-c.Spread - 12*time.Hour).Truncate(time.Hour)
	c.Disorder = gen.Disorder{Share: 0.1, Max: 6 * time.Hour}
	c.Duplicates, c.Conflicts, c.ResendWithin = 0.03, 0.01, 4*time.Hour
	c.Broken = 0.01
	return c
}

// generate makes the whole of a stream, in order of arrival.
func generate(t *testing.T, c gen.Config, topics string) []input {
	t.Helper()
	t.Logf("stream starts at %s", c.Start)
	source, err := gen.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var all []input
	var rec gen.Record
	for source.Next(&rec) {
		all = append(all, input{
			record: record{
				topic: topics + "." + rec.Stream + "s", key: bytes.Clone(rec.Key), value: append([]byte{}, rec.Value...), at: time.UnixMilli(rec.Arrival / 1000),
			},
			stream: slices.Index(adStreams, rec.Stream), kind: rec.Kind, time: rec.EventTime,
		})
	}
	return all
}

// feed sends inputs and notes where they stand.
func (r *rig) feed(inputs []input) {
	r.t.Helper()
	records := make([]record, len(inputs))
	for i := range inputs {
		records[i] = inputs[i].record
	}
	for i, at := range r.send(records...) {
		inputs[i].place = at
	}
}

// recount is the batch answer over the inputs that skip does not take out.
func recount(plan *rules.Plan, inputs []input, skip map[place]bool) *processors.Recount {
	batch := processors.NewRecount(plan, nil)
	for i := range inputs {
		in := &inputs[i]
		if !skip[in.place] {
			batch.Add(in.stream, &processors.Raw{Key: in.key, Value: in.value, Origin: codecs.Origin{
				Topic: in.topic, Partition: in.place.partition, Offset: in.place.offset, Timestamp: in.at.UnixMicro()}})
		}
	}
	return batch
}

// outputTopics are the topics of a plan's rows.
func outputTopics(plan *rules.Plan) []string {
	var topics []string
	for _, rule := range plan.Rules {
		if rule.Upserts {
			topics = append(topics, rule.Into)
		}
		if rule.Deltas {
			topics = append(topics, processors.DeltasTopic(rule))
		}
	}
	return topics
}

// wantOnce holds what the output topics add up to against the batch answer, and every delta to be there once.
func (r *rig) wantOnce(plan *rules.Plan, batch *processors.Recount) {
	r.t.Helper()
	if repeated := r.wantNet(plan, batch); repeated > 0 {
		r.t.Errorf("%d deltas came more than once", repeated)
	}
}

// wantNet holds what the output topics add up to against the batch answer. It returns how many deltas came more than once.
func (r *rig) wantNet(plan *rules.Plan, batch *processors.Recount) (repeated int) {
	r.t.Helper()
	net := processors.NewNet(plan)
	byTopic := map[string][]*sarama.ConsumerMessage{}
	for _, m := range r.readOutputs(outputTopics(plan)...) {
		if err := net.Add(m.Topic, m.Key, m.Value); err != nil {
			r.t.Fatal(err)
		}
		byTopic[m.Topic] = append(byTopic[m.Topic], m)
	}
	for _, rule := range plan.Rules {
		r.wantVersions(byTopic[rule.Into])
		repeated += r.wantDeltas(byTopic[processors.DeltasTopic(rule)])
	}
	differences, rows, err := net.Compare(batch, 10)
	if err != nil {
		r.t.Fatal(err)
	}
	if rows == 0 {
		r.t.Error("the batch answer has no rows, so the comparison shows nothing")
	}
	for _, d := range differences {
		r.t.Error(d)
	}
	return repeated
}

// wantVersions checks that readers who keep the largest version keep the last row of each key, and that a version
// belongs to one row.
func (r *rig) wantVersions(upserts []*sarama.ConsumerMessage) {
	r.t.Helper()
	type version struct {
		number uint64
		value  []byte
	}
	complain := r.complaints()
	latest := map[string]version{}
	for _, m := range upserts {
		row := decode[struct {
			Version uint64 `json:"_version"`
		}](r.t, m.Value)
		before, known := latest[string(m.Key)]
		if known && (row.Version < before.number || row.Version == before.number && !bytes.Equal(before.value, m.Value)) {
			complain("%s: %s comes behind %s", m.Topic, m.Value, before.value)
		}
		latest[string(m.Key)] = version{row.Version, m.Value}
	}
}

// wantDeltas checks that a delta_id stands for one delta, and that each conversion always has one row or none, at most its
// whole credit. It returns how many deltas came again.
func (r *rig) wantDeltas(deltas []*sarama.ConsumerMessage) (repeated int) {
	r.t.Helper()
	complain := r.complaints()
	byID, rows, credit := map[string][]byte{}, map[string]int{}, map[string]int64{}
	for _, m := range deltas {
		row := decode[struct {
			ID     string `json:"delta_id"`
			Sign   int
			Credit int64
		}](r.t, m.Value)
		before, known := byID[row.ID]
		if known && !bytes.Equal(before, m.Value) {
			complain("%s: one delta_id for %s and %s", m.Topic, before, m.Value)
		}
		if known {
			repeated++
			continue
		}
		byID[row.ID] = m.Value
		conversion := string(m.Key)
		rows[conversion] += row.Sign
		credit[conversion] += row.Credit
		if n, c := rows[conversion], credit[conversion]; n < 0 || n > 1 || c != 0 && (n != 1 || c != 1_000_000) {
			complain("%s: with %s the conversion has %d rows and the credit %d", m.Topic, m.Value, n, c)
		}
	}
	return repeated
}

// Read directly or repartitioned, in memory or on disk: the same input has the same net rows.
func TestEveryRouteAndStoreEqualsBatch(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		top, topics := newRig(t, addrs), appName()
		events := 20_000
		if testing.Short() {
			events = 4_000
		}
		inputs := generate(t, adStream(seedOf(t), events), topics)
		top.createAdTopics(topics)
		top.feed(inputs)
		for _, direct := range []bool{false, true} {
			for _, store := range []string{"memory", "disk"} {
				t.Run(fmt.Sprintf("direct=%t,store=%s", direct, store), func(t *testing.T) {
					r, app := newRig(t, addrs), appName()
					plan := r.compile(adOptions{app: app, topics: topics, direct: direct,
						state: fmt.Sprintf("{store: %s, dir: %q}", store, t.TempDir())}.source())
					if plan.Keys[0].Direct != direct || plan.Keys[1].Direct != direct {
						t.Fatalf("the plan reads its streams directly: %t, want %t", plan.Keys[0].Direct, direct)
					}
					i := r.startReady(plan, app)
					r.settle(plan)
					i.stop()
					r.wantOnce(plan, recount(plan, inputs, nil))
					// Each once, though two keys that read directly both decode them.
					r.wantRejects(app, inputs)
					r.wantNoneLate(app)
				})
			}
		}
	})
}
