package tables

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// dues are visits of keys, by bucket, on their way to the disk. There the keys that were scheduled together for one bucket share
// entries: were each an entry of its own, these would be as many as the rows, and as much work for the store.
type dues struct {
	buf  []byte
	list []due
}

type due struct {
	bucket  int64
	at, end int // the key is buf[at:end]
}

// packBytes is how large a list of keys becomes, about, before the next one begins.
const packBytes = 16 << 10

func (d *dues) reset() { d.buf, d.list = d.buf[:0], d.list[:0] }

// add schedules a visit of a key, which is copied.
func (d *dues) add(bucket int64, key []byte) {
	at := len(d.buf)
	d.buf = append(d.buf, key...)
	d.list = append(d.list, due{bucket, at, len(d.buf)})
}

// each calls set with the disk entries of the visits. commit tells them from those of other commits.
func (d *dues) each(commit uint64, set func(key, value []byte) error) error {
	key := func(v due) []byte { return d.buf[v.at:v.end] }
	slices.SortFunc(d.list, func(a, b due) int {
		if c := cmp.Compare(a.bucket, b.bucket); c != 0 {
			return c
		}
		return bytes.Compare(key(a), key(b))
	})
	p := packer{commit: commit, set: set}
	for i, v := range d.list {
		if i > 0 && d.list[i-1].bucket == v.bucket && bytes.Equal(key(d.list[i-1]), key(v)) {
			continue
		}
		if err := p.add(v.bucket, key(v)); err != nil {
			return err
		}
	}
	return p.end()
}

// packer puts keys that come in the order of their buckets into lists.
type packer struct {
	commit uint64
	set    func(key, value []byte) error

	bucket int64
	part   uint32
	keys   []byte // of the list that is being made
}

func (p *packer) add(bucket int64, key []byte) error {
	if len(p.keys) > 0 && (bucket != p.bucket || len(p.keys) >= packBytes) {
		if err := p.end(); err != nil {
			return err
		}
	}
	p.bucket = bucket
	p.keys = appendItem(p.keys, key)
	return nil
}

// end ends the list that is being made.
func (p *packer) end() error {
	if len(p.keys) == 0 {
		return nil
	}
	entry := appendDueBucket(nil, p.bucket)
	entry = binary.BigEndian.AppendUint64(entry, p.commit)
	entry = binary.BigEndian.AppendUint32(entry, p.part)
	err := p.set(entry, p.keys)
	p.part++
	p.keys = p.keys[:0]
	return err
}

// appendDueBucket appends what the disk keys of all lists of a bucket begin with.
func appendDueBucket(dst []byte, bucket int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0, 'd'), uint64(bucket)^1<<63)
}

// appendDue appends a visit of a key in a form that sorts as the disk's lists do.
func appendDue(dst []byte, bucket int64, key []byte) []byte {
	return append(appendDueBucket(dst, bucket), key...)
}

// splitDue takes apart what appendDue has made.
func splitDue(b []byte) (bucket int64, key []byte) {
	const prefix = 2
	return int64(binary.BigEndian.Uint64(b[prefix:]) ^ 1<<63), b[prefix+8:]
}
