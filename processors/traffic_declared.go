package processors

import (
	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// typicalBytes is what a value of a type takes in a row, about: a text is taken for a UUID.
var typicalBytes = map[codecs.Kind]float64{
	codecs.String: 17, codecs.Bool: 1, codecs.Int: 5, codecs.Float: 9, codecs.Decimal: 5, codecs.Time: 9, codecs.Bytes: 17,
}

// typicalElements is how many a list, or a map, is taken to have.
const typicalElements = 4

// typicalSize is what a field takes in a row, about.
func typicalSize(f codecs.Field) float64 {
	if f.Of == nil {
		return typicalBytes[f.Type]
	}
	const header, name = 2, 8
	size := float64(header)
	switch f.Type {
	case codecs.List:
		size += typicalElements * typicalSize(f.Of.Elem)
	case codecs.Map:
		size += typicalElements * (name + typicalSize(f.Of.Elem))
	}
	for _, m := range f.Of.Fields {
		size += 1 + float64(len(m.Name)) + typicalSize(m)
	}
	return size
}

// DeclaredTraffic returns sizes of rows and keys by the types of their fields, without rates and numbers of keys.
func DeclaredTraffic(plan *rules.Plan) Traffic {
	const header = 9 // stream and time
	t := Traffic{Streams: make([]StreamTraffic, len(plan.Streams)), Keys: make([]KeyTraffic, len(plan.Keys))}
	for rank, s := range plan.Streams {
		at := &t.Streams[rank]
		at.ID = typicalBytes[s.Declared[s.ID].Type]
		at.Row = header + at.ID
		for i := range s.Kept {
			at.Row += typicalSize(fieldOf(plan, s, i))
		}
	}
	for i, k := range plan.Keys {
		rank := k.Streams[0]
		s := plan.Streams[rank]
		for _, slot := range k.Slots[rank] {
			f := s.Declared[s.ID]
			if slot >= 0 {
				f = fieldOf(plan, s, slot)
			}
			t.Keys[i].Bytes += typicalBytes[f.Type]
		}
	}
	return t
}
