package processors

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// takeEvent puts an event to the others of its key.
//
//	key's index   uvarint
//	key           uvarint length, bytes
//	flags         1 byte
//	partition     uvarint
//	row           rest; nothing where only the flags matter
func (v *verifier) takeEvent(e *topicEvent) error {
	partition := int32(0)
	if e.raw != nil {
		partition = e.raw.Origin.Partition
		if e.key == v.firstKey[e.row.Stream()] {
			v.result.accept(e.row.Stream(), e.flags)
		}
	}
	return v.events.add(maphash.Bytes(spillSeed, e.bytes), func(dst []byte) []byte {
		dst = appendText(binary.AppendUvarint(dst, uint64(e.key)), e.bytes)
		dst = binary.AppendUvarint(append(dst, byte(e.flags)), uint64(partition))
		return append(dst, e.row...)
	})
}

// verifiedEvent is an event that was read back.
type verifiedEvent struct {
	group     []byte // what events of one key begin with alike
	key       int    // index of plan.Keys
	flags     eventFlags
	partition int32
	row       codecs.Row
}

func decodeEvent(entry []byte) (e verifiedEvent, err error) {
	index, n := binary.Uvarint(entry)
	_, rest, err := cut(entry[max(n, 0):])
	if err != nil || len(rest) < 2 {
		return e, errSpill
	}
	e.group, e.key, e.flags = entry[:len(entry)-len(rest)], int(index), eventFlags(rest[0])
	partition, n := binary.Uvarint(rest[1:])
	e.partition, e.row = int32(partition), rest[1+n:]
	return e, nil
}

// recount counts the keys of one file.
func (v *verifier) recount(entries [][]byte) error {
	decoded := make([]verifiedEvent, len(entries))
	for i, entry := range entries {
		var err error
		if decoded[i], err = decodeEvent(entry); err != nil {
			return err
		}
	}
	c := recounter{v: v, eval: rules.NewEvaluator(v.plan), most: maxCombinations, totals: newTotals(v.plan)}
	var events []verifiedEvent
	err := eachGroup(len(decoded), func(i int) []byte { return decoded[i].group }, func(members []int) error {
		events = events[:0]
		for _, i := range members {
			events = append(events, decoded[i])
		}
		return c.count(events)
	})
	if err != nil {
		return err
	}
	v.result.add(c.totals, c.large)
	return nil
}

// recounter counts keys, one after the other.
type recounter struct {
	v      *verifier
	eval   *rules.Evaluator
	most   int // combinations that the definition may try
	large  int64
	totals []verifyTotals // by index of plan.Rules
}

// expected is what the batch says of a conversion.
type expected struct {
	id      string
	time    int64
	flags   expectedFlags
	rows    [][]byte // over what the app has accepted, as codecs.AppendFinal writes them
	all     [][]byte // over late events, too
	hasLate bool     // all is other than rows
}

type expectedFlags byte

const (
	inFlight     expectedFlags = 1 << iota // the key has events that the app has not committed
	misKeyed                               // events of the key are in several partitions
	refusedEvent                           // the app has rejected an event of the key that is none to reject
	overflownKey                           // touches of the key have left its full history
	forgotten                              // it is not known which events of the key were late
	eitherWay                              // late to one of several keys, which one is not known
)

// count counts one key.
func (c *recounter) count(events []verifiedEvent) error {
	key := c.v.plan.Keys[events[0].key]
	if !slices.ContainsFunc(events, func(e verifiedEvent) bool { return len(e.row) > 0 && isAttributed(key, e.row.Stream()) }) {
		return nil // as most keys have no conversion
	}
	var accepted, all []codecs.Row
	flags := expectedFlags(0)
	for _, e := range events {
		if e.flags&eventInFlight != 0 {
			flags |= inFlight
		}
		if len(e.row) == 0 {
			continue
		}
		if e.flags&eventRefused != 0 {
			flags |= refusedEvent
		}
		if e.flags&eventForgotten != 0 {
			flags |= forgotten
		}
		if key.Direct && e.partition != events[0].partition {
			flags |= misKeyed
		}
		if rank := e.row.Stream(); len(c.v.overflown) > 0 && c.v.overflown[touchName(rank, string(codecs.AppendText(nil, e.row.IDValue())))] {
			flags |= overflownKey
		}
		if all = append(all, e.row); e.flags&eventLate == 0 {
			accepted = append(accepted, e.row)
		}
	}
	if len(all) > len(accepted) && len(c.v.plan.Keys) > 1 {
		flags |= eitherWay
	}
	for _, rule := range key.Rules {
		if err := c.rule(key, rule, flags, accepted, all); err != nil {
			return err
		}
	}
	return nil
}

// isAttributed tells whether a rule of the key attributes a stream.
func isAttributed(key *rules.Key, stream int) bool {
	return slices.ContainsFunc(key.Rules, func(r *rules.Rule) bool { return r.Conversion == stream })
}

// rule hands what the batch says of a rule's conversions of one key to the comparison.
func (c *recounter) rule(key *rules.Key, rule *rules.Rule, flags expectedFlags, accepted, all []codecs.Row) error {
	index := slices.Index(c.v.plan.Rules, rule)
	if flags&inFlight != 0 {
		for _, row := range all {
			if row.Stream() != rule.Conversion || !c.v.judged(row.Time()) {
				continue
			}
			e := expected{id: string(codecs.AppendText(nil, row.IDValue())), time: row.Time(), flags: flags}
			if err := c.v.expect(index, &e); err != nil {
				return err
			}
		}
		return nil
	}
	of := map[string]*expected{}
	var order []*expected
	take := func(rows []codecs.Row, late bool) error {
		return c.outcomes(key, rule, rows, func(conv codecs.Row, credits []*codecs.Credit) error {
			id := string(codecs.AppendText(nil, conv.IDValue()))
			e := of[id]
			if e == nil {
				e = &expected{id: id, time: conv.Time(), flags: flags}
				of[id] = e
				order = append(order, e)
			}
			for _, credit := range credits {
				c.total(index, credit, conv.Time(), late, len(all) > len(accepted))
				text, err := codecs.AppendFinal(nil, credit)
				switch {
				case err != nil: // the app cannot write it either
					e.flags |= refusedEvent
				case late:
					e.all = append(e.all, text)
				default:
					e.rows = append(e.rows, text)
				}
			}
			return nil
		})
	}
	if err := take(accepted, false); err != nil {
		return err
	}
	if len(all) > len(accepted) {
		if err := take(all, true); err != nil {
			return err
		}
		for _, e := range order {
			e.hasLate = !sameTexts(e.rows, e.all)
		}
	}
	for _, e := range order {
		if !c.v.judged(e.time) {
			continue
		}
		if err := c.v.expect(index, e); err != nil {
			return err
		}
	}
	return nil
}

// total adds a row up. Where all events are the accepted ones it stands for both sides, and late is false.
func (c *recounter) total(rule int, credit *codecs.Credit, at int64, late, differ bool) {
	if !c.v.judged(at) {
		return
	}
	t := c.totals[rule].at(credit.Model, credit.Class)
	if late || !differ {
		addCredit(t.batch, credit)
	}
	if !late {
		addCredit(t.stream, credit)
	}
}

// judged tells whether conversions of a time are judged.
func (v *verifier) judged(at int64) bool { return at >= v.low && at < v.high }

// maxCombinations is how many combinations of a conversion, a touch and a parent Naive tries for a rule and key: about a second's work.
const maxCombinations = 5_000_000

// outcomes calls yield with every conversion of a key and its rows.
func (c *recounter) outcomes(key *rules.Key, rule *rules.Rule, rows []codecs.Row, yield func(conv codecs.Row, credits []*codecs.Credit) error) error {
	if combinations(rule, rows) > c.most {
		c.large++
		return c.lookUp(key, rule, rows, yield)
	}
	for _, o := range rules.Naive(c.v.plan, rule, rows) {
		var credits []*codecs.Credit
		for j, m := range rule.Models {
			// What an expression fails on is a reject, and the rows are right all the same.
			credits, _ = appendRows(credits, c.v.plan, c.eval, rule, m, o.Conversion, o.Parts[j], o.Terms)
		}
		if err := yield(o.Conversion, credits); err != nil {
			return err
		}
	}
	return nil
}

// combinations returns how many Naive tries.
func combinations(rule *rules.Rule, rows []codecs.Row) int {
	counts := map[int]int{}
	for _, row := range rows {
		counts[row.Stream()]++
	}
	sum := 0
	for stream, n := range counts {
		if stream == rule.Conversion {
			continue
		}
		if parent := rule.Parents[stream]; parent >= 0 {
			n *= counts[parent]
		}
		sum += n
	}
	return sum * counts[rule.Conversion] * len(rule.Classes)
}

// lookUp is outcomes for keys that are too large to try all combinations.
func (c *recounter) lookUp(key *rules.Key, rule *rules.Rule, rows []codecs.Row, yield func(conv codecs.Row, credits []*codecs.Credit) error) error {
	t, err := tables.Open(shapeOf(c.v.plan, key), tables.Options{Untracked: true})
	if err != nil {
		return err
	}
	defer t.Close()
	h, err := t.History([]byte("k"))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if old := h.Get(row.Stream(), row.ID()); old != nil {
			if bytes.Equal(old, row) || !c.v.plan.Streams[row.Stream()].Counts(row, old) {
				continue
			}
			h.Remove(row.Stream(), row.ID())
		}
		h.Insert(row)
	}
	conversions := rowsOf{stream: rule.Conversion}
	h.Ascend(&conversions)
	p := newPartition(c.v.plan, key, t, nil, nil)
	if rule.Counting != nil && len(conversions.rows) > 0 {
		counted, _ := p.eval.Count(rule, h, math.MinInt64, conversions.rows[0], marksOf{p, h})
		for i := range counted {
			credits, _ := p.countedRows(rule, &counted[i], h)
			if err := yield(counted[i].Conversion, credits); err != nil {
				return err
			}
		}
		return h.Err()
	}
	for _, conv := range conversions.rows {
		if p.eval.Out(rule, conv, h) {
			continue
		}
		credits, _ := p.rows(rule, conv, h)
		if err := yield(conv, credits); err != nil {
			return err
		}
	}
	return h.Err()
}

// rowsOf collects the rows of a stream.
type rowsOf struct {
	stream int
	rows   []codecs.Row
}

// Visit takes a row.
func (r *rowsOf) Visit(row codecs.Row) bool {
	if row.Stream() == r.stream {
		r.rows = append(r.rows, bytes.Clone(row))
	}
	return true
}

// sameTexts tells whether two lists have the same texts, in whatever order.
func sameTexts(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	slices.SortFunc(a, bytes.Compare)
	slices.SortFunc(b, bytes.Compare)
	return slices.EqualFunc(a, b, bytes.Equal)
}
