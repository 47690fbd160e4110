package rules

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// The keys of a line of `given` that are no streams.
const (
	givenAt        = "at"
	givenArrives   = "arrives"
	givenWatermark = "watermark"
)

// given reads what happens in a test, in order of arrival.
func (c *testCompiler) given(t *Test, v value) {
	if v.node.Kind != yaml.SequenceNode {
		v.errorf("must be a list, not %s", kindOf(v.node))
		return
	}
	now := c.file.Start
	for i, item := range v.list() {
		item = value{v.c, item.node, v.owner, fmt.Sprintf("%s[%d]", v.path, i)}
		a := c.arrival(item, now)
		if a.Arrives < now {
			item.errorf("arrives before what is written above it; the lines are in order of arrival")
		}
		if a.Label == givenWatermark && t.Order.Permuted() {
			item.errorf("a watermark has no place in other orders of arrival; nothing is late in these")
		}
		now = max(now, a.Arrives)
		a.Since = a.Arrives - c.file.Start
		t.Given = append(t.Given, a)
	}
}

// arrival reads one line; now is when the line above arrived.
func (c *testCompiler) arrival(v value, now int64) Arrival {
	a := Arrival{Line: v.node.Line, Stream: -1, Arrives: now}
	known := []string{givenAt, givenArrives, givenWatermark}
	for _, s := range c.file.Plan.Streams {
		known = append(known, s.Name)
	}
	got := v.section(known)
	var streams []*Stream
	for _, s := range c.file.Plan.Streams {
		if _, ok := got[s.Name]; ok && s.Name != givenWatermark {
			streams = append(streams, s)
		}
	}
	watermark, moves := got[givenWatermark]
	switch {
	case moves && len(got) > 1:
		v.errorf("a watermark stands alone: {watermark: 40d}")
		return a
	case moves:
		a.Label = givenWatermark
		if at, ok := c.moment(watermark); ok {
			a.Arrives = at
		}
		return a
	case len(streams) != 1:
		if len(got) > 0 || v.node.Kind == yaml.MappingNode && len(v.node.Content) == 0 {
			v.errorf("must have one event, like {at: 1h, %s: {...}}", c.file.Plan.Streams[0].Name)
		}
		return a
	}
	stream := streams[0]
	a.Stream = stream.Rank
	at, hasAt := got[givenAt]
	when := now
	if hasAt {
		when, _ = c.moment(at)
	}
	a.Arrives = max(now, when)
	if arrives, ok := got[givenArrives]; ok {
		if moment, ok := c.moment(arrives); ok {
			a.Arrives = moment
		}
	}
	a.Value, a.Label = c.record(got[stream.Name], stream, hasAt, when)
	return a
}

// moment reads a time: since the start, or RFC 3339.
func (c *testCompiler) moment(v value) (int64, bool) {
	s, ok := v.text()
	if !ok {
		return c.file.Start, false
	}
	if at, err := time.Parse(time.RFC3339, s.text); err == nil {
		return at.UnixMicro(), true
	}
	since, negative := strings.CutPrefix(s.text, "-")
	us, err := parseDuration(since)
	if err != nil {
		s.errorf("%s; a time is one like 1h30m after the start, or 2026-01-01T00:00:00Z", err)
		return c.file.Start, false
	}
	if negative {
		us = -us
	}
	return c.file.Start + us, true
}

// record turns what stands for an event into the bytes of its record, with the event time where it has none of its own. A text is the
// record as it is, and nothing is a tombstone.
func (c *testCompiler) record(v value, s *Stream, hasAt bool, at int64) (record []byte, label string) {
	label = s.Name
	if v.node.Kind == yaml.ScalarNode {
		if hasAt {
			v.errorf("a record that is no mapping has no place for at; say when it arrives")
		}
		if v.node.Tag == "!!null" {
			return nil, label
		}
		return []byte(v.node.Value), label
	}
	timeField, idField := s.Declared[s.Time].Name, s.Declared[s.ID].Name
	b := []byte{'{'}
	timed := false
	var declared []string
	for _, f := range s.Declared {
		declared = append(declared, f.Name)
	}
	for _, e := range v.entries() {
		if !slices.Contains(declared, e.name) {
			e.errorAt(positionOf(e.key), "stream %s declares no such field%s", s.Name, suggestion(e.name, declared))
		}
		if e.name == timeField {
			timed = true
			if hasAt {
				e.errorAt(positionOf(e.key), "the event time is given twice, here and as at")
			}
		}
		if e.name == idField && e.node.Kind == yaml.ScalarNode {
			label += " " + e.node.Value
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = codecs.AppendJSONString(b, e.name)
		b = appendNode(append(b, ':'), e.value)
	}
	switch {
	case hasAt && !timed:
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = codecs.AppendJSONString(b, timeField)
		b = codecs.AppendJSON(append(b, ':'), codecs.TimeValue(at))
	case !hasAt && !timed:
		v.errorf("when does it happen? add at: 1h, or %s to the record", timeField)
	}
	return append(b, '}'), label
}

// appendNode appends YAML as JSON.
func appendNode(b []byte, v value) []byte {
	n := v.node
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i, e := range v.entries() {
			if i > 0 {
				b = append(b, ',')
			}
			b = codecs.AppendJSONString(b, e.name)
			b = appendNode(append(b, ':'), e.value)
		}
		return append(b, '}')
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNode(b, v.child(fmt.Sprintf("[%d]", i), item))
		}
		return append(b, ']')
	}
	switch n.Tag {
	case "!!null":
		return append(b, "null"...)
	case "!!bool":
		return append(b, strings.ToLower(n.Value)...)
	case "!!int", "!!float":
		if !json.Valid([]byte(n.Value)) {
			v.errorf("%s is not a number in JSON; write it in plain digits, or in quotes as a text", n.Value)
		}
		return append(b, n.Value...)
	}
	return codecs.AppendJSONString(b, n.Value)
}
