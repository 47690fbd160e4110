package rules

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// Option is something that a rules file says and need not say.
type Option struct {
	File string
	Line int
	Name string // `rule "attributed": classes.PC.within`

	path []string // keys from the top; of a rule its index
}

// ruleOptions and others are the keys that can be left out; those whose entries can be, too, follow with a point.
var (
	streamOptions = []string{"where", "max_age", "max_skew", "lateness", "disorder", "late", "version", "refund_of", "invalidate"}
	ruleOptions   = []string{"max_gap", "preset", "model", "across", "unattributed", "click_after_conversion", "window_end", "instant", "per_parent", "parent", "priority", "require", "count", "budget", "dedup", "retire", "cap", "adjust_within", "let.", "join.", "classes.", "select.", "measure."}
	classOptions  = []string{"within", "min", "anchor", "parent_within", "expires", "where"}
)

// defaults are values that say what would be so anyway.
var defaults = map[string]string{"model": "last", "across": "class", "unattributed": "skip", "click_after_conversion": "ignore",
	"window_end": "include", "count": "every", "retire": "none", "late": "reject", "instant": "exclude", "per_parent": "all", "parent": "require", "min": "0", "lateness": "0", "disorder": "0", "max_skew": "1h"}

// Options returns what the file's rules say and need not say, in the order of the rules file.
func (f *TestFile) Options() ([]Option, error) {
	root, err := f.rulesNode()
	if err != nil {
		return nil, err
	}
	var list []Option
	add := func(owner string, key *yaml.Node, path ...string) {
		list = append(list, Option{File: f.rules, Line: key.Line, Name: owner, path: slices.Clone(path)})
	}
	each(valueNode(root, "streams"), func(stream, n *yaml.Node) {
		each(n, func(key, v *yaml.Node) {
			if slices.Contains(streamOptions, key.Value) && defaults[key.Value] != v.Value {
				add(fmt.Sprintf("stream %q: %s", stream.Value, key.Value), key, "streams", stream.Value, key.Value)
			}
		})
	})
	for i, rule := range valueNode(root, "rules").Content {
		owner, index := fmt.Sprintf("rule %q: ", valueNode(rule, "name").Value), fmt.Sprint(i)
		each(rule, func(key, v *yaml.Node) {
			if slices.Contains(ruleOptions, key.Value) && (defaults[key.Value] != v.Value || v.Kind != yaml.ScalarNode) {
				add(owner+key.Value, key, "rules", index, key.Value)
			}
			if !slices.Contains(ruleOptions, key.Value+".") {
				return
			}
			each(v, func(entry, n *yaml.Node) {
				add(owner+key.Value+"."+entry.Value, entry, "rules", index, key.Value, entry.Value)
				if key.Value != "classes" {
					return
				}
				each(n, func(option, v *yaml.Node) {
					if slices.Contains(classOptions, option.Value) && defaults[option.Value] != v.Value {
						add(owner+"classes."+entry.Value+"."+option.Value, option, "rules", index, "classes", entry.Value, option.Value)
					}
				})
			})
		})
	}
	return list, nil
}

// Without compiles the tests against rules that do not say o. An error is that of the tests or rules, which then cannot do without.
func (f *TestFile) Without(o Option) (*TestFile, error) {
	root, err := f.rulesNode()
	if err != nil {
		return nil, err
	}
	remove(root, o.path)
	return compileTests(f.File, f.src, func(path string, env lookup) (*Plan, error) {
		src, err := yaml.Marshal(root)
		if err != nil {
			return nil, err
		}
		return compile(path, src, env)
	})
}

func (f *TestFile) rulesNode() (*yaml.Node, error) {
	src, err := readAtMost(f.rules, maxFileBytes+1)
	if err != nil {
		return nil, fmt.Errorf("read the rules file: %w", err)
	}
	found := faults{file: f.rules}
	root := found.read(rulesFile, src)
	return root, found.err()
}

// each calls yield with the keys and values of a mapping.
func each(n *yaml.Node, yield func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		yield(n.Content[i], n.Content[i+1])
	}
}

// remove takes out what is at the end of a path.
func remove(n *yaml.Node, path []string) {
	if n.Kind == yaml.SequenceNode {
		var i int
		if _, err := fmt.Sscan(path[0], &i); err == nil && i < len(n.Content) {
			remove(n.Content[i], path[1:])
		}
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != path[0] {
			continue
		}
		if len(path) > 1 {
			remove(n.Content[i+1], path[1:])
			return
		}
		n.Content = slices.Delete(n.Content, i, i+2)
		return
	}
}
