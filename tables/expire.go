package tables

import (
	"container/heap"
	"encoding/binary"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// expiry schedules keys by the time that their earliest row is due, in buckets, so that expiry visits keys that have
// something due and no others. A key stands once per bucket at most times: in the bucket that its block names; what it
// left behind in other buckets is passed over.
type expiry struct {
	width   int64              // microseconds per bucket
	queue   map[int64][]uint32 // memory tables: hashes of the keys that are due in the bucket
	buckets bucketHeap         // its keys
	through int64              // buckets below it have been carried out
}

type bucketHeap []int64

func (b bucketHeap) Len() int           { return len(b) }
func (b bucketHeap) Less(i, j int) bool { return b[i] < b[j] }
func (b bucketHeap) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *bucketHeap) Push(x any)        { *b = append(*b, x.(int64)) }
func (b *bucketHeap) Pop() any {
	old := *b
	x := old[len(old)-1]
	*b = old[:len(old)-1]
	return x
}

// Rows stay for up to a bucket longer than they must: a 32nd of the shortest time that any is kept, an hour at most.
func newExpiry(shape Shape) expiry {
	shortest := int64(32 * 3600e6)
	for _, s := range shape.Streams {
		if s.Used {
			shortest = min(shortest, s.Keep)
		}
	}
	return expiry{width: max(shortest/32, 1000), queue: map[int64][]uint32{}, through: math.MinInt64}
}

func (x *expiry) bucket(due int64) int64 {
	b := due / x.width
	if due < 0 && b*x.width != due {
		b--
	}
	return b
}

// due returns the time that the watermark must pass for a row to leave.
func (t *Table) due(row codecs.Row) int64 { return row.Time() + t.shape.Streams[row.Stream()].Keep }

// noDue is the schedule of a block that has none.
const noDue = math.MaxInt64

// schedule makes sure that the key is visited when row is due.
func (t *Table) schedule(h *History, row codecs.Row) {
	t.scheduleAt(h, t.expiry.bucket(t.due(row)))
}

func (t *Table) scheduleAt(h *History, bucket int64) {
	if have := int64(binary.LittleEndian.Uint64(h.blk[blkDue:])); have <= bucket {
		return
	}
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(bucket))
	if t.disk != nil {
		t.pending.dues = appendItem(t.pending.dues, appendDueKey(nil, bucket, h.key))
		return
	}
	list, ok := t.expiry.queue[bucket]
	if !ok {
		heap.Push(&t.expiry.buckets, bucket)
	}
	t.expiry.queue[bucket] = append(list, h.hash)
}

// Expire takes out the rows that are due at the table's watermark (see SetMeta) and frees the keys that are left empty.
// It returns how many rows left.
func (t *Table) Expire() (int, error) {
	if t.meta.Watermark == math.MinInt64 {
		return 0, nil
	}
	limit := t.expiry.bucket(t.meta.Watermark)
	if limit <= t.expiry.through {
		return 0, nil
	}
	t.expiry.through = limit
	if t.disk != nil {
		return t.disk.expire(t, limit)
	}
	n := 0
	x := &t.expiry
	for len(x.buckets) > 0 && x.buckets[0] < limit {
		bucket := heap.Pop(&x.buckets).(int64)
		hashes := x.queue[bucket]
		delete(x.queue, bucket)
		for _, hash := range hashes {
			n += t.expireHash(hash, bucket)
		}
	}
	return n, nil
}

// expireHash expires the keys with that hash that are scheduled in the bucket.
func (t *Table) expireHash(hash uint32, bucket int64) int {
	h := &t.current
	n := 0
	part := t.keys.part(hash)
	for p := part.probe(hash); ; {
		addr := part.candidate(&p)
		if addr == 0 {
			return n
		}
		b := t.arena.block(addr)
		if int64(binary.LittleEndian.Uint64(b[blkDue:])) > bucket {
			continue
		}
		h.key, h.hash = append([]byte(nil), blockKey(b)...), hash
		h.attach(addr, b)
		n += t.expireKey(h)
		if h.addr == 0 {
			p = part.probe(hash) // entries have moved
		}
	}
}

// expireKey takes the due rows out of a history and schedules its next visit.
func (t *Table) expireKey(h *History) int {
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(noDue))
	sweep := dueRows{t: t, next: noDue}
	for s := range t.shape.Streams {
		h.ascendStream(s, &sweep)
	}
	for _, r := range sweep.rows {
		t.pending.expire(h, r)
		h.remove(r)
	}
	if sweep.next != noDue {
		t.scheduleAt(h, t.expiry.bucket(sweep.next))
	}
	h.release()
	return len(sweep.rows)
}

// dueRows collects copies of the rows of a stream that are due, and when the first of the others is: within a stream,
// rows become due in the total order.
type dueRows struct {
	t    *Table
	rows []codecs.Row
	next int64
}

func (d *dueRows) Visit(row codecs.Row) bool {
	due := d.t.due(row)
	if due < d.t.meta.Watermark {
		d.rows = append(d.rows, append(codecs.Row(nil), row...))
		return true
	}
	d.next = min(d.next, due)
	return false
}
