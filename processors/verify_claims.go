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
	if rule.Deltas {
		var net [][]byte
		for _, d := range c.deltas {
			if d.sum < 0 || d.sum > 1 && len(rows) < 2 {
				return false
			}
			for range d.sum {
				net = append(net, d.said)
			}
		}
		if !sameTexts(net, rows) {
			return false
		}
	}
	if !rule.Upserts {
		return true
	}
	var last [][]byte
	for _, u := range c.upserts {
		if !u.deleted {
			last = append(last, u.said)
		}
	}
	return sameTexts(last, rows)
}

// current returns what the stream says of the conversion: the net of its deltas where the rule writes any, else the last rows.
func (c *claims) current(rule *rules.Rule) (rows [][]byte) {
	if rule.Deltas {
		for _, d := range c.deltas {
			for range d.sum {
				rows = append(rows, d.said)
			}
		}
		return rows
	}
	for _, u := range c.upserts {
		if !u.deleted {
			rows = append(rows, u.said)
		}
	}
	return rows
}

// difference writes down what was found.
func (c *claims) difference(rule *rules.Rule, cause Cause) Difference {
	d := Difference{Cause: cause, Conversion: c.id, EventTime: time.UnixMicro(c.time).UTC().Format(time.RFC3339Nano), Batch: []string{}, Deltas: []string{}, Upserts: []string{}}
	for _, said := range c.all {
		d.Batch = append(d.Batch, string(said))
	}
	for _, delta := range c.deltas {
		if delta.sum != 0 {
			d.Deltas = append(d.Deltas, fmt.Sprintf("%+d of %s", delta.sum, delta.said))
		}
	}
	for _, u := range c.upserts {
		if !u.deleted {
			d.Upserts = append(d.Upserts, string(u.said))
		}
	}
	return d
}
