package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// The changelog is all of the state: read back, whole or compacted, it has the keys and events that were accepted, and no
// record per event more. Once the watermark is past what rules look back to, the same topic restores to nothing of them,
// without a further event for their keys.
func TestChangelogIsTheState(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		plan := r.compile(adOptions{app: app, topics: app}.source())
		stream := adStream(seedOf(t), 4000)
		stream.Start = stream.Start.Add(-100 * 24 * time.Hour) // longer ago than the rules look back
		stream.Broken = 0
		inputs := generate(t, stream, app)
		for i := range inputs {
			inputs[i].at = time.Time{} // a backfill: old events, sent now
		}
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		r.feed(inputs)
		r.settle(plan)
		i.stop()

		accepted := distinct(t, inputs)
		for _, key := range plan.Keys {
			changelog := r.read(processors.ChangelogTopic(app, key))
			want := accepted.keys[key.Name]
			entries := entriesOf(t, changelog)
			if entries.live != accepted.events {
				t.Errorf("changelog of %s: %d events, %d were accepted", key.Name, entries.live, accepted.events)
			}
			if entries.written > len(inputs) {
				t.Errorf("changelog of %s: %d records of events for %d inputs", key.Name, entries.written, len(inputs))
			}
			if got := restoredKeys(t, plan, key, changelog); got != want {
				t.Errorf("the changelog of %s restores to %d keys, want %d", key.Name, got, want)
			}
			if got := restoredKeys(t, plan, key, compacted(changelog)); got != want {
				t.Errorf("the compacted changelog of %s restores to %d keys, want %d", key.Name, got, want)
			}
		}

		// An event of today in every source partition takes the watermark past all of that.
		today := todays(app)
		r.startReady(plan, app)
		r.feed(today)
		r.settle(plan)
		accepted = distinct(t, today)
		for _, key := range plan.Keys {
			r.await("old keys are gone from "+key.Name, func() (bool, error) {
				got := restoredKeys(t, plan, key, r.read(processors.ChangelogTopic(app, key)))
				if got != accepted.keys[key.Name] {
					return false, fmt.Errorf("%d keys, want %d", got, accepted.keys[key.Name])
				}
				return true, nil
			})
		}
	})
}

// todays are events of this hour for users of every partition.
func todays(app string) []input {
	var all []input
	covered := map[int32]bool{}
	at := time.Now().Truncate(time.Hour)
	for n := 0; len(covered) < partitions; n++ {
		user := fmt.Sprint("today-", n)
		covered[codecs.PartitionOf([]byte(user), partitions)] = true
		for rank, stream := range adStreams {
			all = append(all, input{
				record: record{topic: app + "." + stream + "s", key: []byte(user), value: fmt.Appendf(nil,
					`{"%s_id":%q,"event_ts":%d,"user_id":%q,"advertiser_id":"a","auction_id":"x","pixel_id":"p","campaign_id":"k","price":1,"value":1}`,
					stream, user, at.UnixMilli(), user)},
				stream: rank, time: at.UnixMicro(),
			})
		}
	}
	return all
}

// census counts what inputs come to without duplicates.
type census struct {
	events int
	keys   map[string]int // by name of the rule key
}

func distinct(t *testing.T, inputs []input) census {
	t.Helper()
	events, users, pairs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range inputs {
		in := &inputs[i]
		fields := decode[map[string]any](t, in.value)
		events[fmt.Sprint(in.stream, fields[adStreams[in.stream]+"_id"])] = true
		users[fmt.Sprint(fields["user_id"])] = true
		pairs[fmt.Sprint(fields["user_id"], fields["advertiser_id"])] = true
	}
	return census{len(events), map[string]int{"user_id": len(users), "user_id-advertiser_id": len(pairs)}}
}

// entries counts the records of events in a changelog, and those that are still there.
type entries struct{ written, live int }

func entriesOf(t *testing.T, changelog []*sarama.ConsumerMessage) entries {
	t.Helper()
	live, e := map[string]bool{}, entries{}
	for _, m := range changelog {
		key, err := codecs.DecodeChangelogKey(m.Key)
		if err != nil {
			t.Fatal(err)
		}
		if key.Kind == codecs.ChangelogEntry {
			e.written++
			live[string(m.Key)] = m.Value != nil
		}
	}
	for _, there := range live {
		if there {
			e.live++
		}
	}
	return e
}

// compacted is what a broker leaves in the end: the last record of each key, and no tombstones.
func compacted(changelog []*sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	type id struct {
		partition int32
		key       string
	}
	last := map[id]int64{}
	for _, m := range changelog {
		last[id{m.Partition, string(m.Key)}] = m.Offset
	}
	return slices.DeleteFunc(slices.Clone(changelog), func(m *sarama.ConsumerMessage) bool {
		return m.Value == nil || last[id{m.Partition, string(m.Key)}] != m.Offset
	})
}

// restoredKeys loads a changelog into new tables and returns how many keys they have.
func restoredKeys(t *testing.T, plan *rules.Plan, key *rules.Key, changelog []*sarama.ConsumerMessage) (keys int) {
	t.Helper()
	for n := range int32(partitions) {
		var part []*sarama.ConsumerMessage
		shape := tables.Shape{Streams: make([]tables.StreamShape, len(plan.Streams))}
		for _, m := range changelog {
			if m.Partition != n {
				continue
			}
			part = append(part, m)
			if k, err := codecs.DecodeChangelogKey(m.Key); err == nil && k.Kind == codecs.ChangelogMeta {
				meta, err := codecs.DecodeMeta(m.Value)
				if err != nil {
					t.Fatal(err)
				}
				shape.Layout = meta.Rules
			}
		}
		for _, rank := range key.Streams {
			shape.Streams[rank] = tables.StreamShape{Used: true, Fields: plan.Streams[rank].Kept, Paths: [][]int{{}}, Keep: key.Retention[rank] + key.Lateness}
		}
		table, err := tables.Open(shape, tables.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range part {
			if err := table.Load(m.Key, m.Value, m.Offset); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Loaded(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		keys += table.Keys()
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}
