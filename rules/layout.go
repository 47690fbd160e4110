package rules

import (
	"cmp"
	"maps"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// use says what a slot is for; the smallest of its uses decides where it stands.
type use uint8

const (
	useKey     use = iota // a look-up in the state goes by it
	useKept               // a rule reads it from the state
	useDecoded            // it is read when the event enters, and not kept
)

func (info *streamInfo) note(r ref, u use) {
	if old, ok := info.uses[r]; !ok || u < old {
		info.uses[r] = u
	}
}

// note marks what an expression reads; a nil one reads nothing.
func (c *compiler) note(e *Expr, u use) {
	if e == nil {
		return
	}
	for _, r := range e.reads {
		for _, from := range r.from {
			from.stream.note(from.ref, u)
		}
	}
}

// layOut gives every stream its slots, and resolves what was found by name to them.
func (c *compiler) layOut() {
	slots := make([]map[ref]int, len(c.plan.Streams))
	for _, s := range c.plan.Streams {
		slots[s.Rank] = c.layOutStream(c.streams[s.Name])
	}
	for _, e := range c.exprs {
		for i := range e.reads {
			r := &e.reads[i]
			r.stream, r.slots = r.from[0].stream.stream.Rank, make([]int, len(slots))
			for _, from := range r.from {
				rank := from.stream.stream.Rank
				r.slots[rank] = slots[rank][from.ref]
			}
			r.from = nil
		}
	}
	for _, fields := range sortedKeys(c.keys) {
		c.keys[fields].resolve(slots)
	}
}

// acceptedFrom stands for what Stream.From holds. It is the last of the kept slots.
var acceptedFrom = ref{field: -1, table: -1}

// layOutStream orders the slots by use, then by name, so that neither the order of fields in the file nor that of rules
// changes what a stored row means.
func (c *compiler) layOutStream(info *streamInfo) map[ref]int {
	s := info.stream
	slots := map[ref]int{fieldRef(s.ID): codecs.SlotID, fieldRef(s.Time): codecs.SlotTime}
	if info.keepAll {
		for i := range s.Declared {
			info.note(fieldRef(i), useKept)
		}
	}
	for r := range maps.Clone(info.uses) {
		if r.table >= 0 {
			info.note(fieldRef(r.field), useDecoded)
		}
	}
	column := func(r ref) (table, name string) {
		if r.table < 0 {
			return "", ""
		}
		t := c.plan.Tables[r.table]
		return t.Name, t.Columns[r.column].Name
	}
	order := slices.SortedFunc(maps.Keys(info.uses), func(a, b ref) int {
		tableA, columnA := column(a)
		tableB, columnB := column(b)
		return cmp.Or(cmp.Compare(info.uses[a], info.uses[b]), cmp.Compare(tableA, tableB), cmp.Compare(columnA, columnB),
			cmp.Compare(s.Declared[a.field].Name, s.Declared[b.field].Name))
	})
	order = slices.DeleteFunc(order, func(r ref) bool { return r == fieldRef(s.ID) || r == fieldRef(s.Time) })
	s.Kept = slices.IndexFunc(order, func(r ref) bool { return info.uses[r] == useDecoded })
	if s.Kept < 0 {
		s.Kept = len(order)
	}
	if s.Late == LateKept {
		s.From = s.Kept
		order = slices.Insert(order, s.Kept, acceptedFrom)
		s.Kept++
	}
	for i, r := range order {
		slots[r] = i
	}
	if info.version >= 0 {
		s.Version = slots[fieldRef(info.version)]
	}
	for _, r := range order {
		if r == acceptedFrom {
			s.Slots = append(s.Slots, Slot{Field: -1})
			continue
		}
		slot := Slot{Field: r.field}
		if r.table >= 0 {
			slot = Slot{Field: -1, Stamp: &Stamp{Table: r.table, Column: r.column, Key: slots[fieldRef(r.field)]}}
		}
		s.Slots = append(s.Slots, slot)
	}
	return slots
}
