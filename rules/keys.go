package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// keyInfo is a Key while it is compiled.
type keyInfo struct {
	key   *Key
	types []codecs.Kind
	rules []*ruleInfo
}

// keyOf names a rule's key among the compiler's; empty where it has none.
func keyOf(r *Rule) string {
	if r.Key == nil {
		return ""
	}
	return r.Key.Name
}

// key reads a rule's `key`, which it shares with every rule that has the same fields in the same order.
func (r *ruleInfo) key(v value) {
	fields, ok := v.names()
	if !ok || r.conversion == nil || !r.sure {
		return
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.text
		if _, _, err := r.conversion.field(f.text); err != nil {
			f.refuse(fmt.Sprintf("stream %q: %s", r.conversion.stream.Name, err))
			return
		}
	}
	id := strings.Join(names, "-")
	k := r.c.keys[id]
	if k == nil {
		k = &keyInfo{key: &Key{Name: id, Fields: names, MaxTouches: r.c.touches}, types: make([]codecs.Kind, len(fields))}
		r.c.keys[id] = k
		r.c.plan.Keys = append(r.c.plan.Keys, k.key)
	}
	r.rule.Key = k.key
	for _, s := range r.streams() {
		for i, f := range fields {
			k.field(s, i, f)
		}
		k.partitioned(s, v)
		if !slices.Contains(k.key.Streams, s.stream.Rank) {
			k.key.Streams = append(k.key.Streams, s.stream.Rank)
		}
	}
	slices.Sort(k.key.Streams)
	k.key.Rules = append(k.key.Rules, r.rule)
}

// field checks that a stream has the key's i-th field, with the type that it has elsewhere.
func (k *keyInfo) field(s *streamInfo, i int, f scalar) {
	index, kind, err := s.field(f.text)
	switch {
	case err != nil:
		f.refuse(fmt.Sprintf("stream %q: %s", s.stream.Name, err))
		return
	case kind == codecs.Null:
		return
	case kind != codecs.String && kind != codecs.Int && kind != codecs.Bool:
		f.errorf("%q is %s in stream %q; a key is string, int or bool", f.shown, s.stream.Declared[index].TypeName(), s.stream.Name)
		return
	case k.types[i] != codecs.Null && k.types[i] != kind:
		f.errorf("%q is %s in stream %q but %s in other streams of this key", f.shown, kind, s.stream.Name, k.types[i])
		return
	}
	k.types[i] = kind
	s.note(fieldRef(index), useDecoded)
}

// partitioned checks a stream's partitioning: only by a prefix of the key do all events of one key share a partition and
// the processor's partition hold whole prefixes.
func (k *keyInfo) partitioned(s *streamInfo, v value) {
	by := s.stream.PartitionedBy
	if by == nil || isPrefix(by, k.key.Fields) {
		return
	}
	v.errorf("stream %q is partitioned_by [%s], which is no prefix of this key; without partitioned_by it is repartitioned",
		s.stream.Name, strings.Join(by, ", "))
}

func isPrefix(prefix, list []string) bool {
	return len(prefix) <= len(list) && slices.Equal(prefix, list[:len(prefix)])
}

// streams are all streams that the rule reads.
func (r *ruleInfo) streams() []*streamInfo {
	list := r.own()
	for _, t := range r.takes() {
		if !slices.Contains(list, t.by) {
			list = append(list, t.by)
		}
	}
	return list
}

// own are the conversion stream, the touch streams and their parents.
func (r *ruleInfo) own() []*streamInfo {
	list := append([]*streamInfo{r.conversion}, r.touches...)
	for _, s := range r.touches {
		if p := r.parent(s); p != nil && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// resolve fills in what needs slots: key slots, access paths, retention.
func (k *keyInfo) resolve(slots []map[ref]int) {
	c, key := k.rules[0].c, k.key
	key.Slots = make([][]int, len(slots))
	key.Paths = make([][]Path, len(slots))
	key.Retention = make([]int64, len(slots))
	key.Corrected = make([]int64, len(slots))
	key.Direct = true
	by := c.plan.Streams[key.Streams[0]].PartitionedBy
	for _, rank := range key.Streams {
		s := c.plan.Streams[rank]
		for _, name := range key.Fields {
			key.Slots[rank] = append(key.Slots[rank], slots[rank][fieldRef(c.streams[s.Name].fields[name])])
		}
		key.Lateness = max(key.Lateness, s.Lateness)
		key.Direct = key.Direct && s.PartitionedBy != nil && slices.Equal(s.PartitionedBy, by)
	}
	for _, r := range k.rules {
		r.resolve(slots)
	}
	for _, rank := range key.Streams {
		if len(key.Paths[rank]) == 0 {
			key.Paths[rank] = []Path{{}}
		}
	}
}

// path returns the index of an access path into a stream, which rules share.
func (k *Key) path(stream int, p Path) int {
	i := slices.IndexFunc(k.Paths[stream], func(o Path) bool { return slices.Equal(o, p) })
	if i < 0 {
		i = len(k.Paths[stream])
		k.Paths[stream] = append(k.Paths[stream], p)
	}
	return i
}

func (k *Key) retain(stream int, us int64) { k.Retention[stream] = max(k.Retention[stream], us) }
