package processors

import "time"

// report returns where the processor says what it does. It locks, so it is not for every record.
func (p *processor) report() *ProcessorStats { return p.stats.processor(p.name) }

// stateInterval is how often the size of tables is looked at, which takes a walk over their large histories.
const stateInterval = time.Second

// report says where the session is after a commit, with every partition at rest.
func (s *session) report(now time.Time) {
	to := s.p.report()
	for topic, claims := range s.claims {
		for _, c := range claims {
			if c == nil {
				continue
			}
			if c.handled > 0 {
				to.handled(topic, c.handled)
				c.handled = 0
			}
			if c.attached.Load() {
				to.position(topic, c.partition, c.position(), c.HighWaterMarkOffset())
			}
		}
	}
	if n := s.outbox.standIns.Swap(0); n > 0 {
		oversized := s.p.stats.tally()
		for range n {
			oversized.reject(reasonTooLarge)
		}
		oversized.commit()
	}
	if now.Sub(s.sized) < stateInterval {
		return
	}
	s.sized = now
	for n, st := range s.stores {
		if st.restored() {
			to.state(n, st.table.Keys(), st.table.Bytes(), st.table.DiskBytes(), st.table.Meta().Watermark)
		}
	}
}
