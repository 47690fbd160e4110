package gen

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func TestBrokenRecordsAreBroken(t *testing.T) {
	c := busy()
	c.Broken = 1
	c.Events = 2000
	g := generator(t, c)
	var r Record
	for g.Next(&r) {
		var fields map[string]any
		err := json.Unmarshal(r.Value, &fields)
		id, hasID := fields[r.Stream+"_id"]
		ts, hasTime := fields["event_ts"]
		_, isText := fields["user_id"].(string)
		ok := false
		switch r.Kind {
		case Truncated:
			ok = err != nil && r.Value[0] == '{'
		case NotJSON:
			ok = err != nil && r.Value[0] != '{'
		case Empty:
			ok = r.Value != nil && len(r.Value) == 0
		case WrongType:
			ok = err == nil && hasID && hasTime && !isText
		case MissingID:
			ok = err == nil && !hasID && hasTime && isText
		case MissingTime:
			ok = err == nil && hasID && !hasTime && isText
		case FutureTime:
			ok = err == nil && hasID && isText && ts.(float64)*1000 > float64(r.Arrival)+float64(24*time.Hour/time.Microsecond)
		}
		if !ok {
			t.Fatalf("%s: %q (%v, %v)", r.Kind, r.Value, err, id)
		}
		var line map[string]any
		err = json.Unmarshal(r.AppendLine(nil, true), &line)
		if lineBroken := err != nil; lineBroken != (r.Kind == Truncated || r.Kind == NotJSON || r.Kind == Empty) {
			t.Fatalf("line of %s: %v", r.Kind, err)
		}
	}
	if s := g.Stats(); s.Broken() != c.Events {
		t.Errorf("%d of %d are broken", s.Broken(), c.Events)
	}
}

func TestAppendLine(t *testing.T) {
	r := Record{Stream: "click", Value: []byte(`{"click_id":"c1"}`), Arrival: 1_700_000_000_123_456}
	if got, want := string(r.AppendLine(nil, false)), `{"click":{"click_id":"c1"}}`+"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if got, want := string(r.AppendLine(nil, true)), `{"click":{"click_id":"c1"},"_ts":1700000000123}`+"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// What the generator calls broken is what the decoder refuses, and for that reason.
func TestDecoderRefusesTheBroken(t *testing.T) {
	reasons := map[Kind]string{
		Truncated:   codecs.ReasonMalformedJSON,
		NotJSON:     codecs.ReasonMalformedJSON,
		Empty:       codecs.ReasonEmpty,
		WrongType:   codecs.ReasonWrongType,
		MissingID:   codecs.ReasonMissingID,
		MissingTime: codecs.ReasonMissingTime,
	}
	decoders := map[string]*codecs.Decoder{}
	for stream, amount := range map[string]string{"impression": "price", "click": "", "conversion": "value"} {
		decoders[stream] = codecs.NewDecoder(codecs.DecodeSpec{
			ID:    codecs.Field{Name: stream + "_id", Type: codecs.String},
			Time:  codecs.Field{Name: "event_ts", Type: codecs.Time},
			Slots: []codecs.Field{{Name: "user_id", Type: codecs.String}, {Name: amount, Type: codecs.Decimal}},
		})
	}
	c := busy()
	c.Events, c.Broken = 20_000, 0.3
	g := generator(t, c)
	var r Record
	var ev codecs.Event
	for g.Next(&r) {
		err := decoders[r.Stream].Decode(r.Value, &ev)
		var reject *codecs.Reject
		if errors.As(err, &reject) != (reasons[r.Kind] != "") || reject != nil && reject.Reason != reasons[r.Kind] {
			t.Fatalf("%s %s: %v", r.Kind, r.Value, err)
		}
		if err == nil && (ev.Time != r.EventTime || ev.Fields[0].Str != string(r.Key) || ev.Fields[1].IsNull() != (r.Stream == "click")) {
			t.Fatalf("%s was read as %+v", r.Value, ev)
		}
	}
}
