package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// oracle holds what the app wrote against what it should have written. It knows the records of topics and the rules as
// this package states them, and nothing of the program. Its methods may be called at the same time.
//
// It forgets a key when nothing has come in for it during a whole round, and its conversions with it. Output for
// a conversion that is forgotten, or that never was, is a difference.
type oracle struct {
	mu        sync.Mutex
	round     int
	inputs    map[string][]*part // by topic and partition
	refused   []refusal
	histories []map[string]*history
	accounts  []map[string]*account // by rule and conversion id
	deltaIDs  [2]map[string]place   // of this round and of the one before

	counts      counts
	differences int
	explained   []string
}

// counts are what was seen in all.
type counts struct {
	Events, Duplicates, Late, Rejected, Conversions, Credits, Corrections, Deltas, Upserts int
}

// place is where a record stands.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d@%d", p.topic, p.partition, p.offset) }

// part is what a partition of an input topic has got since the last check.
type part struct {
	stream  *stream
	begin   int64 // the offset of the first
	records []*input
}

// input is an input record and what became of it.
type input struct {
	event    *event // nil where it must be rejected
	reason   string // why it must be
	rejected []reject
	late     int
}

type reject struct {
	reason string
	at     place
}

// refusal is a record of the late or the rejected topic. The input record that it stands for may not have been read yet.
type refusal struct {
	reject
	from place
}

// account is what the outputs say of one conversion.
type account struct {
	partition int32
	sum       int         // of the signs
	net       map[row]int // what is left of the deltas
	deltas    []delta
	upserts   int
	version   uint64
	last      row // by the last upsert; no row where that is a delete
	lastAt    place
}

type delta struct {
	at   place
	sign int
	row  row
	id   string
}

func newOracle() *oracle {
	o := &oracle{inputs: map[string][]*part{}, deltaIDs: [2]map[string]place{{}, {}}}
	for _, s := range streams {
		parts := make([]*part, partitions)
		for i := range parts {
			parts[i] = &part{stream: s, begin: -1}
		}
		o.inputs[s.topic] = parts
	}
	for range schemes {
		o.histories = append(o.histories, map[string]*history{})
		o.accounts = append(o.accounts, map[string]*account{})
	}
	return o
}

// differ counts a difference and keeps the first ones in words.
func (o *oracle) differ(format string, args ...any) {
	const kept = 40
	if o.differences++; len(o.explained) < kept {
		o.explained = append(o.explained, fmt.Sprintf(format, args...))
	}
}

// takeInput takes over the next record of a partition of an input topic.
func (o *oracle) takeInput(r *kgo.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.inputs[r.Topic][r.Partition]
	if p.begin < 0 {
		p.begin = r.Offset
	}
	at := place{r.Topic, r.Partition, r.Offset}
	if want := p.begin + int64(len(p.records)); r.Offset != want {
		return fmt.Errorf("%s follows offset %d", at, want-1)
	}
	e, reason, err := read(p.stream, r.Value, r.Timestamp.UnixMicro())
	if err != nil {
		return fmt.Errorf("%s: %s: %w", at, r.Value, err)
	}
	p.records = append(p.records, &input{event: e, reason: reason})
	o.counts.Events++
	return nil
}

// takeOutput takes over the next committed record of a partition of an output topic.
func (o *oracle) takeOutput(r *kgo.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := place{r.Topic, r.Partition, r.Offset}
	if r.Topic == lateTopic || r.Topic == rejectedTopic {
		return o.takeReject(at, r)
	}
	for i, s := range schemes {
		if r.Topic == s.into || r.Topic == s.into+".deltas" {
			return o.takeRow(at, i, r)
		}
	}
	return fmt.Errorf("%s: not an output", at)
}

// takeReject takes over a record of the late or the rejected topic.
func (o *oracle) takeReject(at place, r *kgo.Record) error {
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	partition, err := strconv.Atoi(headers["__streams.errors.partition"])
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	offset, err := strconv.ParseInt(headers["__streams.errors.offset"], 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	from := place{headers["__streams.errors.topic"], int32(partition), offset}
	o.refused = append(o.refused, refusal{reject{headers["__streams.errors.exception"], at}, from})
	return nil
}

// find returns an input record since the last check, or nil.
func (o *oracle) find(at place) *input {
	parts := o.inputs[at.topic]
	if at.partition < 0 || int(at.partition) >= len(parts) {
		return nil
	}
	p := parts[at.partition]
	if i := at.offset - p.begin; p.begin >= 0 && i >= 0 && i < int64(len(p.records)) {
		return p.records[i]
	}
	return nil
}

// takeRow books a delta or an upsert.
func (o *oracle) takeRow(at place, rule int, r *kgo.Record) error {
	var out output
	if err := json.Unmarshal(r.Value, &out); err != nil {
		return fmt.Errorf("%s: %s: %w", at, r.Value, err)
	}
	s := schemes[rule]
	if want := s.rule + "|last|" + out.Conversion; string(r.Key) != want || out.Rule != s.rule || out.Model != "last" {
		o.differ("%s: key %q of row %s, want %q", at, r.Key, r.Value, want)
	}
	a := o.accounts[rule][out.Conversion]
	if a == nil {
		a = &account{partition: at.partition, net: map[row]int{}}
		o.accounts[rule][out.Conversion] = a
	}
	if a.partition != at.partition {
		o.differ("%s: rows of conversion %s are also in partition %d", at, out.Conversion, a.partition)
	}
	if at.topic == s.into {
		return o.takeUpsert(at, a, &out)
	}
	return o.takeDelta(at, a, &out)
}

func (o *oracle) takeDelta(at place, a *account, out *output) error {
	o.counts.Deltas++
	r, err := out.row(int64(out.Sign))
	if err != nil || out.Sign != 1 && out.Sign != -1 || out.DeltaID == "" {
		return fmt.Errorf("%s: not a delta: %+v: %w", at, out, err)
	}
	for _, ids := range o.deltaIDs {
		if before, twice := ids[out.DeltaID]; twice {
			o.differ("%s: delta id %s is also at %s", at, out.DeltaID, before)
		}
	}
	o.deltaIDs[0][out.DeltaID] = at
	if out.Sign < 0 {
		o.counts.Corrections++
	}
	a.deltas = append(a.deltas, delta{at, out.Sign, r, out.DeltaID})
	a.sum += out.Sign
	if a.sum < 0 || a.sum > 1 {
		o.differ("%s: the deltas of conversion %s come to %d here\n%s", at, out.Conversion, a.sum, a)
	}
	if a.net[r] += out.Sign; a.net[r] == 0 {
		delete(a.net, r)
	}
	return nil
}

func (o *oracle) takeUpsert(at place, a *account, out *output) error {
	o.counts.Upserts++
	r, err := out.row(1)
	if err != nil || out.Deleted == nil || *out.Deleted != (out.Op == "delete") || out.Op != "delete" && out.Op != "upsert" {
		return fmt.Errorf("%s: not an upsert: %+v: %w", at, out, err)
	}
	if a.upserts > 0 && out.Version <= a.version {
		o.differ("%s: version %d of conversion %s follows version %d at %s", at, out.Version, out.Conversion, a.version, a.lastAt)
	}
	a.upserts++
	a.version, a.lastAt, a.last = out.Version, at, r
	if *out.Deleted {
		a.last = row{}
	}
	return nil
}

// String lists what the outputs said of the conversion.
func (a *account) String() string {
	text := ""
	for _, d := range a.deltas {
		text += fmt.Sprintf("    %s %+d %s (%s)\n", d.at, d.sign, d.row, d.id)
	}
	return text + fmt.Sprintf("    last upsert %s, version %d: %s", a.lastAt, a.version, a.last)
}
