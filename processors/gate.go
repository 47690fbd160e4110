package processors

import (
	"context"
	"sync"
	"sync/atomic"
)

// gate lets records pass to the callbacks between two commits and none during one. A record is inside from the moment it
// has passed until its callback is done; closing the gate waits until nothing is inside, so that every partition is at
// rest.
//
// Passing costs two atomic operations. That is sound because both sides write before they read: a record counts itself
// and then looks whether the gate is closed, the committer closes the gate and then looks at the count.
type gate struct {
	inside atomic.Int64
	closed atomic.Bool
	empty  chan struct{} // has room for one: "inside fell to zero while closed"

	mu     sync.Mutex
	opened chan struct{} // closed when the gate opens again
}

func newGate() *gate {
	return &gate{empty: make(chan struct{}, 1), opened: make(chan struct{})}
}

// enter waits until the gate is open and passes one record. It reports false, and passes nothing, once done is closed.
func (g *gate) enter(done <-chan struct{}) bool {
	for {
		g.inside.Add(1)
		if !g.closed.Load() {
			return true
		}
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		g.leave()
		if !g.closed.Load() {
			continue // it opened in between, and opened may already belong to the next closing
		}
		select {
		case <-opened:
		case <-done:
			return false
		}
	}
}

// leave says that a record's callback is done.
func (g *gate) leave() {
	if g.inside.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// close lets no further record pass and returns when none is inside. On an error (ctx's) records may still be inside, and
// the gate stays closed.
func (g *gate) close(ctx context.Context) error {
	g.closed.Store(true)
	for g.inside.Load() != 0 {
		select {
		case <-g.empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// open lets records pass again.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed.Store(false)
	close(g.opened)
	g.opened = make(chan struct{})
}
