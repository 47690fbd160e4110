package tables

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// pending collects the changes since the last commit, coalesced: an entry that changes twice is written once.
type pending struct {
	off     bool
	buf     []byte // keys and values of the entries
	entries []entry
	lookup  index    // hash of the entry's key -> 1 + index into entries
	keys    []uint32 // hashes of the keys whose blocks are pinned
	dues    dues     // disk only: visits that were scheduled
	done    []byte   // disk only: disk keys of schedules that were carried out, each behind its length
}

type entry struct {
	at, split, end int // the entry's key is buf[at:split], its value buf[split:end]
	op             byte
}

const (
	opPut    = iota + 1
	opMark   // the key's mark
	opRemove // leaves the state, and the changelog with a tombstone
	opExpire // leaves the local state only: the changelog is trimmed, and a restore drops what is due
)

func (p *pending) reset() {
	p.buf, p.entries, p.keys, p.done = p.buf[:0], p.entries[:0], p.keys[:0], p.done[:0]
	p.dues.reset()
	if len(p.lookup.slots) > 1<<16 {
		p.lookup = index{}
		return
	}
	clear(p.lookup.slots)
	p.lookup.n = 0
}

func (p *pending) key(e *entry) []byte   { return p.buf[e.at:e.split] }
func (p *pending) value(e *entry) []byte { return p.buf[e.split:e.end] }

func (p *pending) each(f func(e *entry)) {
	for i := range p.entries {
		f(&p.entries[i])
	}
}

// put records that a row was written.
func (p *pending) put(h *History, row codecs.Row) {
	if p.off {
		return
	}
	p.pin(h)
	at := len(p.buf)
	p.buf = codecs.AppendEntryKey(p.buf, h.key, row.Stream(), row.ID())
	split := len(p.buf)
	p.buf = codecs.AppendEntry(p.buf, row)
	p.add(entry{at, split, len(p.buf), opPut})
}

// remove records that a row was taken out for good.
func (p *pending) remove(h *History, stream int, id []byte) { p.leave(h, stream, id, opRemove) }

// expire records that a row is due and has left.
func (p *pending) expire(h *History, row codecs.Row) { p.leave(h, row.Stream(), row.ID(), opExpire) }

func (p *pending) leave(h *History, stream int, id []byte, op byte) {
	if p.off {
		return
	}
	p.pin(h)
	at := len(p.buf)
	p.buf = codecs.AppendEntryKey(p.buf, h.key, stream, id)
	p.add(entry{at, len(p.buf), len(p.buf), op})
}

// mark records that the key's flag has changed.
func (p *pending) mark(h *History) {
	if p.off {
		return
	}
	p.pin(h)
	at := len(p.buf)
	p.buf = codecs.AppendMarkKey(p.buf, h.key)
	split := len(p.buf)
	p.buf = codecs.AppendMark(p.buf, codecs.Mark{})
	p.add(entry{at, split, len(p.buf), opMark})
}

func (p *pending) pin(h *History) {
	if h.addr != 0 && h.blk[blkFlags]&flagPending == 0 {
		h.blk[blkFlags] |= flagPending
		p.keys = append(p.keys, h.hash)
	}
}

func (p *pending) add(e entry) {
	hash := hash32(p.key(&e))
	for pr := p.lookup.probe(hash); ; {
		i := p.lookup.candidate(&pr)
		if i == 0 {
			break
		}
		if old := &p.entries[i-1]; bytes.Equal(p.key(old), p.key(&e)) {
			if e.op == opExpire {
				e.op = opRemove // the changelog may hold an earlier version that is not due
			}
			*old = e
			return
		}
	}
	p.entries = append(p.entries, e)
	p.lookup.insert(hash, uint32(len(p.entries)))
}

// appendItem appends b behind its length.
func appendItem(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

var errItems = errors.New("a list ends within an item")

// items calls f with what appendItem put into b.
func items(b []byte, f func(item []byte) error) error {
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return errItems
		}
		if err := f(b[w : w+int(n)]); err != nil {
			return err
		}
		b = b[w+int(n):]
	}
	return nil
}
