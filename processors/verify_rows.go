package processors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Kinds of entries about a conversion.
const (
	entryExpected byte = iota
	entryDelta
	entryUpsert
)

// appendConversion begins an entry about a conversion of a rule: rule's index, the length of the id, the id, the kind and the event time.
func appendConversion(dst []byte, rule int, id string, kind byte, at int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(rule))
	dst = appendText(dst, []byte(id))
	return binary.BigEndian.AppendUint64(append(dst, kind), uint64(at))
}

func appendText(dst, text []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func conversionHash(rule int, id string) uint64 {
	return maphash.String(spillSeed, id) + uint64(rule)
}

// expect hands what the batch says of a conversion to the comparison.
func (v *verifier) expect(rule int, e *expected) error {
	return v.rows.add(conversionHash(rule, e.id), func(dst []byte) []byte {
		dst = append(appendConversion(dst, rule, e.id, entryExpected, e.time), byte(e.flags))
		lists := [][][]byte{e.rows}
		if e.hasLate {
			lists = append(lists, e.all)
		}
		for _, list := range lists {
			dst = binary.AppendUvarint(dst, uint64(len(list)))
			for _, text := range list {
				dst = appendText(dst, text)
			}
		}
		return dst
	})
}

// takeRow hands a row of an output topic to the comparison.
func (v *verifier) takeRow(index int, _ codecs.Origin, key []byte, row *codecs.WrittenRow) error {
	return v.rows.add(conversionHash(index, row.Conversion), func(dst []byte) []byte {
		if row.Sign != 0 {
			dst = append(appendConversion(dst, index, row.Conversion, entryDelta, row.EventTime), byte(row.Sign))
			return append(appendText(dst, []byte(row.DeltaID)), row.Said...)
		}
		dst = appendConversion(dst, index, row.Conversion, entryUpsert, row.EventTime)
		dst = binary.BigEndian.AppendUint64(dst, row.Version)
		flags := byte(0)
		if row.Deleted {
			flags |= 1
		}
		if row.RuleHash != v.plan.Rules[index].Hash {
			flags |= 2
		}
		return append(appendText(append(dst, flags), key), row.Said...)
	})
}

// cut takes a text off the front.
func cut(b []byte) (text, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, errSpill
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}

// compare compares the conversions of one file.
func (v *verifier) compare(entries [][]byte) error {
	type entry struct{ group, rest []byte }
	list := make([]entry, len(entries))
	for i, b := range entries {
		_, n := binary.Uvarint(b)
		_, rest, err := cut(b[max(n, 0):])
		if err != nil || len(rest) < 9 {
			return errSpill
		}
		list[i] = entry{b[:len(b)-len(rest)], rest}
	}
	c := comparison{v: v, totals: newTotals(v.plan)}
	err := eachGroup(len(list), func(i int) []byte { return list[i].group }, func(members []int) error {
		group := list[members[0]].group
		rule, n := binary.Uvarint(group)
		id, _, err := cut(group[n:])
		if err != nil {
			return err
		}
		of := claims{rule: int(rule), id: string(id)}
		for _, i := range members {
			if err := of.take(v, list[i].rest); err != nil {
				return err
			}
		}
		return c.settle(&of)
	})
	if err != nil {
		return err
	}
	v.result.add(c.totals, 0)
	return nil
}

func cutList(b []byte) (list [][]byte, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, nil, errSpill
	}
	rest = b[n:]
	for range count {
		var text []byte
		if text, rest, err = cut(rest); err != nil {
			return nil, nil, err
		}
		list = append(list, text)
	}
	return list, rest, nil
}

// comparison compares conversions, one after the other.
type comparison struct {
	v      *verifier
	totals []verifyTotals // what the stream says less what the batch over accepted events does
}

// settle judges a conversion.
func (c *comparison) settle(of *claims) error {
	if !of.judged {
		return nil
	}
	v, rule := c.v, c.v.plan.Rules[of.rule]
	if of.flags&inFlight != 0 {
		v.result.count(&v.result.Rules[of.rule].InFlight)
		return nil
	}
	cause, fromBatch := v.cause(rule, of)
	if !fromBatch && of.time < v.rowsFrom {
		v.result.count(&v.result.Rules[of.rule].RowsGone)
		return c.leaveOut(rule, of)
	}
	if !fromBatch {
		if err := c.adjust(rule, of); err != nil {
			return err
		}
	}
	if !of.expected && cause == causeNone {
		return nil // rows that were all taken back, of a time that the conversion does not have any more
	}
	v.result.settle(of.rule, cause, of.time, v.o.Examples, func() Difference { return of.difference(cause) })
	return nil
}

// cause returns why the stream says something else than the batch over all events, and whether it says what the batch over those that
// the app has accepted does.
func (v *verifier) cause(rule *rules.Rule, of *claims) (cause Cause, fromBatch bool) {
	if of.says(rule, of.rows) && (!of.repeated || v.plan.Settings.Delivery != rules.ExactlyOnce) {
		if sameTexts(of.rows, of.all) {
			return causeNone, true
		}
		return CauseLate, true
	}
	switch {
	case of.flags&eitherWay != 0 && of.says(rule, of.all):
		return causeNone, false
	case slices.ContainsFunc(of.upserts, func(u lastUpsert) bool { return u.foreign && !u.deleted }):
		return CauseRuleVersion, false
	case of.repeated || slices.ContainsFunc(of.deltas, func(d sumOfDeltas) bool { return d.sum > 1 }):
		return CauseDuplicate, false
	case !of.expected:
		return CauseUnknown, false
	case of.flags&misKeyed != 0:
		return CauseMisKeyed, false
	case of.flags&refusedEvent != 0:
		return CauseRejected, false
	case of.flags&overflownKey != 0:
		return CauseMaxTouches, false
	case of.flags&forgotten != 0:
		return CauseForgotten, false
	case len(of.rows) > 0 && len(of.current(rule)) == 0:
		return CauseLost, false
	}
	return CauseUnexplained, false
}

// adjust adds what the stream says of a conversion, less what the batch over accepted events does, to the totals.
func (c *comparison) adjust(rule *rules.Rule, of *claims) error {
	return errors.Join(c.add(rule, of, of.rows, -1, false), c.add(rule, of, of.current(rule), 1, false))
}

// leaveOut takes a conversion out of the totals.
func (c *comparison) leaveOut(rule *rules.Rule, of *claims) error {
	return errors.Join(c.add(rule, of, of.rows, -1, false), c.add(rule, of, of.all, -1, true))
}

// add adds rows to the totals a number of times, to the side of the batch or of the stream.
func (c *comparison) add(rule *rules.Rule, of *claims, rows [][]byte, times int64, batch bool) error {
	for _, said := range rows {
		var row map[string]json.RawMessage
		if err := json.Unmarshal(said, &row); err != nil {
			return err
		}
		text := func(name string) (s string) {
			_ = json.Unmarshal(row[name], &s) // what is no text has no total
			return s
		}
		total := c.totals[of.rule].at(text("model"), text("class"))
		to := total.stream
		if batch {
			to = total.batch
		}
		for _, name := range append([]string{totalCredit}, columnNames(rule.Measure)...) {
			v, err := codecs.ParseDecimal(string(row[name]))
			if err != nil {
				continue // of another version of the rule
			}
			if name == totalCredit {
				v = codecs.DecimalValue(v.Num, creditScale)
			}
			addTo(to, name, v, times)
		}
	}
	return nil
}
