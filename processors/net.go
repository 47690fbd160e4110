package processors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Net adds up what was written to the output topics, as a reader of them would: deltas by sign, upserts by key. It is
// not safe for concurrent use.
type Net struct {
	topics  map[string]bool            // whether the topic holds deltas; others hold upserts
	deltas  map[string]int             // sum of signs by row
	ids     map[string]bool            // delta ids that were counted
	upserts map[string]string          // last row by topic and key
	measure map[string]map[string]bool // names of measures by rule
}

// NewNet returns an empty sum over the plan's output topics.
func NewNet(plan *rules.Plan) *Net {
	n := &Net{topics: map[string]bool{}, deltas: map[string]int{}, ids: map[string]bool{}, upserts: map[string]string{}, measure: map[string]map[string]bool{}}
	for _, r := range plan.Rules {
		n.topics[r.Into] = false
		n.topics[DeltasTopic(r)] = true
		n.measure[r.Name] = map[string]bool{"credit": true}
		for _, m := range r.Measure {
			n.measure[r.Name][m.Name] = true
		}
	}
	return n
}

// Add takes a record of an output topic; those of other topics are passed over. A delta whose delta_id was counted
// before is counted once: at-least-once delivery may repeat it.
func (n *Net) Add(topic string, key, value []byte) error {
	deltas, ok := n.topics[topic]
	if !ok {
		return nil
	}
	row, err := decodeRow(value)
	if err != nil {
		return fmt.Errorf("%s: %w", topic, err)
	}
	if !deltas {
		id := topic + "\x00" + string(key)
		if row["_deleted"] == true {
			delete(n.upserts, id)
			return nil
		}
		n.upserts[id] = bare(row)
		return nil
	}
	id, _ := row["delta_id"].(string)
	if n.ids[id] {
		return nil
	}
	n.ids[id] = true
	sign := 1
	if fmt.Sprint(row["sign"]) == "-1" {
		sign = -1
		rule, _ := row["rule"].(string)
		for name := range n.measure[rule] {
			row[name] = negated(row[name])
		}
	}
	n.deltas[bare(row)] += sign
	return nil
}

func decodeRow(value []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var row map[string]any
	if err := d.Decode(&row); err != nil {
		return nil, fmt.Errorf("row %q: %w", value, err)
	}
	return row, nil
}

// bare is a row without what only one kind of output has.
func bare(row map[string]any) string {
	for _, name := range []string{"sign", "reason", "delta_id", "_op", "_version", "_deleted", "rule_hash"} {
		delete(row, name)
	}
	b, err := json.Marshal(row)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func negated(v any) any {
	number, ok := v.(json.Number)
	if !ok || number == "0" {
		return v
	}
	if positive, found := strings.CutPrefix(string(number), "-"); found {
		return json.Number(positive)
	}
	return "-" + number
}

// Compare holds the sum against the batch answer and returns the differences, at most limit of them, and how many rows
// there should be.
func (n *Net) Compare(batch *Recount, limit int) (differences []string, rows int, err error) {
	deltas, upserts := maps.Clone(n.deltas), maps.Clone(n.upserts)
	differ := func(format string, args ...any) {
		if len(differences) < limit {
			differences = append(differences, fmt.Sprintf(format, args...))
		}
	}
	err = batch.Rows(func(r *rules.Rule, c *codecs.Credit) {
		rows++
		value, failed := codecs.AppendFinal(nil, c)
		row, failed2 := decodeRow(value)
		if failed != nil || failed2 != nil {
			differ("batch row %s: %v %v", value, failed, failed2)
			return
		}
		want := bare(row)
		if r.Deltas {
			if deltas[want]--; deltas[want] != 0 {
				differ("deltas add up to %+d of %s", deltas[want]+1, want)
			}
			delete(deltas, want)
		}
		if r.Upserts {
			id := r.Into + "\x00" + string(codecs.AppendRowKey(nil, c))
			if upserts[id] != want {
				differ("last upsert is %q, batch is %q", upserts[id], want)
			}
			delete(upserts, id)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range slices.Sorted(maps.Keys(deltas)) {
		if deltas[row] != 0 {
			differ("deltas add up to %+d of %s, batch has none", deltas[row], row)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(upserts)) {
		differ("upsert %s, batch has none", upserts[id])
	}
	return differences, rows, nil
}
