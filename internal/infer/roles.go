package infer

import (
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// isTime tells whether a type is one of times.
func isTime(kind string) bool { return kinds[kind].Type == codecs.Time && kind != "" }

// isKey tells whether a type can identify something.
func isKey(kind string) bool { return kind == "string" || kind == "int" }

// remarkable is the score from which on a field is worth a mention beside the one that was chosen.
const remarkable = 3

// best returns the field with the largest score above 0, of several the first, and others that are worth a mention.
func best(fields []*declared, score func(d *declared) int) (first *declared, others []string) {
	most := 0
	for _, d := range fields {
		if n := score(d); n > most {
			first, most = d, n
		}
	}
	for _, d := range fields {
		if d != first && score(d) >= remarkable {
			others = append(others, d.name)
		}
	}
	return first, others
}

// eventTime chooses the field that says when the event happened, nil where none may. A number whose name says nothing of time counts by its
// values, if no other does.
func (o *observed) eventTime(fields []*declared) (d *declared, others []string) {
	d, others = best(fields, func(d *declared) int {
		if !isTime(d.kind) {
			return 0
		}
		score := 10
		if d.has("event", "occurred", "happened") {
			score += 5
		}
		if d.has("ts", "timestamp", "time", "datetime", "at") {
			score += 3
		}
		if d.has("received", "ingested", "ingest", "processed", "processing", "server", "updated", "modified", "loaded", "inserted") {
			score -= 4
		}
		if d.has("expires", "expiry", "expiration", "until", "end", "birth", "valid", "due") {
			score -= 6
		}
		if !mostly(d.filled(), o.objects) {
			score -= 7
		}
		return max(score, 1)
	})
	if d != nil {
		return d, others
	}
	for _, number := range fields {
		if epoch, n := number.epoch(); number.kind == "int" && epoch != "time_ns" && mostly(n, number.numbers()) && mostly(number.filled(), o.objects) {
			number.kind = epoch
			number.notes = []string{"a guess by its values alone"}
			return number, nil
		}
	}
	return nil, nil
}

// identifying are last words of names of ids.
var identifying = []string{"id", "uuid", "guid", "uid"}

// id chooses the field that identifies an event, nil where none may: its values differ, but for what was sent twice.
func (o *observed) id(fields []*declared) (d *declared, others []string) {
	return best(fields, func(d *declared) int {
		const conflicting = 0.02 // share of records that came again with other content
		if !isKey(d.kind) || !mostly(d.filled(), o.objects) || float64(d.conflicts(o.Records)) > conflicting*float64(d.filled()) {
			return 0
		}
		named := slices.Contains(identifying, d.last()) || strings.HasSuffix(strings.ToLower(d.name), "id")
		own := strings.ReplaceAll(strings.ToLower(o.Name), "_", "")
		switch before := strings.Join(d.words[:max(len(d.words)-1, 0)], ""); {
		case named && before != "" && (before == own || strings.HasSuffix(own, before) || strings.HasSuffix(before, own)):
			return 6
		case named && (len(d.words) == 1 || d.has("event", "record", "message", "request", "transaction")):
			return 5
		case named:
			return 3
		case d.kind == "string" && len(d.values) > 1 && d.counts[text] == d.filled():
			return 1
		}
		return 0
	})
}

// keys are fields that a rule's key may be made of: ids of something that has several events, as far as so many samples tell.
func (o *observed) keys(fields []*declared, id *declared, otherIDs []string) (keys []*declared) {
	const many = 100
	for _, d := range fields {
		if o.objects >= many && slices.Contains(otherIDs, d.name) {
			continue
		}
		if d != id && isKey(d.kind) && mostly(d.filled(), o.objects) &&
			(slices.Contains(identifying, d.last()) || d.has("user", "cookie", "device", "customer", "account", "visitor", "session", "email", "household")) {
			keys = append(keys, d)
		}
	}
	return keys
}

// partitioning returns the field by which the topic's producers choose partitions, "" where there is none: the record's key is its text, and
// each record is where the default partitioner puts it.
func (o *observed) partitioning(fields []*declared) string {
	for _, d := range fields {
		if isKey(d.kind) && o.Partitions > 0 && o.objects > 1 && o.partitionedBy(d) {
			return d.name
		}
	}
	return ""
}

func (o *observed) partitionedBy(d *declared) bool {
	for i, raw := range d.raw {
		r := &o.Records[d.records[i]]
		value, err := unquote(raw)
		if err != nil || len(r.Key) == 0 || string(r.Key) != value || codecs.PartitionOf(r.Key, o.Partitions) != r.Partition {
			return false
		}
	}
	return len(d.raw) > 0
}
