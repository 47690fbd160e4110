package why

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Found is what a running instance answers about a conversion that it has.
type Found struct {
	App     string   `json:"app"`
	Rules   string   `json:"rules"` // hash of the rules that it runs
	Answers []Answer `json:"answers"`
}

// NotFound is what a running instance answers about another.
type NotFound struct {
	Error  string  `json:"error"`
	Places []Place `json:"places,omitempty"`
}

// Place says which histories an instance has of a key.
type Place struct {
	Key         string  `json:"key"`
	Partitions  int32   `json:"partitions"`
	Serves      []int32 `json:"serves"`
	Restoring   []int32 `json:"restoring,omitempty"`    // that are not in service yet
	Wanted      *int32  `json:"partition,omitempty"`    // that has the key asked for, where that is known
	FinalBefore string  `json:"final_before,omitempty"` // conversions of before are final, and may have left the state
}

// PlacesOf renders places.
func PlacesOf(places []processors.Place) (list []Place) {
	for _, p := range places {
		one := Place{Key: p.Key.Name, Partitions: p.Partitions, Serves: append([]int32{}, p.Serves...), Restoring: p.Restoring}
		if p.Wanted >= 0 {
			one.Wanted = &p.Wanted
		}
		if p.Final != math.MinInt64 {
			one.FinalBefore = clock(p.Final)
		}
		list = append(list, one)
	}
	return list
}

// String says what the instance has.
func (p *Place) String() string {
	text := fmt.Sprintf("it serves %s of %d of key %s", ranges(p.Serves), p.Partitions, p.Key)
	if len(p.Restoring) > 0 {
		text += fmt.Sprintf(" and restores %s", ranges(p.Restoring))
	}
	return text
}

// ranges writes numbers, ascending ones, as people do: "partitions 0-3 and 7".
func ranges(numbers []int32) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := fmt.Sprint(numbers[i])
		if j > i {
			part = fmt.Sprintf("%d-%d", numbers[i], numbers[j])
		}
		parts, i = append(parts, part), j+1
	}
	switch {
	case len(parts) == 0:
		return "no partition"
	case len(numbers) == 1:
		return "partition " + parts[0]
	}
	return "partitions " + strings.Join(parts, ", ")
}

// OfState explains what the state of an instance has under the rules asked for. What only topics know is not there, and Unknown says so.
func OfState(plan *rules.Plan, found *processors.Findings) (list []Answer) {
	w := Writer{Plan: plan, Source: FromState}
	unfinished := slices.ContainsFunc(found.Places, func(p processors.Place) bool { return p.Unfinished || len(p.Restoring) > 0 })
	for i := range found.Held {
		h := &found.Held[i]
		c := Case{Key: h.Key, Values: h.Values, Conversion: h.Conversion, Rows: h.Rows}
		for _, r := range h.Key.Rules {
			if _, asked := h.Credits[r]; !asked {
				continue
			}
			a := w.begin(&c, r, h.Conversion)
			a.Unknown = unknown(plan, r)
			a.Partition = &h.Partition
			if h.Watermark != math.MinInt64 {
				a.Watermark = clock(h.Watermark)
			}
			for _, row := range h.Credits[r] {
				a.Rows = append(a.Rows, row)
			}
			w.explainHeld(&a, &c, r, h)
			if unfinished {
				a.Unknown["keys"] = "not all partitions were searched: there may be more conversions of this id; give the fields of its key"
			}
			list = append(list, a)
		}
	}
	return list
}

// explainHeld explains what of the touches can be explained.
func (w *Writer) explainHeld(a *Answer, c *Case, r *rules.Rule, h *processors.Held) {
	e, exact, err := h.Explain(w.Plan, r)
	if errors.Is(err, processors.ErrTooMany) {
		a.Touches, a.TakenBack = nil, nil
		a.Unknown["touches"] = "the key has too many events to say of each what it is to the conversion: `lookback why` on topics takes its time for it"
		a.Unknown["taken_back"] = a.Unknown["touches"]
		return
	}
	w.explain(a, c, h.Conversion, &e)
	if h.Capped {
		a.Unknown["touches"] = "touches have left the state before their time, by max_touches: the topics have them"
	}
	if !exact {
		a.Unknown["verdicts"] = "events that have left the state have had a say in the rows: what is said of the touches may not be all of it; the topics have the rest"
	}
}

// unknown says what no state can tell.
func unknown(plan *rules.Plan, r *rules.Rule) map[string]string {
	history := "how the rows came to be: the topic " + processors.DeltasTopic(r)
	if !r.Deltas {
		history = "how the rows came to be: the rule writes no deltas; the topic " + r.Into + " has the last rows"
	}
	return map[string]string{
		"at":        "where the records of events stand: `lookback why` on topics says it",
		"touches":   "those that no rule needs any more have left the state: the topics have them",
		"near":      "touches of other keys: `lookback why` on topics looks at all of them",
		"late":      "events that were late: the topic " + processors.LateTopic(plan.App),
		"rejected":  "records that were rejected: the topic " + processors.RejectedTopic(plan.App),
		"in_flight": "events that are not committed yet: `lookback why` on topics sees them",
		"history":   history,
	}
}
