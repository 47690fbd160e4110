package main

// app is the name of the app in rules.yaml, by which its topics and groups are called.
const app = "soak"

const partitions = 12

// role is what a stream's events are in their rule.
type role int

const (
	shown     role = iota // an ad was shown: a touch, and the parent of clicks
	clicked               // it was clicked: a touch that refers to a parent
	converted             // what the ad was for
)

// stream is an input of one of the two rules.
type stream struct {
	name    string
	topic   string
	id      string // the field that holds the id
	role    role
	rule    int // index into schemes
	keyed   bool
	account bool // has an advertiser, which is part of the key
}

// streams are the inputs in the order of rules.yaml.
var streams = []*stream{
	{name: "impression", topic: "soak.impressions", id: "impression_id", role: shown, rule: 0, account: true},
	{name: "click", topic: "soak.clicks", id: "click_id", role: clicked, rule: 0, account: true},
	{name: "conversion", topic: "soak.conversions", id: "conversion_id", role: converted, rule: 0, account: true},
	{name: "view", topic: "soak.views", id: "view_id", role: shown, rule: 1, keyed: true},
	{name: "tap", topic: "soak.taps", id: "tap_id", role: clicked, rule: 1, keyed: true},
	{name: "order", topic: "soak.orders", id: "order_id", role: converted, rule: 1, keyed: true},
}

// streamOf returns the stream of a rule that has a role.
func streamOf(rule int, r role) *stream { return streams[3*rule+int(r)] }

// Topics that the app writes.
const (
	lateTopic     = app + ".late"
	rejectedTopic = app + ".rejected"
)

// outputs are the topics that the app writes for others.
func outputs() []string {
	topics := []string{lateTopic, rejectedTopic}
	for _, s := range schemes {
		topics = append(topics, s.into, s.into+".deltas")
	}
	return topics
}

func inputs() []string {
	var topics []string
	for _, s := range streams {
		topics = append(topics, s.topic)
	}
	return topics
}

// stage is a consumer group of the app and the topics that it reads.
type stage struct {
	group  string
	topics []string
}

// stages are the groups, each behind those whose output it reads.
func stages() []stage {
	direct := stage{group: app + ".user_id"}
	all := []stage{}
	for _, s := range streams {
		if s.keyed {
			direct.topics = append(direct.topics, s.topic)
		} else {
			all = append(all, stage{app + ".intake." + s.name, []string{s.topic}})
		}
	}
	return append(all, stage{app + ".user_id-advertiser_id", []string{app + ".user_id-advertiser_id-repartition"}}, direct)
}
