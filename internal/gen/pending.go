package gen

// pending holds the events whose records are still to arrive, the earliest on top. Events rather than records are held:
// they are small, and their bytes follow from them.
type pending []event

func (p pending) before(i, j int) bool {
	if p[i].arrival != p[j].arrival {
		return p[i].arrival < p[j].arrival
	}
	return p[i].n < p[j].n || p[i].n == p[j].n && p[i].kind < p[j].kind
}

func (p *pending) push(e event) {
	*p = append(*p, e)
	q := *p
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (p *pending) pop() event {
	q := *p
	top := q[0]
	last := len(q) - 1
	q[0] = q[last]
	q = q[:last]
	*p = q
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(q); c++ {
			if q.before(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}
