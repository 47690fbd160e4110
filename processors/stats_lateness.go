package processors

import "time"

// latenessBounds are the upper bounds of the buckets of a Lateness: what people set `lateness` to, from a second to a week.
var latenessBounds = [...]time.Duration{
	time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 4 * day, 7 * day,
}

const day = 24 * time.Hour

// Lateness is a histogram of how far events were behind the watermark when they were handled. Events that were not behind it count
// as 0, as do those that came before there was one. It is not safe for concurrent use.
type Lateness struct {
	counts [len(latenessBounds) + 1]int64
	sum    int64 // microseconds
}

// lagOf returns how far an event's time is behind a watermark, in microseconds.
func lagOf(watermark, at int64) int64 {
	if watermark == noTime {
		return 0
	}
	return max(watermark-at, 0)
}

// observe adds an event that is so many microseconds behind. Nearly all are in the first bucket.
func (l *Lateness) observe(us int64) {
	i := 0
	for i < len(latenessBounds) && us > int64(latenessBounds[i]/time.Microsecond) {
		i++
	}
	l.counts[i]++
	l.sum += us
}

// add adds another's events.
func (l *Lateness) add(o *Lateness) {
	for i, n := range o.counts {
		l.counts[i] += n
	}
	l.sum += o.sum
}

// Cumulative returns how many events were observed, the sum of how far they were behind, and how many were behind by at most each of
// a fixed list of bounds.
func (l *Lateness) Cumulative() (count uint64, sum time.Duration, below map[time.Duration]uint64) {
	below = map[time.Duration]uint64{}
	for i, n := range l.counts {
		count += uint64(n)
		if i < len(latenessBounds) {
			below[latenessBounds[i]] = count
		}
	}
	return count, time.Duration(l.sum) * time.Microsecond, below
}
