package rules

// Later returns a copy of the plan in which every stream has so much more lateness, in microseconds.
func (p *Plan) Later(more int64) *Plan {
	c := *p
	c.Streams, c.Keys = nil, nil
	for _, s := range p.Streams {
		later := *s
		later.Lateness += more
		c.Streams = append(c.Streams, &later)
	}
	for _, k := range p.Keys {
		later := *k
		later.Lateness += more
		c.Keys = append(c.Keys, &later)
	}
	return &c
}
