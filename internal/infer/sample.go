// Package infer drafts entries of `streams:` from samples of records: it guesses types, event times, ids and how far out of order events
// come, and says in comments what it has guessed from what.
package infer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Record is one sample.
type Record struct {
	Value     []byte // nil: a tombstone
	Key       []byte
	Partition int32
	Timestamp int64  // the record's Kafka timestamp in microseconds; 0: it has none
	Place     string // for messages: clicks.jsonl:3
}

// Stream is what is known of one stream: its samples, in the order in which they came.
type Stream struct {
	Name       string
	Topic      string // "": not known
	Partitions int32  // of the topic; 0: not known
	Records    []Record
}

// problem is a record that is no JSON object, and what is wrong with it.
type problem struct {
	place string
	err   error
}

// observed is what the samples of a stream hold.
type observed struct {
	*Stream
	fields     []*field // in the order in which they were first seen
	byName     map[string]*field
	objects    int // records that are JSON objects
	tombstones int
	problems   []problem
}

// observe looks at all samples.
func observe(s *Stream) *observed {
	o := &observed{Stream: s, byName: map[string]*field{}}
	for i := range s.Records {
		r := &s.Records[i]
		if r.Value == nil {
			o.tombstones++
			continue
		}
		if err := o.record(i, r.Value); err != nil {
			o.problems = append(o.problems, problem{r.Place, err})
		}
	}
	return o
}

// record takes the members of one record. Nothing of a record that is no JSON object counts.
func (o *observed) record(index int, value []byte) error {
	names, values, err := Members(value)
	if err != nil {
		return err
	}
	o.objects++
	for i, name := range names {
		f := o.byName[name]
		if f == nil {
			f = newField(name)
			o.byName[name] = f
			o.fields = append(o.fields, f)
		}
		f.take(index, values[i])
	}
	return nil
}

// Members returns the names and the values of a JSON object, in its order.
func Members(value []byte) (names []string, values []json.RawMessage, err error) {
	switch {
	case len(bytes.TrimSpace(value)) == 0:
		return nil, nil, errors.New("it is empty")
	case value[0] == 0:
		return nil, nil, errors.New("it begins with a byte 0, as Avro and Protobuf with a schema registry do; Lookback reads JSON")
	case !utf8.Valid(value):
		return nil, nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if t, err := d.Token(); err != nil {
		return nil, nil, notJSON(err)
	} else if t != json.Delim('{') {
		return nil, nil, fmt.Errorf("it is %s, not an object", describe(bytes.TrimSpace(value)))
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, notJSON(err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, notJSON(err)
		}
		names, values = append(names, name.(string)), append(values, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, notJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the object")
	}
	return names, values, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is not JSON: it ends too early")
	}
	return fmt.Errorf("it is not JSON: %w", err)
}

// describe names a JSON value.
func describe(raw []byte) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
