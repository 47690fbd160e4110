package infer

import (
	"encoding/json"
	"hash/maphash"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// shape is what a JSON value is, as far as types go.
type shape int

const (
	text shape = iota
	truth
	integer
	fraction // a number with a point or an exponent
	record
	list
	shapes
)

var shapeNames = [shapes]string{"strings", "true or false", "whole numbers", "numbers with a fraction", "records", "lists"}

// field is what the samples hold of one field.
type field struct {
	name     string
	words    []string // of the name, in lower case: eventTime is event, time
	present  int      // null or not
	nulls    int
	counts   [shapes]int
	examples [shapes]json.RawMessage
	values   map[string]int // distinct values, and the first record with each
	records  []int          // by value that is not null: the record, in their order
	raw      []json.RawMessage
	latest   int // the last record that had the field
	depth    int // how many lists and records it is in
}

func newField(name string) *field {
	return &field{name: name, words: wordsOf(name), values: map[string]int{}, latest: -1}
}

// take takes the field's value in a record.
func (f *field) take(index int, raw json.RawMessage) {
	if f.latest == index {
		return // given twice, which decoding reports
	}
	f.latest = index
	f.present++
	if raw[0] == 'n' {
		f.nulls++
		return
	}
	s := shapeOf(raw)
	if f.counts[s]++; f.examples[s] == nil {
		f.examples[s] = raw
	}
	if _, known := f.values[string(raw)]; !known {
		f.values[string(raw)] = index
	}
	f.records = append(f.records, index)
	f.raw = append(f.raw, raw)
}

func shapeOf(raw []byte) shape {
	switch raw[0] {
	case '"':
		return text
	case '{':
		return record
	case '[':
		return list
	case 't', 'f':
		return truth
	}
	if strings.ContainsAny(string(raw), ".eE") {
		return fraction
	}
	return integer
}

// filled is how many records have a value.
func (f *field) filled() int { return f.present - f.nulls }

func (f *field) numbers() int { return f.counts[integer] + f.counts[fraction] }

// reads tells how many of the values of some shapes a type takes.
func (f *field) reads(as codecs.Field, of ...shape) (n int) {
	as.Name = "v"
	d := codecs.NewDecoder(codecs.DecodeSpec{Slots: []codecs.Field{as}})
	var ev codecs.Event
	for _, raw := range f.raw {
		for _, s := range of {
			if s == shapeOf(raw) && d.Decode([]byte(`{"v":`+string(raw)+`}`), &ev) == nil {
				n++
			}
		}
	}
	return n
}

// conflicts counts the records in which a value stands that another record, of other content, has too. A record that was sent twice is
// no conflict.
func (f *field) conflicts(records []Record) (n int) {
	seed := maphash.MakeSeed()
	content := map[string]uint64{}
	for i, raw := range f.raw {
		sum := maphash.Bytes(seed, records[f.records[i]].Value)
		first, known := content[string(raw)]
		if !known {
			content[string(raw)] = sum
		} else if first != sum {
			n++
		}
	}
	return n
}

// wordsOf splits a name at underscores and where lower case turns to upper case.
func wordsOf(name string) []string {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, strings.ToLower(word.String()))
			word.Reset()
		}
	}
	lower := false
	for _, c := range name {
		upper := 'A' <= c && c <= 'Z'
		switch {
		case c == '_' || c == '-' || c == '.' || c == ' ':
			end()
			lower = false
			continue
		case upper && lower:
			end()
		}
		lower = !upper
		word.WriteRune(c)
	}
	end()
	return words
}

// has tells whether the name has one of some words.
func (f *field) has(words ...string) bool {
	for _, w := range f.words {
		for _, want := range words {
			if w == want {
				return true
			}
		}
	}
	return false
}

// last is the name's last word.
func (f *field) last() string {
	if len(f.words) == 0 {
		return ""
	}
	return f.words[len(f.words)-1]
}
