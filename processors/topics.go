package processors

import (
	"strconv"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

// The topics and consumer groups of an app all begin with its name:
//
//	<app>.<key>                group of a key's processor
//	<app>.<key>-table          its changelog (the name that goka gives a group's table)
//	<app>.<key>-repartition    events on their way to it, unless it reads the streams' topics directly
//	<app>.intake.<stream>      group of a stream's intake
//	<app>.rejected, <app>.late what was not used

// RejectedTopic returns the topic of rejected records.
func RejectedTopic(app string) string { return app + ".rejected" }

// LateTopic returns the topic of late events.
func LateTopic(app string) string { return app + ".late" }

// DeltasTopic returns the topic of a rule's deltas.
func DeltasTopic(r *rules.Rule) string { return r.Into + ".deltas" }

// KeyGroup returns the consumer group of a key's processor.
func KeyGroup(app string, key *rules.Key) string { return app + "." + key.Name }

// ChangelogTopic returns the changelog of a key's table.
func ChangelogTopic(app string, key *rules.Key) string { return KeyGroup(app, key) + "-table" }

// RepartitionTopic returns the topic that carries events to a key's processor.
func RepartitionTopic(app string, key *rules.Key) string { return KeyGroup(app, key) + "-repartition" }

// IntakeGroup returns the consumer group of a stream's intake.
func IntakeGroup(app string, s *rules.Stream) string { return app + ".intake." + s.Name }

// TopicRole says what a topic is to a plan.
type TopicRole int

// The roles of topics. Sources and dimensions belong to somebody else and must exist; the others are created.
const (
	RoleSource      TopicRole = iota // a stream's records
	RoleDimension                    // a table's rows, compacted
	RoleRepartition                  // events and watermarks between intake and key
	RoleChangelog                    // the state of a key
	RoleUpserts                      // a rule's rows, compacted
	RoleEvents                       // deltas, late and rejected records
)

// Topic is a topic that a plan reads or writes.
type Topic struct {
	Name string
	Role TopicRole
	Key  *rules.Key // of repartition and changelog topics
}

// Settings returns what the topic is created with; of sources and tables, which belong to somebody else, what it should have.
func (t Topic) Settings() map[string]string { return t.Role.settings() }

// Foreign tells whether the topic belongs to somebody else: it must exist.
func (t Topic) Foreign() bool { return t.Role.foreign() }

// String names the role.
func (r TopicRole) String() string {
	return [...]string{"source", "table", "repartition", "changelog", "upserts", "events"}[r]
}

// compacted tells whether a topic of the role must be compacted; the others must not be.
func (r TopicRole) compacted() bool {
	return r == RoleDimension || r == RoleChangelog || r == RoleUpserts
}

// foreign tells whether topics of the role are never created.
func (r TopicRole) foreign() bool { return r == RoleSource || r == RoleDimension }

// Topics returns the topics of a plan, sources first, then in the order in which they must be created: a changelog has as
// many partitions as the inputs of its key.
func Topics(plan *rules.Plan) []Topic {
	var all []Topic
	for _, s := range plan.Streams {
		all = append(all, Topic{Name: s.Topic, Role: RoleSource})
	}
	for _, t := range plan.Tables {
		if t.Topic != "" {
			all = append(all, Topic{Name: t.Topic, Role: RoleDimension})
		}
	}
	for _, k := range plan.Keys {
		if !k.Direct {
			all = append(all, Topic{Name: RepartitionTopic(plan.App, k), Role: RoleRepartition, Key: k})
		}
		all = append(all, Topic{Name: ChangelogTopic(plan.App, k), Role: RoleChangelog, Key: k})
	}
	for _, r := range plan.Rules {
		if r.Upserts {
			all = append(all, Topic{Name: r.Into, Role: RoleUpserts})
		}
		if r.Deltas {
			all = append(all, Topic{Name: DeltasTopic(r), Role: RoleEvents})
		}
	}
	return append(all,
		Topic{Name: LateTopic(plan.App), Role: RoleEvents},
		Topic{Name: RejectedTopic(plan.App), Role: RoleEvents})
}

// tombstoneRetention is for how long a changelog keeps deletions. A table that was last written before then has missed some.
const tombstoneRetention = 7 * 24 * time.Hour

// settings returns what a topic of the role is created with, or, if it is foreign, should have been.
//
// A changelog may be cut (see Table.Trimmable), which compact alone refuses, and must not expire by the broker's clock,
// since its rows expire by event time. A restore that is slower than delete.retention.ms would miss tombstones. Repartition
// topics are cut behind the committed offsets; their records carry the time of writing, so that old events do not leave
// before they are read.
func (r TopicRole) settings() map[string]string {
	switch r {
	case RoleRepartition:
		return map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
	case RoleChangelog:
		return map[string]string{
			"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1",
			"delete.retention.ms": strconv.FormatInt(tombstoneRetention.Milliseconds(), 10), "message.timestamp.type": "CreateTime",
		}
	case RoleUpserts, RoleDimension:
		return map[string]string{"cleanup.policy": "compact"}
	default:
		return map[string]string{"cleanup.policy": "delete"}
	}
}

// Stage is a consumer group of a plan and the topics that it reads.
type Stage struct {
	Group  string
	Topics []string
}

// Stages returns the consumer groups of a plan, each behind those whose output it reads.
func Stages(plan *rules.Plan) []Stage {
	var intakes, keys []Stage
	taken := map[int]bool{}
	for _, k := range plan.Keys {
		if !k.Direct {
			keys = append(keys, Stage{KeyGroup(plan.App, k), []string{RepartitionTopic(plan.App, k)}})
			for _, rank := range k.Streams {
				if s := plan.Streams[rank]; !taken[rank] {
					taken[rank] = true
					intakes = append(intakes, Stage{IntakeGroup(plan.App, s), []string{s.Topic}})
				}
			}
			continue
		}
		var topics []string
		for _, rank := range k.Streams {
			topics = append(topics, plan.Streams[rank].Topic)
		}
		keys = append(keys, Stage{KeyGroup(plan.App, k), topics})
	}
	return append(intakes, keys...)
}
