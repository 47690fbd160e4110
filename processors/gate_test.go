package processors

import (
	"context"
	"errors"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// While the gate is closed nothing is inside, and everything that wants to pass does so in the end. The partitions go on
// until the gate has been closed often enough: on a busy machine they would otherwise be done before it closes once.
func TestGateIsEmptyWhileClosed(t *testing.T) {
	const partitions, records, closings = 4, 5000, 50
	g := newGate()
	var inside, wanted, passed atomic.Int64
	var enough atomic.Bool
	var workers sync.WaitGroup
	for range partitions {
		workers.Go(func() {
			for n := 0; n < records || !enough.Load(); n++ {
				wanted.Add(1)
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
	for range closings {
		for before := passed.Load(); passed.Load() == before; {
			goruntime.Gosched() // each opening lets something pass
		}
		if err := g.close(context.Background()); err != nil {
			t.Fatal(err)
		}
		before := passed.Load()
		for range partitions {
			goruntime.Gosched()
		}
		if n, after := inside.Load(), passed.Load(); n != 0 || after != before {
			t.Fatalf("%d records are inside a closed gate, %d passed it", n, after-before)
		}
		g.open()
	}
	enough.Store(true)
	workers.Wait()
	if passed.Load() != wanted.Load() {
		t.Errorf("%d records passed, want %d", passed.Load(), wanted.Load())
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
