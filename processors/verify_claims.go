package processors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

// claims is all that is said of one conversion.
type claims struct {
	rule     int
	id       string
	time     int64
	expected bool // the batch has it
	flags    expectedFlags
	rows     [][]byte
	all      [][]byte
	deltas   []sumOfDeltas
	upserts  []lastUpsert
	repeated bool // a delta was written twice
	judged   bool // its time is one that is judged
	ids      [][]byte
}

type sumOfDeltas struct {
	said []byte
	sum  int
}

type lastUpsert struct {
	key     []byte
	version uint64
	deleted bool
	foreign bool // written by another version of the rule
	said    []byte
}

// take takes an entry about the conversion.
func (c *claims) take(v *verifier, b []byte) error {
	kind, at, b := b[0], int64(binary.BigEndian.Uint64(b[1:])), b[9:]
	if v.judged(at) {
		c.judged = true
		c.time = at
	}
	switch kind {
	case entryExpected:
		c.expected = true
		c.flags |= expectedFlags(b[0])
		rows, rest, err := cutList(b[1:])
		if err != nil {
			return err
		}
		c.rows = append(c.rows, rows...)
		if len(rest) > 0 {
			if rows, _, err = cutList(rest); err != nil {
				return err
			}
		}
		c.all = append(c.all, rows...)
	case entryDelta:
		id, said, err := cut(b[1:])
		if err != nil {
			return err
		}
		c.delta(int(int8(b[0])), id, said)
	case entryUpsert:
		version, flags := binary.BigEndian.Uint64(b), b[8]
		key, said, err := cut(b[9:])
		if err != nil {
			return err
		}
		c.upsert(lastUpsert{key, version, flags&1 != 0, flags&2 != 0, said})
	}
	return nil
}

// delta adds a delta, once: at-least-once delivery may repeat it.
func (c *claims) delta(sign int, id, said []byte) {
	if slices.ContainsFunc(c.ids, func(have []byte) bool { return bytes.Equal(have, id) }) {
		c.repeated = true
		return
	}
	c.ids = append(c.ids, id)
	for i := range c.deltas {
		if d := &c.deltas[i]; bytes.Equal(d.said, said) {
			d.sum += sign
			return
		}
	}
	c.deltas = append(c.deltas, sumOfDeltas{said, sign})
}

// upsert keeps the row of the largest version of its key, of equal ones the last.
func (c *claims) upsert(u lastUpsert) {
	for i := range c.upserts {
		if have := &c.upserts[i]; bytes.Equal(have.key, u.key) {
			if u.version >= have.version {
				*have = u
			}
			return
		}
	}
	c.upserts = append(c.upserts, u)
}

// says tells whether the stream says these rows of the conversion, in both of the forms that the rule writes.
func (c *claims) says(rule *rules.Rule, rows [][]byte) bool {
	if rule.Deltas && (slices.ContainsFunc(c.deltas, func(d sumOfDeltas) bool { return d.sum < 0 }) || !sameTexts(c.net(), rows)) {
		return false
	}
	return !rule.Upserts || sameTexts(c.last(), rows)
}

// current returns what the stream says of the conversion: the net of its deltas where the rule writes any, else the last rows.
func (c *claims) current(rule *rules.Rule) [][]byte {
	if rule.Deltas {
		return c.net()
	}
	return c.last()
}

// net returns the rows that deltas add up to, each as often as it counts.
func (c *claims) net() (rows [][]byte) {
	for _, d := range c.deltas {
		for range d.sum {
			rows = append(rows, d.said)
		}
	}
	return rows
}

// last returns the last rows that are not deleted.
func (c *claims) last() (rows [][]byte) {
	for _, u := range c.upserts {
		if !u.deleted {
			rows = append(rows, u.said)
		}
	}
	return rows
}

// difference writes down what was found.
func (c *claims) difference(cause Cause) Difference {
	d := Difference{Cause: cause, Conversion: c.id, EventTime: time.UnixMicro(c.time).UTC().Format(time.RFC3339Nano), Deltas: []string{}}
	for _, delta := range c.deltas {
		if delta.sum != 0 {
			d.Deltas = append(d.Deltas, fmt.Sprintf("%+d of %s", delta.sum, delta.said))
		}
	}
	d.Batch, d.Upserts = asStrings(c.all), asStrings(c.last())
	return d
}

func asStrings(texts [][]byte) []string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = string(text)
	}
	return list
}
