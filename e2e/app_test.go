package e2e

import (
	"context"
	"sync"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// compile compiles rules that run on the rig's broker.
func (r *rig) compile(src string) *rules.Plan {
	r.t.Helper()
	plan, err := rules.Compile("rules.yaml", []byte(src), func(string) (string, bool) { return "", false })
	if err != nil {
		r.t.Fatal(err)
	}
	plan.Settings.Brokers = r.addrs
	return plan
}

// instance is one call of processors.Run.
type instance struct {
	stats *processors.Stats
	ready chan struct{}
	stop  func() // leaves cleanly; an error of Run fails the test
}

// start runs an instance, which is in service when ready is closed. Instances of one app have names of their own.
func (r *rig) start(plan *rules.Plan, name string) *instance {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{stats: processors.NewStats(plan), ready: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := processors.Run(ctx, plan, processors.Config{
			ClientID: name, Logger: r.log.With("instance", name), Stats: i.stats, OnReady: func() { close(i.ready) },
		})
		if err != nil || ctx.Err() == nil {
			r.t.Errorf("instance %s ended by itself: %v", name, err)
		}
	}()
	i.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	r.t.Cleanup(i.stop)
	return i
}

// startReady runs an instance and waits until it is in service.
func (r *rig) startReady(plan *rules.Plan, name string) *instance {
	r.t.Helper()
	i := r.start(plan, name)
	r.await("instance "+name+" in service", func() (bool, error) {
		select {
		case <-i.ready:
			return true, nil
		default:
			return false, nil
		}
	})
	return i
}

// settle waits until an app has committed all that its inputs hold, and what follows from it: then its outputs are there.
func (r *rig) settle(plan *rules.Plan) {
	r.t.Helper()
	r.await("nothing is left to be done", func() (bool, error) {
		lag, err := processors.Lag(plan, r.client)
		return lag == 0, err
	})
}
