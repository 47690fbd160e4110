package rules

import "slices"

// Only takes all rules but one out of the plan, before it is used. It tells whether there is such a rule. What is kept,
// and for how long, stays as it was.
func (p *Plan) Only(rule string) bool {
	other := func(r *Rule) bool { return r.Name != rule }
	if !slices.ContainsFunc(p.Rules, func(r *Rule) bool { return r.Name == rule }) {
		return false
	}
	p.Rules = slices.DeleteFunc(p.Rules, other)
	for _, k := range p.Keys {
		k.Rules = slices.DeleteFunc(k.Rules, other)
	}
	p.Keys = slices.DeleteFunc(p.Keys, func(k *Key) bool { return len(k.Rules) == 0 })
	return true
}
