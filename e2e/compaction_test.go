package e2e

import (
	"fmt"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
)

// What a broker leaves of a changelog that it compacts while an instance is at work on it is the state: an instance that
// has nothing else goes on from it, and so does one whose disk was behind.
func TestAChangelogThatTheBrokerCompacts(t *testing.T) {
	addrs := kafkatest.Apache(t) // the embedded broker does not compact
	for _, store := range []string{"memory", "disk"} {
		t.Run(store, func(t *testing.T) {
			r, app := newRig(t, addrs), appName()
			plan := r.compile(adOptions{app: app, topics: app, direct: true,
				state: fmt.Sprintf("{store: %s, dir: %q}", store, t.TempDir())}.source())
			elsewhere := r.compile(adOptions{app: app, topics: app, direct: true,
				state: fmt.Sprintf("{store: %s, dir: %q}", store, t.TempDir())}.source())
			inputs := generate(t, adStream(seedOf(t), 9000), app)
			r.createAdTopics(app)
			third := len(inputs) / 3

			i := r.startReady(plan, app)
			for n := range 4 { // commit by commit, which all say how far event time has come
				r.feed(inputs[n*third/4 : (n+1)*third/4])
				r.settle(plan)
			}
			i.stop()
			superseded := map[string]map[place]bool{}
			for _, key := range plan.Keys {
				topic := processors.ChangelogTopic(app, key)
				if superseded[topic] = r.superseded(topic); len(superseded[topic]) == 0 {
					t.Fatalf("%s has nothing to compact", topic)
				}
				r.compactEagerly(topic)
			}
			i = r.startReady(elsewhere, app) // whose records close the segments
			r.feed(inputs[third : 2*third])
			r.settle(elsewhere)
			for topic, old := range superseded {
				r.await(topic+" is compacted", func() (bool, error) {
					left := 0
					for _, m := range r.read(topic) {
						if old[place{m.Topic, m.Partition, m.Offset}] {
							left++
						}
					}
					if left == 0 {
						return true, nil
					}
					return false, fmt.Errorf("%d of %d records are left that later ones replace", left, len(old))
				})
			}
			i.stop()

			i = r.startReady(plan, app) // whose disk is behind
			r.feed(inputs[2*third:])
			r.settle(plan)
			i.stop()
			r.wantOnce(plan, recount(plan, inputs, nil))
			r.wantRejects(app, inputs)
			r.wantNoneLate(app)
		})
	}
}

// compactEagerly lets the broker compact a topic as soon and as far as it can.
func (r *rig) compactEagerly(topic string) {
	r.t.Helper()
	entries := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range map[string]string{"segment.ms": "100", "min.cleanable.dirty.ratio": "0"} {
		entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	}
	if err := r.admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false); err != nil {
		r.t.Fatal(err)
	}
}

// superseded returns where records of a changelog are whose key has a later one.
func (r *rig) superseded(topic string) map[place]bool {
	r.t.Helper()
	old, last := map[place]bool{}, map[string]place{}
	for _, m := range r.read(topic) {
		id, at := fmt.Sprint(m.Partition, "/", string(m.Key)), place{m.Topic, m.Partition, m.Offset}
		if before, ok := last[id]; ok {
			old[before] = true
		}
		last[id] = at
	}
	return old
}
