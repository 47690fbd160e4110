package processors

import "time"

// trimInterval is how often the prefixes of repartition and changelog topics that nobody needs any more are deleted.
const trimInterval = 30 * time.Second

// trim deletes, now and then, what no restart needs: repartition records that are committed, and the changelog's prefix
// of rows that have expired. It is housekeeping: a failure is tried again at the next time, but said, as the topics grow.
func (s *session) trim(now time.Time) {
	if now.Sub(s.trimmed) < s.p.trimming || s.p.deleteRecords == nil {
		return
	}
	s.trimmed = now
	below := map[string]map[int32]int64{}
	note := func(topic string, partition int32, offset int64) {
		if offset <= 0 {
			return
		}
		if below[topic] == nil {
			below[topic] = map[int32]int64{}
		}
		below[topic][partition] = offset
	}
	if claims := s.claims[s.p.repartition]; claims != nil {
		for _, c := range claims {
			if c != nil {
				note(c.topic, c.partition, c.committed)
			}
		}
	}
	for n, offset := range s.trimmable() {
		note(s.p.changelog, n, offset)
	}
	go func() {
		for topic, offsets := range below {
			if err := s.p.deleteRecords(topic, offsets); err != nil && s.ctx.Err() == nil {
				s.log.Warn("deleting records that nobody needs failed, trying again", "topic", topic, "error", err)
			}
		}
	}()
}

// trimmable returns how far the changelogs may be cut. Tables are not safe for concurrent use, so it closes the gate.
func (s *session) trimmable() map[int32]int64 {
	if len(s.stores) == 0 || s.gate.close(s.ctx) != nil {
		return nil
	}
	defer s.gate.open()
	offsets := map[int32]int64{}
	for n, st := range s.stores {
		if st.restored() {
			offsets[n] = st.table.Trimmable()
		}
	}
	return offsets
}
