package main

import (
	"encoding/json"
	"fmt"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/rules"
)

// answers explains the conversion under each key and rule.
func (q *inquiry) answers() (list []why.Answer) {
	w := why.Writer{Plan: q.plan, Source: why.FromTopics, Place: q.place}
	if len(q.files) > 0 {
		w.Source = why.FromFiles
	}
	for _, f := range q.found {
		f.Written = map[*rules.Rule][]json.RawMessage{}
		for _, row := range f.final.sorted() {
			for _, r := range f.Key.Rules {
				if row.topic == r.Into {
					f.Written[r] = append(f.Written[r], row.value)
				}
			}
		}
		list = append(list, w.Answers(&f.Case)...)
	}
	return list
}

// place says where a record stands.
func (q *inquiry) place(o codecs.Origin) string {
	if len(q.files) > 0 {
		return fmt.Sprintf("%s:%d", o.Topic, o.Offset)
	}
	return fmt.Sprintf("%s/%d@%d", o.Topic, o.Partition, o.Offset)
}
