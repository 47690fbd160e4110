package e2e

import (
	"bytes"
	"strconv"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/processors"
)

// refusal is a record of the rejected or the late topic.
type refusal struct {
	*sarama.ConsumerMessage
	headers map[string]string
	origin  place
}

func (r *rig) refusals(topic string) []refusal {
	r.t.Helper()
	var all []refusal
	for _, m := range r.readOutputs(topic) {
		f := refusal{ConsumerMessage: m, headers: map[string]string{}}
		for _, h := range m.Headers {
			f.headers[string(h.Key)] = string(h.Value)
		}
		partition, err := strconv.ParseInt(f.headers[codecs.HeaderPartition], 10, 32)
		if err != nil {
			r.t.Fatalf("%s: headers %v: %v", topic, f.headers, err)
		}
		offset, err := strconv.ParseInt(f.headers[codecs.HeaderOffset], 10, 64)
		if err != nil {
			r.t.Fatalf("%s: headers %v: %v", topic, f.headers, err)
		}
		f.origin = place{f.headers[codecs.HeaderTopic], int32(partition), offset}
		all = append(all, f)
	}
	return all
}

// reasons are what the broken kinds are rejected as.
var reasons = map[gen.Kind]string{
	gen.Truncated:   "malformed_json",
	gen.WrongType:   "wrong_type",
	gen.MissingID:   "missing_id",
	gen.MissingTime: "missing_time",
	gen.FutureTime:  "future_time",
	gen.Empty:       "empty",
	gen.NotJSON:     "malformed_json",
}

// wantRejects checks that each broken input, and nothing else, went to the rejected topic as it came, and why; each exactly
// once.
func (r *rig) wantRejects(app string, inputs []input) {
	r.t.Helper()
	broken := map[place]*input{}
	for i := range inputs {
		if inputs[i].kind.Broken() {
			broken[inputs[i].place] = &inputs[i]
		}
	}
	if len(broken) == 0 {
		r.t.Error("no input is broken, so the check shows nothing")
	}
	complain := r.complaints()
	seen := map[place]bool{}
	for _, f := range r.refusals(processors.RejectedTopic(app)) {
		in := broken[f.origin]
		switch {
		case in == nil:
			complain("%v was rejected (%v) and is not broken", f.origin, f.headers)
			continue
		case seen[f.origin]:
			complain("%v was rejected twice", f.origin)
		case f.headers[codecs.HeaderException] != reasons[in.kind]:
			complain("%v, a record of kind %s, was rejected as %v", f.origin, in.kind, f.headers)
		case f.headers[codecs.HeaderMessage] == "":
			complain("%v was rejected without a message", f.origin)
		case !bytes.Equal(f.Key, in.key) || !bytes.Equal(f.Value, in.value) || (f.Value == nil) != (in.value == nil):
			complain("%v was rejected as %q: %q, it came as %q: %q", f.origin, f.Key, f.Value, in.key, in.value)
		}
		seen[f.origin] = true
	}
	for at, in := range broken {
		if !seen[at] {
			complain("%v, a record of kind %s, is not in the rejected topic", at, in.kind)
		}
	}
}

// wantNoneLate checks that the late topic is empty.
func (r *rig) wantNoneLate(app string) {
	r.t.Helper()
	if late := r.refusals(processors.LateTopic(app)); len(late) > 0 {
		r.t.Errorf("%d events were late, want none; the first: %v", len(late), late[0].headers)
	}
}
