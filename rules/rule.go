package rules

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// ruleInfo is a rule while it is compiled.
type ruleInfo struct {
	c          *compiler
	at         value
	rule       *Rule
	conversion *streamInfo // nil: unknown
	join       map[*streamInfo]*joinInfo
	touches    []*streamInfo // of all classes, by rank
	classes    []*classInfo
	lookback   int64
	exclusive  bool // window_end: exclude
	lets       []*let
	sure       bool // classes and joins are without fault, so that what follows from them may be judged
}

// laterKeys is what an attribute rule will be able to say.
var laterKeys = []string{"previous_key", "effective_from"}

// laterKinds are keys that make a rule of another kind.
var laterKinds = []string{"chain", "from", "union", "window", "group_by", "watermark", "wait", "sample"}

// finalFields are those that every row has, deltaFields and upsertFields what deltas and upserts have beside them.
var (
	finalFields  = []string{"rule", "model", "conversion_id", "touch_id", "touch", "class", "credit", "event_time"}
	deltaFields  = []string{"sign", "reason", "delta_id"}
	upsertFields = []string{"_op", "_version", "_deleted", "rule_hash"}
)

// rowFields are the fields that `select` and `measure` cannot name.
var rowFields = slices.Concat(finalFields, deltaFields, upsertFields)

func (c *compiler) rules(v value) {
	if v.node.Kind != yaml.SequenceNode {
		v.errorf("must be a list of rules, not %s", kindOf(v.node))
		return
	}
	named := map[string]int{}
	for i, item := range v.list() {
		item = item.at(fmt.Sprintf("rule %d", i+1))
		name := ""
		if item.node.Kind == yaml.MappingNode {
			for k := 0; k+1 < len(item.node.Content); k += 2 {
				if item.node.Content[k].Value != "name" {
					continue
				}
				s, ok := item.child("name", item.node.Content[k+1]).text()
				if !ok {
					break
				}
				name = s.shown
				item = item.at(fmt.Sprintf("rule %q", name))
				if !isTopic(s.text) {
					s.errorf("%q is not a name: letters, digits, '.', '_' and '-'", name)
				} else if line, taken := named[s.text]; taken {
					s.errorf("a rule of this name is in line %d", line)
				}
				named[s.text] = s.node.Line
				name = s.text
			}
		}
		c.rule(name, item)
	}
}

func (c *compiler) rule(name string, v value) {
	r := &ruleInfo{c: c, at: v, rule: &Rule{Name: name, Upserts: true, Deltas: true}, join: map[*streamInfo]*joinInfo{}}
	got := v.section([]string{"name", "attribute", "preset", "key", "lookback", "max_gap", "join", "classes", "window_end", "instant", "per_parent", "parent",
		"priority", "require", "let", "model", "across", "count", "budget", "dedup", "retire", "cap", "adjust_within", "select", "measure", "unattributed", "emit", "into", "click_after_conversion"}, slices.Concat(laterKeys, laterKinds)...)
	if v.node.Kind != yaml.MappingNode || isOtherKind(v.node) {
		return
	}
	for _, required := range []string{"name", "attribute", "key", "lookback", "classes", "into"} {
		if _, ok := got[required]; !ok {
			v.errorf("%s is missing", required)
		}
	}
	if a, ok := got["attribute"]; ok {
		r.conversion = r.c.stream(a)
	}
	r.windows(got)
	r.sure = true
	if classes, ok := got["classes"]; ok {
		r.declareClasses(classes)
	}
	if join, ok := got["join"]; ok {
		r.sure = r.joins(join) && r.sure
	}
	if r.sure && r.conversion != nil {
		r.checkJoins()
	}
	preset, hasPreset := got["preset"]
	if hasPreset && preset.oneOf([]string{"mediamath"}) == 0 {
		r.mediaMath(preset, got)
	}
	if lets, ok := got["let"]; ok {
		r.readLets(lets)
	}
	r.finishClasses()
	if after, ok := got["click_after_conversion"]; ok && !hasPreset {
		r.clicksAfter(after)
	}
	r.choice(got)
	r.adjustWithin(got)
	if key, ok := got["key"]; ok {
		r.key(key)
	}
	r.output(got)
	r.counting(got)
	for _, l := range r.lets {
		if !l.used {
			r.rule.Unused = append(r.rule.Unused, l.name)
		}
	}
	c.plan.Rules = append(c.plan.Rules, r.rule)
	if k := c.keys[keyOf(r.rule)]; k != nil {
		k.rules = append(k.rules, r)
	}
}

func isOtherKind(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(laterKinds, n.Content[i].Value) {
			return true
		}
	}
	return false
}

// stream reads the name of a declared stream; nil where that failed.
func (c *compiler) stream(v value) *streamInfo {
	name, ok := v.text()
	if !ok {
		return nil
	}
	s := c.streams[name.text]
	if s == nil {
		name.errorf("unknown stream %q%s", name.shown, suggestion(name.shown, sortedKeys(c.streams)))
	}
	return s
}

// keyStream returns the stream that a key of a mapping names, and the key's place for what is wrong with it; nil where there is no such stream.
func (c *compiler) keyStream(e entry) (s *streamInfo, at value) {
	at = e.value
	at.node = e.key
	if s = c.streams[e.name]; s == nil {
		at.errorf("unknown stream %q%s", e.name, suggestion(e.name, sortedKeys(c.streams)))
	}
	return s, at
}

func (r *ruleInfo) windows(got map[string]value) {
	r.lookback = -1
	if v, ok := got["lookback"]; ok {
		if us, ok := v.duration(); ok && us == 0 {
			v.errorf("must be longer than 0")
		} else if ok {
			r.lookback = us
		}
	}
	r.rule.MaxGap = max(r.lookback, 0)
	if v, ok := got["max_gap"]; ok {
		r.rule.MaxGap, _ = v.duration()
	}
	if v, ok := got["window_end"]; ok {
		r.exclusive = v.oneOf([]string{"include", "exclude"}) == 1
	}
	if v, ok := got["instant"]; ok {
		r.rule.Instant = v.oneOf([]string{"exclude", "include"}) == 1
	}
}

// choice reads what decides among candidates beside their times.
func (r *ruleInfo) choice(got map[string]value) {
	if v, ok := got["priority"]; ok {
		r.rule.Priority = r.pairValue(v, "a priority", codecs.Int, codecs.Decimal)
	}
	if v, ok := got["parent"]; ok && v.oneOf([]string{"require", "allow"}) == 1 {
		r.orphans(v)
	}
	if v, ok := got["per_parent"]; ok {
		r.rule.PerParent = PerParent(max(v.oneOf(perParents), 0))
		if r.rule.PerParent != AllOfParent && r.sure && r.conversion != nil && !slices.ContainsFunc(r.touches, func(s *streamInfo) bool { return r.parent(s) != nil }) {
			v.errorf("no touch of this rule has a join that refers to another touch stream")
		}
	}
	if v, ok := got["require"]; ok {
		if text, ok := v.text(); ok {
			r.rule.Require = r.c.condition(text, r.pairNames(forClass, r.touches))
			r.c.note(r.rule.Require, useKept)
		}
	}
}

// output reads what the rule writes, and where.
func (r *ruleInfo) output(got map[string]value) {
	if v, ok := got["model"]; ok {
		r.models(v)
	} else {
		r.rule.Models = []*Model{{Name: Last.String()}}
	}
	if v, ok := got["across"]; ok {
		r.rule.Across = v.oneOf([]string{"class", "all"}) == 1
	}
	if v, ok := got["unattributed"]; ok {
		r.rule.Unattributed = v.oneOf([]string{"emit", "skip"}) == 0
	}
	if v, ok := got["emit"]; ok {
		what := v.oneOf([]string{"upserts", "deltas", "both"})
		r.rule.Upserts, r.rule.Deltas = what != 1, what != 0
	}
	if v, ok := got["into"]; ok {
		if into, ok := v.topic(".deltas"); ok {
			r.rule.Into = into.text
			use := fmt.Sprintf("written by rule %q", r.rule.Name)
			if r.c.claim(into, into.text, use) {
				into.shown += ".deltas"
				r.c.claim(into, into.text+".deltas", use)
			}
		}
	}
	taken := map[string]bool{}
	r.rule.Select = r.columns(got["select"], taken)
	r.rule.Measure = r.columns(got["measure"], taken)
	for _, m := range r.rule.Measure {
		if k := m.Expr.kind; k != codecs.Int && k != codecs.Decimal {
			at := got["measure"].child(m.Name, valueNode(got["measure"].node, m.Name))
			at.errorf("a measure is int or decimal, so that it splits and cancels exactly; this is %s", k)
		}
	}
}

// columns reads `select` or `measure`.
func (r *ruleInfo) columns(v value, taken map[string]bool) (list []Column) {
	if v.node == nil {
		return nil
	}
	for _, e := range v.entries() {
		at := e.value
		at.node = e.key
		switch {
		case !isName(e.name):
			at.errorf("%q is not a name: letters, digits and '_', not starting with a digit", e.name)
		case slices.Contains(rowFields, e.name):
			at.errorf("every row has a field %q of its own; choose another name", e.name)
		case taken[e.name]:
			at.errorf("select has a field of this name")
		}
		taken[e.name] = true
		if x, _ := r.pairExpression(e.value, r.touches); x != nil {
			list = append(list, Column{e.name, x})
		}
	}
	return list
}

// pairNames is what an expression over pairs may read: the conversion, the given touch streams and their parents.
func (r *ruleInfo) pairNames(p purpose, touches []*streamInfo) *names {
	n := &names{purpose: p, streams: map[string]*streamInfo{}, touches: r.touches, lets: r.lets}
	if !r.sure || r.conversion == nil {
		n.streams = r.c.streams
		return n
	}
	n.streams[r.conversion.stream.Name] = r.conversion
	for _, s := range touches {
		n.streams[s.stream.Name] = s
		if p := r.parent(s); p != nil {
			n.streams[p.stream.Name] = p
		}
	}
	return n
}

// valueNode returns the value of a mapping's key.
func valueNode(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return n
}
