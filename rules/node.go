package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// value is a node of the rules file and what messages call it.
type value struct {
	c     *compiler
	node  *yaml.Node
	owner string // `rule "attributed"`; empty at the top level
	path  string // "classes.PC.within"
}

// entry is one key of a mapping and its value.
type entry struct {
	name string
	key  *yaml.Node
	value
}

// scalar is a single value, with environment variables put in.
type scalar struct {
	value
	text    string // may hold secrets: for use, not for messages
	shown   string // as it stands in the file
	outside bool   // some of text came from outside the file
}

func (v value) errorf(format string, args ...any) { v.errorAt(positionOf(v.node), format, args...) }

func (v value) errorAt(at position, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	for _, prefix := range []string{v.path, v.owner} {
		if prefix != "" {
			msg = prefix + ": " + msg
		}
	}
	v.c.add(at, msg)
}

// child is a node below v.
func (v value) child(name string, n *yaml.Node) value {
	path := name
	if v.path != "" {
		path = v.path + "." + name
	}
	return value{v.c, n, v.owner, path}
}

// at renames v for messages: it is the root of something named.
func (v value) at(owner string) value { return value{v.c, v.node, owner, ""} }

// as gives v another owner.
func (v value) as(owner string) value { return value{v.c, v.node, owner, v.path} }

// entries returns a mapping's entries in the order of the file, each name once.
func (v value) entries() []entry {
	if v.node.Kind != yaml.MappingNode {
		v.errorf("must be a mapping, not %s", kindOf(v.node))
		return nil
	}
	var list []entry
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, n := v.node.Content[i], v.node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!null" {
			v.errorAt(positionOf(key), "a key must be a name, not %s", kindOf(key))
			continue
		}
		if line, ok := seen[key.Value]; ok {
			v.errorAt(positionOf(key), "%q is given twice, first in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		list = append(list, entry{key.Value, key, v.child(key.Value, n)})
	}
	return list
}

// section returns the entries of a mapping whose keys are fixed. Keys that the language will have are refused as such,
// others as unknown.
func (v value) section(known []string, later ...string) map[string]value {
	v.c.allow(v, allowed{keys: known})
	got := map[string]value{}
	for _, e := range v.entries() {
		switch {
		case slices.Contains(known, e.name):
			got[e.name] = e.value
		case slices.Contains(later, e.name):
			v.errorAt(positionOf(e.key), "%s is not supported yet", e.name)
		default:
			v.errorAt(positionOf(e.key), "unknown key %q%s", e.name, suggestion(e.name, known))
		}
	}
	return got
}

// allowed is what a rules file may say in a place: keys, words, a number, a duration. Tests hold the schema against it.
type allowed struct {
	keys, choices []string
	low, high     int64
	duration      bool
}

func (c *compiler) allow(v value, what allowed) {
	if c.told != nil {
		c.told(v, what)
	}
}

// refuse reports what is wrong with the scalar's text. Where some of the text came from outside the file the message
// says no more than that, since it might quote any part of it.
func (s scalar) refuse(msg string) { s.refuseAt(0, msg) }

// refuseAt is refuse for the character at an offset of the text.
func (s scalar) refuseAt(offset int, msg string) {
	if s.outside {
		msg = fmt.Sprintf("%q is not valid here once environment variables are put in", s.shown)
	}
	s.errorAt(s.inside(offset), "%s", msg)
}

// list returns the items of a list; a single value is a list of one.
func (v value) list() []value {
	switch {
	case v.node.Kind == yaml.MappingNode:
		v.errorf("must be a list, not %s", kindOf(v.node))
		return nil
	case v.node.Kind == yaml.ScalarNode:
		return []value{v}
	case len(v.node.Content) == 0:
		v.errorf("the list is empty")
		return nil
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = value{v.c, n, v.owner, v.path}
	}
	return items
}

// scalar returns a single value, or reports why it is none.
func (v value) scalar() (scalar, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null" {
		v.errorf("must be a single value, not %s", kindOf(v.node))
		return scalar{}, false
	}
	text, outside, err := interpolate(v.node.Value, v.c.env)
	if err != nil {
		v.errorf("%s", err)
		return scalar{}, false
	}
	return scalar{v, text, v.node.Value, outside}, true
}

// text returns a single value that is not empty.
func (v value) text() (scalar, bool) {
	s, ok := v.scalar()
	if ok && strings.TrimSpace(s.text) == "" {
		v.errorf("is empty")
		return s, false
	}
	return s, ok
}

// names returns a list of distinct names, or a single one.
func (v value) names() ([]scalar, bool) {
	items := v.list()
	var names []scalar
	ok := len(items) > 0
	for _, item := range items {
		s, good := item.text()
		if good && slices.ContainsFunc(names, func(o scalar) bool { return o.text == s.text }) {
			s.errorf("%q is given twice", s.shown)
			good = false
		}
		if ok = ok && good; good {
			names = append(names, s)
		}
	}
	return names, ok
}

// oneOf returns the index of the choice that stands there, or -1. A choice that the language will have is refused as such.
func (v value) oneOf(choices []string, later ...string) int {
	v.c.allow(v, allowed{choices: choices})
	s, ok := v.text()
	if !ok {
		return -1
	}
	if i := slices.Index(choices, s.text); i >= 0 {
		return i
	}
	if slices.Contains(later, s.text) {
		s.errorf("%s is not supported yet", s.shown)
	} else {
		s.errorf("must be %s, not %q%s", strings.Join(choices, " or "), s.shown, suggestion(s.shown, choices))
	}
	return -1
}

// duration returns microseconds.
func (v value) duration() (int64, bool) {
	v.c.allow(v, allowed{duration: true})
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	us, err := parseDuration(s.text)
	if err != nil {
		s.refuse(err.Error())
	}
	return us, err == nil
}

// size returns bytes.
func (v value) size() (int64, bool) {
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	n, err := ParseSize(s.text)
	if err != nil {
		s.refuse(err.Error())
	}
	return n, err == nil
}

// whole returns a whole number between low and high.
func (v value) whole(low, high int64) (int64, bool) {
	v.c.allow(v, allowed{low: low, high: high})
	s, ok := v.text()
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s.text, 10, 64)
	if err != nil || n < low || n > high {
		s.errorf("must be a whole number from %d to %d, not %q", low, high, s.shown)
		return 0, false
	}
	return n, true
}

// topic returns a name that Kafka accepts for a topic, with room for a suffix.
func (v value) topic(suffix string) (scalar, bool) {
	s, ok := v.text()
	if ok && !isTopic(s.text+suffix) {
		s.errorf("%q is not a topic name: up to %d letters, digits, '.', '_' and '-'", s.shown, maxTopic-len(suffix))
		return s, false
	}
	return s, ok
}

const maxTopic = 249

func isTopic(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > maxTopic {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
