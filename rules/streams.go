package rules

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// maxStreams is what the stream byte of a stored row can tell apart, but for the one that Rule.Counting is remembered under.
const maxStreams = 255

// defaultMaxSkew is how far event time may be ahead of a record's Kafka timestamp.
const defaultMaxSkew = 3600 * 1_000_000

// streamInfo is a stream while it is compiled.
type streamInfo struct {
	stream  *Stream
	at      value
	where   value
	late    value
	version int              // index into Declared, -1: none
	takes   map[string]value // refund_of and invalidate
	fields  map[string]int   // index into Declared, by name
	broken  bool             // its fields are at fault, so what is unknown may be no fault of who reads it
	keepAll bool
	uses    map[ref]use
}

// reservedNames cannot name a stream or a table: expressions mean something else by them.
var reservedNames = []string{touchName, "true", "false", "nil", "not", "in", "and", "or", "let", "if", "else", "matches", "contains",
	"startsWith", "endsWith"}

// entityName checks the name of a stream or a table.
func (e entry) entityName() bool {
	v := e.value
	v.node = e.key
	fault := NameFault(e.name)
	if fault != "" {
		v.errorf("%s", fault)
	}
	return fault == ""
}

func (c *compiler) declareStreams(v value) {
	entries := v.entries()
	if len(entries) == 0 {
		v.errorf("no streams")
	}
	for _, e := range entries {
		if !e.entityName() {
			continue
		}
		if len(c.plan.Streams) == maxStreams {
			e.errorf("more than %d streams", maxStreams)
			return
		}
		c.declareStream(e.name, e.value.at(`stream "`+e.name+`"`))
	}
}

func (c *compiler) declareStream(name string, v value) {
	s := &Stream{Name: name, Rank: len(c.plan.Streams), Time: -1, ID: -1, From: NoSlot, Version: NoSlot, MaxSkew: defaultMaxSkew}
	info := &streamInfo{stream: s, at: v, version: -1, uses: map[ref]use{}}
	c.plan.Streams = append(c.plan.Streams, s)
	c.streams[name] = info
	got := v.section([]string{"topic", "fields", "time", "id", "where", "max_age", "max_skew", "lateness", "disorder", "partitioned_by", "keep", "late", "version", "refund_of", "invalidate"},
		"previous_key", "dedup", "sample", "watermark", "format", "schema")
	for _, required := range []string{"topic", "fields", "time", "id"} {
		if _, ok := got[required]; !ok && v.node.Kind == yaml.MappingNode {
			v.errorf("%s is missing", required)
		}
	}
	if t, ok := got["topic"]; ok {
		if topic, ok := t.topic(""); ok {
			c.claim(topic, topic.text, `the topic of stream "`+name+`"`)
			s.Topic = topic.text
		}
	}
	if f, ok := got["fields"]; ok {
		s.Declared, info.fields, info.broken = declareFields(f)
	} else {
		info.broken = true
	}
	if t, ok := got["time"]; ok {
		s.Time = info.roleField(t, "time", codecs.Time)
	}
	if id, ok := got["id"]; ok {
		s.ID = info.roleField(id, "string or int", codecs.String, codecs.Int)
	}
	for key, to := range map[string]*int64{"max_age": &s.MaxAge, "max_skew": &s.MaxSkew, "lateness": &s.Lateness, "disorder": &s.Disorder} {
		if d, ok := got[key]; ok {
			*to, _ = d.duration()
		}
	}
	if p, ok := got["partitioned_by"]; ok {
		info.partitionedBy(p)
	}
	if k, ok := got["keep"]; ok {
		info.keepAll = k.oneOf([]string{"all"}) == 0
	}
	info.takes = map[string]value{}
	for _, key := range []string{"refund_of", "invalidate"} {
		if t, ok := got[key]; ok {
			info.takes[key] = t
		}
	}
	if v, ok := got["version"]; ok {
		if i := info.roleField(v, "int", codecs.Int); i >= 0 {
			info.version = i
			info.note(fieldRef(i), useKept)
			if i == s.ID {
				v.errorf("is the id, which no version changes")
			}
			if len(info.takes) > 0 {
				v.errorf("a stream that takes back has no versions: send what takes back more, or less, as another event")
			}
		}
	}
	if l, ok := got["late"]; ok {
		info.late = l
		if i := l.oneOf(latePolicies); i >= 0 {
			s.Late = LatePolicy(i)
		}
	}
	info.where = got["where"]
}

// declareFields reads a mapping of names to types. A field whose type is at fault is declared with kind Null, so that
// what reads it is not blamed.
func declareFields(v value) (fields []codecs.Field, byName map[string]int, broken bool) {
	byName = map[string]int{}
	entries := v.entries()
	if len(entries) == 0 {
		v.errorf("no fields")
		return nil, byName, true
	}
	for _, e := range entries {
		if !isName(e.name) {
			e.errorAt(positionOf(e.key), "%q is not a name: letters, digits and '_', not starting with a digit", e.name)
			broken = true
			continue
		}
		byName[e.name] = len(fields)
		t := e.fieldType(0)
		t.Name = e.name
		fields = append(fields, t)
	}
	return fields, byName, broken
}

// roleField reads the name of a declared field with one of the given types; it returns -1 where that failed.
func (info *streamInfo) roleField(v value, want string, kinds ...codecs.Kind) int {
	name, ok := v.text()
	if !ok {
		return -1
	}
	i, kind, err := info.field(name.text)
	switch {
	case name.text == Undecided:
		name.errorf("%s", info.undecided(want, kinds))
	case err != nil:
		name.refuse(err.Error())
	case kind == codecs.Null:
	case !slices.Contains(kinds, kind):
		name.errorf("%q is %s; it must be %s", name.shown, info.stream.Declared[i].TypeName(), want)
	default:
		return i
	}
	return -1
}

func (info *streamInfo) partitionedBy(v value) {
	names, ok := v.names()
	for _, name := range names {
		if info.roleField(name.value, "string, int or bool", codecs.String, codecs.Int, codecs.Bool) < 0 {
			ok = false
		}
		info.stream.PartitionedBy = append(info.stream.PartitionedBy, name.text)
	}
	if !ok {
		info.stream.PartitionedBy = nil
	}
}

// streamConditions compiles every stream's `where`, once tables are known.
func (c *compiler) streamConditions() {
	for _, s := range c.plan.Streams {
		info := c.streams[s.Name]
		if info.where.node == nil {
			continue
		}
		if text, ok := info.where.text(); ok {
			s.Where = c.condition(text, &names{purpose: forEvent, bare: info})
			c.note(s.Where, useDecoded)
		}
	}
}

// latePolicies checks that events are only accepted late where no row that is final can change by them.
func (c *compiler) latePolicies() {
	for _, s := range c.plan.Streams {
		info := c.streams[s.Name]
		if s.Late != LateKept {
			continue
		}
		for _, key := range sortedKeys(c.keys) {
			for _, r := range c.keys[key].rules {
				if r.conversion == info {
					info.late.errorf("%s is for touches; rule %q attributes %s, and conversions are final once they are late", LateKept, r.rule.Name, s.Name)
				}
			}
		}
		if len(info.takes) > 0 {
			info.late.errorf("%s is for touches, and this stream takes back", LateKept)
		}
	}
}
