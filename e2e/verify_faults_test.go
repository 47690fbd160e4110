package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Each kind of damage to the outputs is found, and named, and nothing else.
func TestVerifyFindsFaults(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app, direct: true}.source()
		src = oneKey(src)
		plan, file := r.compile(src), writeRules(t, src)
		rule := plan.Rules[0]
		c := adStream(seedOf(t), 6000)
		c.Conflicts = 0
		inputs := generate(t, c, app)
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		r.feed(inputs)
		r.settle(plan)
		// A user's conversion that is written to another partition than the impression.
		stray := lateProbe(app, 1, latestTime(inputs))
		stray.value = []byte(strings.Replace(string(stray.value), `"a"`, `"a","pixel_id":"x"`, 1))
		other := record{topic: app + ".conversions", key: otherPartition("probe-1"), at: stray.at,
			value: fmt.Appendf(nil, `{"conversion_id":"astray","event_ts":%d,"user_id":"probe-1","advertiser_id":"a","pixel_id":"x"}`, stray.time/1000+1)}
		r.send(stray.record, other)
		r.settle(plan)
		i.stop()
		n := len(conversionsOf(t, plan, inputs, always)) + 1
		wantVerified(t, r.verify(binary, file, 1).Rules[0], n, map[processors.Cause]int64{processors.CauseMisKeyed: 1})

		upserts := r.upsertTexts(rule)
		ids := map[string][]string{} // by class
		for key, text := range upserts {
			if strings.HasSuffix(key, "|astray") {
				continue
			}
			ids[decode[map[string]any](t, []byte(text))["class"].(string)] = append(ids[decode[map[string]any](t, []byte(text))["class"].(string)], key)
		}
		delta := func(key string, sign int) record {
			text := upserts[key]
			text = text[:strings.Index(text, `,"_op":`)] + fmt.Sprintf(`,"sign":%d,"reason":"corrected","delta_id":%q}`, sign, kafkatest.Name("id"))
			return record{topic: processors.DeltasTopic(rule), key: []byte(key), value: []byte(text)}
		}
		upsert := func(key, old, new string) record {
			text := strings.Replace(upserts[key], old, new, 1)
			if text == upserts[key] {
				t.Fatalf("%s does not have %s", text, old)
			}
			text = strings.Replace(text, `"_version":`, `"_version":9`, 1)
			return record{topic: rule.Into, key: []byte(key), value: []byte(text)}
		}
		const none = codecs.NoClass
		twice, lost, changed, version, ghost := ids["PV"][0], ids[none][0], ids["PV"][1], ids["PV"][2], ids[none][1]
		spirit := delta(ghost, 1)
		spirit.value = []byte(strings.Replace(string(spirit.value), `"conversion_id":"`, `"conversion_id":"ghost-`, 1))
		r.send(delta(twice, 1),
			delta(lost, -1), upsert(lost, `"_deleted":false`, `"_deleted":true`),
			upsert(changed, `"class":"PV"`, `"class":"PC"`),
			upsert(version, fmt.Sprintf("%q", rule.Hash), `"another"`), upsert(version, `"class":"PV"`, `"class":"PC"`),
			spirit)
		// Versions that are equal are told apart by their order; the second of these has the hash of the rules, so it is one of `unexplained`.
		got := r.verify(binary, file, 1)
		wantVerified(t, got.Rules[0], n+1, map[processors.Cause]int64{
			processors.CauseMisKeyed: 1, processors.CauseDuplicate: 1, processors.CauseLost: 1, processors.CauseUnexplained: 2, processors.CauseUnknown: 1,
		})
		for _, d := range got.Rules[0].Examples {
			if d.Cause == processors.CauseDuplicate && (!strings.HasSuffix(twice, "|"+d.Conversion) || len(d.Batch) != 1 || !strings.HasPrefix(d.Deltas[0], "+2 of ")) {
				t.Errorf("the example of a duplicate is %+v", d)
			}
		}
		r.send(upsert(version, fmt.Sprintf("%q", rule.Hash), `"another"`))
		r.sendReject(app, conversionPlace(t, inputs, changed))
		got = r.verify(binary, file, 1)
		wantVerified(t, got.Rules[0], n+1, map[processors.Cause]int64{
			processors.CauseMisKeyed: 1, processors.CauseDuplicate: 1, processors.CauseLost: 1, processors.CauseRejected: 1, processors.CauseUnknown: 1,
		})
	})
}

// otherPartition returns a record key that is hashed to another partition than the given one.
func otherPartition(key string) []byte {
	for n := 0; ; n++ {
		other := fmt.Append(nil, "other-", n)
		if codecs.PartitionOf(other, partitions) != codecs.PartitionOf([]byte(key), partitions) {
			return other
		}
	}
}

// upsertTexts returns the last row of each key of a rule.
func (r *rig) upsertTexts(rule *rules.Rule) map[string]string {
	r.t.Helper()
	texts := map[string]string{}
	for _, m := range r.read(rule.Into) {
		texts[string(m.Key)] = string(m.Value)
	}
	return texts
}

// conversionPlace returns where the conversion of an upsert's key came from.
func conversionPlace(t *testing.T, inputs []input, key string) place {
	t.Helper()
	id := key[strings.LastIndexByte(key, '|')+1:]
	for _, in := range inputs {
		if in.stream == slices.Index(adStreams, "conversion") && !in.kind.Broken() && strings.Contains(string(in.value), strconv.Quote(id)) {
			return in.place
		}
	}
	t.Fatalf("there is no conversion %s", id)
	return place{}
}

// sendReject writes a record that says that an input was rejected.
func (r *rig) sendReject(app string, at place) {
	r.t.Helper()
	m := &sarama.ProducerMessage{Topic: processors.RejectedTopic(app), Value: sarama.StringEncoder("{}")}
	for _, h := range codecs.RejectHeaders("filtered", "", "", codecs.Origin{Topic: at.topic, Partition: at.partition, Offset: at.offset}) {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	if _, _, err := r.producer.SendMessage(m); err != nil {
		r.t.Fatal(err)
	}
}
