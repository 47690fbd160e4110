package tables

import (
	"container/heap"
	"encoding/binary"
	"math"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// expiry schedules keys by the time that their earliest row leaves, in buckets, so that expiry visits keys that have
// something due and no others. A key stands once per bucket at most times: in the bucket that its block names; what it
// left behind in other buckets is passed over.
type expiry struct {
	width   int64              // microseconds per bucket
	queue   map[int64][]uint32 // memory tables: hashes of the keys that are due in the bucket
	buckets bucketHeap         // its keys
	through int64              // buckets below it have been carried out
	visited int                // keys, since the last commit
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

// A bucket is a 32nd of the shortest time that any row is kept, an hour at most; but not so short that there are many
// thousands of them.
func newExpiry(shape Shape) expiry {
	shortest, longest := int64(32*3600e6), int64(0)
	for _, s := range shape.Streams {
		if s.Used {
			shortest, longest = min(shortest, s.Keep), max(longest, s.Keep)
		}
	}
	return expiry{width: max(shortest/32, longest/4096, 1000), queue: map[int64][]uint32{}, through: math.MinInt64}
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

// visit returns when to look at the row's key: somewhat later than the row is due, so that a visit, which costs a few
// cache misses or a read from disk, finds several rows to take out.
func (t *Table) visit(row codecs.Row) int64 {
	keep := t.shape.Streams[row.Stream()].Keep
	return row.Time() + keep + keep/8
}

// Stay returns how long a row of a stream stays, on the average, in microseconds, where its key has so many of them per microsecond. It
// stays for its time, and then until its key is visited: behind a visit the next one waits for a row that is not due yet, and what
// becomes due between the two leaves with it.
func Stay(shape Shape, stream int, rate float64) float64 {
	keep := float64(shape.Streams[stream].Keep)
	late := keep/8 + float64(newExpiry(shape).width)/2
	return keep + late*(1+rate*late/2)/(1+rate*late)
}

// noDue is the schedule of a block that has none.
const noDue = math.MaxInt64

// schedule makes sure that the key is visited some time after row is due.
func (t *Table) schedule(h *History, row codecs.Row) {
	t.scheduleAt(h, t.expiry.bucket(t.visit(row)))
}

func (t *Table) scheduleAt(h *History, bucket int64) {
	if have := int64(binary.LittleEndian.Uint64(h.blk[blkDue:])); have <= bucket {
		return
	}
	binary.LittleEndian.PutUint64(h.blk[blkDue:], uint64(bucket))
	if t.disk != nil {
		t.pending.dues.add(bucket, h.key)
		return
	}
	list, ok := t.expiry.queue[bucket]
	if !ok {
		heap.Push(&t.expiry.buckets, bucket)
	}
	t.expiry.queue[bucket] = append(list, h.hash)
}

// What leaves stays in memory until the next commit. So where a great deal is due at once, because time has made a leap, it leaves
// with several commits.
const (
	expireKeys  = 16 << 10 // that are visited between two commits, about
	expireBytes = 8 << 20  // of changes, beyond which no more keys are visited
)

// Expire visits the keys that are to be visited by the table's watermark, takes out the rows that are due and frees the
// keys that are left empty. Where that would be a great deal it does some, and the next call, after a commit, goes on. It
// returns how many rows left.
func (t *Table) Expire() (int, error) {
	if t.meta.Watermark == math.MinInt64 {
		return 0, nil
	}
	limit := t.expiry.bucket(t.meta.Watermark)
	if limit <= t.expiry.through || t.expiry.full(&t.pending) {
		return 0, nil
	}
	if t.disk != nil {
		return t.disk.expire(t, limit)
	}
	n := 0
	x := &t.expiry
	for len(x.buckets) > 0 && x.buckets[0] < limit {
		bucket := heap.Pop(&x.buckets).(int64)
		hashes := x.queue[bucket]
		delete(x.queue, bucket)
		for i, hash := range hashes {
			if x.full(&t.pending) {
				x.queue[bucket] = hashes[i:]
				heap.Push(&x.buckets, bucket)
				return n, nil
			}
			n += t.expireHash(hash, bucket)
			x.visited++
		}
	}
	x.through = limit
	return n, nil
}

// full tells whether enough leaves with the next commit, if there is to be one.
func (x *expiry) full(p *pending) bool {
	return !p.off && (x.visited >= expireKeys || len(p.buf) >= expireBytes)
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
		t.keyBuf = append(t.keyBuf[:0], blockKey(b)...)
		h.key, h.hash = t.keyBuf, hash
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
	n, next := 0, int64(noDue)
	if h.big != nil {
		n, next = t.expireLarge(h)
	} else {
		n, next = t.expireSmall(h)
	}
	if next != noDue {
		t.scheduleAt(h, t.expiry.bucket(next))
	}
	h.release()
	return n
}

// expireSmall takes out due rows one by one. Within a stream rows become due in the total order, so behind the first
// that is not due the stream's others need no look.
func (t *Table) expireSmall(h *History) (n int, next int64) {
	next = noDue
	var passed [8]bool // by the stream's bits in the tag, which tell streams apart where there are no more than 8
	for i := 0; i < h.rows(); {
		tag := h.blk[h.dir()+dirEntry*i+2] >> 5
		if passed[tag] {
			i++
			continue
		}
		if r := h.at(i); t.due(r) >= t.meta.Watermark {
			next = min(next, t.visit(r))
			passed[tag] = len(t.shape.Streams) <= len(passed)
			i++
			continue
		}
		t.pending.expire(h, h.row(i))
		h.dropSmall(i)
		n++
	}
	if n > 0 {
		h.tighten()
	}
	return n, next
}

func (t *Table) expireLarge(h *History) (n int, next int64) {
	next = noDue
	big := h.big
	for s := range t.shape.Streams {
		for len(big.all[s]) > 0 {
			ref := big.all[s][0]
			r := big.row(ref)
			if t.due(r) >= t.meta.Watermark {
				next = min(next, t.visit(r))
				break
			}
			t.pending.expire(h, r)
			big.removeRef(ref)
			n++
		}
	}
	if big.len()*4 < t.largeRows {
		h.shrink()
	}
	return n, next
}
