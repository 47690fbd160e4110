// Package why is the report that explains a conversion, whoever has looked it up: the files, the topics or the state of a running instance.
package why

import (
	"encoding/json"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Where the answers come from.
const (
	FromFiles  = "files"
	FromTopics = "topics"
	FromState  = "state" // of a running instance
)

// Answer explains one conversion under one rule. A list that is nil is of what the source cannot know, which Unknown says.
type Answer struct {
	Conversion Event             `json:"conversion"`
	Key        map[string]string `json:"key"`
	Rule       string            `json:"rule"`
	Source     string            `json:"source"`
	Partition  *int32            `json:"partition,omitempty"` // of the key, where the source is a state
	Watermark  string            `json:"watermark,omitempty"` // that it had reached
	Rows       []json.RawMessage `json:"rows"`
	TakenBack  []Event           `json:"taken_back"` // by what the conversion is refunded, or taken out
	Touches    []Touch           `json:"touches"`
	LeftOut    int               `json:"touches_left_out,omitempty"` // by a limit
	Near       []Event           `json:"near"`
	Late       []Event           `json:"late"`
	Rejected   []Event           `json:"rejected"`  // by the app, though by these rules they are events
	InFlight   []Event           `json:"in_flight"` // that the app has not committed; they do not count here
	History    []Change          `json:"history"`
	Unknown    map[string]string `json:"unknown,omitempty"` // what is not known, by the name of the member, and where it is to be found
}

// Event is an event of the story.
type Event struct {
	Stream string `json:"stream"`
	ID     string `json:"id"`
	Time   string `json:"time"`
	At     string `json:"at,omitempty"` // file:line, or topic/partition@offset; a state does not know it
	Detail string `json:"detail,omitempty"`
}

// Touch is a touch of the key, and what it is to the conversion.
type Touch struct {
	Event
	Lag     string        `json:"lag"` // from the touch to the conversion
	Class   string        `json:"class,omitempty"`
	Verdict rules.Verdict `json:"verdict"`
	Parent  string        `json:"parent,omitempty"`
}

// Change is what one event did to the conversion's rows.
type Change struct {
	At     string  `json:"at"`
	Event  string  `json:"event"` // that caused it; of topics, when it was written
	Deltas []Delta `json:"deltas"`
}

// Delta is a row that was added or taken back.
type Delta struct {
	Model   string          `json:"model"`
	Class   string          `json:"class"`
	Touch   string          `json:"touch"`
	TouchID json.RawMessage `json:"touch_id"`
	Sign    int             `json:"sign"`
}

// Text is the text of an id in JSON.
func Text(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// Limit keeps so many touches: those with credit, then the latest.
func (a *Answer) Limit(n int) {
	if a.LeftOut = max(0, len(a.Touches)-n); a.LeftOut > 0 {
		a.Touches = a.ranked()[:n]
	}
}
