package codecs

import (
	"errors"
	"hash/fnv"
)

// Layout says what rows of one stream hold. Rows do not say it themselves, so what travels between instances carries the
// fingerprint: instances that run different rules must not read each other's rows as something else.
type Layout struct {
	Fields      int // kept slots
	Fingerprint uint32
}

// ErrOtherLayout is the cause where a row was written under rules that keep other fields of the stream.
var ErrOtherLayout = errors.New("written under rules that keep other fields")

// LayoutOf returns the layout of a stream's rows. A stamp is named like "campaign.name"; how a time was written in JSON
// does not matter.
func LayoutOf(stream string, kept []Field) Layout {
	name := appendString(nil, stream)
	for _, f := range kept {
		name = append(appendString(name, f.Name), byte(f.Type))
		if f.Of != nil {
			name = appendString(name, f.TypeName())
		}
	}
	h := fnv.New32a()
	h.Write(name)
	return Layout{Fields: len(kept), Fingerprint: h.Sum32()}
}
