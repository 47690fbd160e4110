package processors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// While the gate is closed nothing is inside, and everything that wants to pass does so in the end.
func TestGateIsEmptyWhileClosed(t *testing.T) {
	const partitions, records = 4, 5000
	g := newGate()
	var inside, passed atomic.Int64
	var workers sync.WaitGroup
	for range partitions {
		workers.Go(func() {
			for range records {
				if !g.enter(nil) {
					t.Error("the gate refused a record")
				}
				inside.Add(1)
				passed.Add(1)
				inside.Add(-1)
				g.leave()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		workers.Wait()
	}()
	closings := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if err := g.close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d records are inside a closed gate", n)
		}
		before := passed.Load()
		if after := passed.Load(); after != before {
			t.Fatal("a record passed a closed gate")
		}
		g.open()
		closings++
	}
	if passed.Load() != partitions*records {
		t.Errorf("%d records passed, want %d", passed.Load(), partitions*records)
	}
	if closings < 2 {
		t.Error("the gate was hardly ever closed: the test shows nothing")
	}
}

func TestGateWaitsForWhatIsInside(t *testing.T) {
	g := newGate()
	g.enter(nil)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.close(cancelled); !errors.Is(err, context.Canceled) {
		t.Fatalf("closing with a record inside returned %v, want the context's error", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- g.close(context.Background()) }()
	g.leave()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

func TestGateLetsGoWhenTheSessionEnds(t *testing.T) {
	g := newGate()
	if err := g.close(context.Background()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	close(done)
	if g.enter(done) {
		t.Error("a record passed a closed gate")
	}
	if err := g.close(context.Background()); err != nil {
		t.Error("what was refused still counts as inside")
	}
}
