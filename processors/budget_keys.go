package processors

import (
	"maps"
	"math"
	"slices"
)

// keyClass is a number of keys that are equally busy.
type keyClass struct {
	keys   float64
	events float64 // of each, on the average, among what is kept
}

// sparse is how many keys share an event at least where nearly each event has a key of its own.
const sparse = 20

// classesOf divides the keys that share so many events by how busy they are.
func classesOf(k *KeyTraffic, events float64) []keyClass {
	if len(k.Counts) == 0 {
		return []keyClass{equally(k.Distinct, events)}
	}
	return k.sampled(events)
}

// equally returns so many keys as have the distinct ones among events that come to them at random.
func equally(distinct, events float64) keyClass {
	low, high := distinct, sparse*events
	if high <= low || seenOf(high, events) <= distinct {
		return keyClass{sparse * events, 1.0 / sparse}
	}
	for range 100 {
		if mid := (low + high) / 2; seenOf(mid, events) < distinct {
			low = mid
		} else {
			high = mid
		}
	}
	return keyClass{high, events / high}
}

// seenOf returns how many of some keys have an event, where events come to them at random.
func seenOf(keys, events float64) float64 { return keys * -math.Expm1(-events/keys) }

// sampled concludes from a sample of some events on the keys of others. Keys of the sample are as busy as in it, less what is due to keys
// that it does not have (the discount of Kneser and Ney; the mass is that of Good and Turing). How many of these there are follows from
// how many distinct ones there are.
func (k *KeyTraffic) sampled(events float64) []keyClass {
	size, keys := 0.0, 0.0
	for _, n := range k.counts() {
		size += float64(n) * k.Counts[n]
		keys += k.Counts[n]
	}
	scale := events / size
	discount := k.Counts[1] / keys
	var classes []keyClass
	seen := 0.0
	binned := map[int]*keyClass{}
	for _, n := range k.counts() {
		of := k.Counts[n]
		each := (float64(n) - discount) * scale
		seen += of * -math.Expm1(-each)
		bin := n
		if n > 8 {
			bin = 8 + int(4*math.Log2(float64(n)/8))
		}
		if binned[bin] == nil {
			binned[bin] = &keyClass{}
		}
		binned[bin].keys += of
		binned[bin].events += of * each
	}
	for _, bin := range slices.Sorted(maps.Keys(binned)) {
		c := binned[bin]
		if c.events /= c.keys; c.events > 0 {
			classes = append(classes, *c)
		}
	}
	rest := discount * keys * scale
	switch others := k.distinct(events) - seen; {
	case rest <= 0:
	case others <= 0: // they are so few that it does not matter who has the rest
		for i := range classes {
			classes[i].events *= events / (events - rest)
		}
	default:
		classes = append(classes, equally(others, rest))
	}
	return classes
}

// counts are those of the sample, ascending, so that sums are the same each time.
func (k *KeyTraffic) counts() []int { return slices.Sorted(maps.Keys(k.Counts)) }

// distinct returns how many keys there are among so many events. In fewer than the sample has, each of its events is as likely to be as
// the others; beyond it, keys go on growing as they did in its second half (Heaps' law), which is rather too much than too little.
func (k *KeyTraffic) distinct(events float64) float64 {
	size := 0.0
	for _, n := range k.counts() {
		size += float64(n) * k.Counts[n]
	}
	within := func(share float64) (keys float64) {
		for _, n := range k.counts() {
			keys += k.Counts[n] * (1 - math.Pow(1-share, float64(n)))
		}
		return keys
	}
	scale := events / size
	if scale <= 1 {
		return within(scale)
	}
	all := within(1)
	growth := min(math.Log2(all/within(0.5)), 1)
	return min(all*math.Pow(scale, growth), events)
}
