package processors

import (
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Raw is an input record as it came. Its slices belong to whoever read it and are not kept.
type Raw struct {
	Key, Value []byte
	Headers    []codecs.Header
	Origin     codecs.Origin
}

// Reasons of rejects that are not the decoder's. They are part of the message format.
const (
	reasonOverAge    = "over_age"         // older than the stream's max_age at its Kafka timestamp
	reasonFuture     = "future_time"      // further ahead of its Kafka timestamp than max_skew
	reasonFiltered   = "filtered"         // the stream's `where` is false
	reasonExpression = "expression_error" // an expression failed on the record
	reasonMissingKey = "missing_key"      // a field of the rule's key is absent
	reasonLongKey    = "key_too_long"
	reasonMaxTouches = "max_touches" // a touch that left a full history
	reasonLate       = "late"
	reasonSkipped    = "skipped" // too old when it was read, by catch_up
)

// cleanser turns the records of one stream into events, or says why not: the first station behind a topic. It is not
// safe for concurrent use.
type cleanser struct {
	stream *rules.Stream
	dec    *codecs.Decoder
	scope  *rules.Scope
	dims   []*tables.Dimension // by index of Plan.Tables
	back   []*rules.Taking     // refunds that say how much they take back
}

func newCleanser(plan *rules.Plan, stream *rules.Stream, dims []*tables.Dimension) *cleanser {
	spec := codecs.DecodeSpec{Stream: stream.Rank, ID: stream.Declared[stream.ID], Time: stream.Declared[stream.Time], MaxBytes: MaxInputBytes}
	for _, s := range stream.Slots {
		f := codecs.Field{}
		if s.Field >= 0 {
			f = stream.Declared[s.Field]
		}
		spec.Slots = append(spec.Slots, f)
	}
	c := &cleanser{stream: stream, dec: codecs.NewDecoder(spec), scope: plan.NewScope(), dims: dims}
	for _, r := range plan.Rules {
		for _, t := range r.Takings {
			if t.Stream == stream.Rank && t.Valued {
				c.back = append(c.back, t)
			}
		}
	}
	return c
}

// clean decodes a record into ev, all but its Key, and stamps it from the tables.
func (c *cleanser) clean(r *Raw, ev *codecs.Event) *codecs.Reject {
	if err := c.dec.Decode(r.Value, ev); err != nil {
		return err.(*codecs.Reject)
	}
	ev.Origin = r.Origin
	if at := r.Origin.Timestamp; at != 0 {
		if c.stream.MaxAge > 0 && ev.Time < at-c.stream.MaxAge {
			return codecs.Rejectf(reasonOverAge, "event time %s is %s before the record's timestamp, max_age is %s",
				stamp(ev.Time), lag(at-ev.Time), lag(c.stream.MaxAge))
		}
		if ev.Time > at+c.stream.MaxSkew {
			return codecs.Rejectf(reasonFuture, "event time %s is %s after the record's timestamp, max_skew is %s",
				stamp(ev.Time), lag(ev.Time-at), lag(c.stream.MaxSkew))
		}
	}
	if c.stream.From != rules.NoSlot {
		ev.Fields[c.stream.From] = codecs.Value{}
	}
	stamped := 0
	for i, s := range c.stream.Slots {
		if s.Stamp == nil {
			continue
		}
		ev.Fields[i] = c.dims[s.Stamp.Table].Get(ev.Value(s.Stamp.Key), s.Stamp.Column, r.Origin.Timestamp)
		stamped += len(ev.Fields[i].Str)
	}
	// Room for the event and its row, which without columns of tables is no larger, is what MaxInputBytes leaves.
	if size := 2*len(r.Value) + stamped; stamped > 0 && size > 2*MaxInputBytes {
		return codecs.Rejectf(codecs.ReasonTooLarge, "%d bytes, of which %d from tables, more than the limit of %d", size, stamped, 2*MaxInputBytes)
	}
	for _, t := range c.back {
		link, value := ev.Value(t.Link), ev.Value(t.Value)
		if !link.IsNull() && !value.IsNull() && value.Num <= 0 {
			return codecs.Rejectf(reasonBadRefund, "it takes back %s of %q; it must be more than 0", codecs.AppendText(nil, value), codecs.AppendText(nil, link))
		}
	}
	if c.stream.Where == nil {
		return nil
	}
	switch pass, err := c.stream.Where.BoolEvent(c.scope, ev); {
	case err != nil:
		return codecs.Rejectf(reasonExpression, "where: %v", err)
	case !pass:
		return codecs.Rejectf(reasonFiltered, "where: %s", c.stream.Where)
	}
	return nil
}

// keyOf appends the event's key among the rules with that key.
func keyOf(dst []byte, k *rules.Key, ev *codecs.Event) ([]byte, *codecs.Reject) {
	at := len(dst)
	for i, slot := range k.Slots[ev.Stream] {
		v := ev.Value(slot)
		if v.IsNull() {
			return dst, codecs.Rejectf(reasonMissingKey, "key field %q is absent", k.Fields[i])
		}
		dst = codecs.AppendValue(dst, v)
	}
	if n := len(dst) - at; n > tables.MaxKey {
		return dst, codecs.Rejectf(reasonLongKey, "the key takes %d bytes, the limit is %d", n, tables.MaxKey)
	}
	return dst, nil
}

// rejected returns the record that tells of a reject. rule is empty where no rule in particular refused the record.
func rejected(app string, raw *Raw, r *codecs.Reject, rule string) codecs.Record {
	topic := RejectedTopic(app)
	if r.Reason == reasonLate || r.Reason == reasonSkipped {
		topic = LateTopic(app)
	}
	return codecs.Record{
		Topic: topic, Partition: -1, Key: raw.Key, Value: raw.Value,
		Headers: append(codecs.RejectHeaders(r.Reason, r.Message, rule, raw.Origin), raw.Headers...),
	}
}

func stamp(us int64) string      { return time.UnixMicro(us).UTC().Format(time.RFC3339Nano) }
func lag(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
