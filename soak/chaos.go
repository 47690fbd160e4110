package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// chaos does harm to the run until ctx ends, each kind as likely as its weight, and returns when all is repaired.
func (r *run) chaos(ctx context.Context, rng *rand.Rand) {
	total := 0
	for _, h := range r.harms {
		total += h.weight
	}
	var repairs sync.WaitGroup
	defer repairs.Wait()
	for {
		wait(ctx, time.Duration(rng.ExpFloat64()*float64(r.cfg.Every)))
		if ctx.Err() != nil {
			return
		}
		pick := rng.IntN(total)
		for _, h := range r.harms {
			if pick -= h.weight; pick < 0 {
				own := rand.New(rand.NewPCG(rng.Uint64(), 0))
				repairs.Go(func() {
					if err := h.do(r, ctx, own); err != nil {
						r.problem("%s: %v", h.name, err)
					}
				})
				break
			}
		}
	}
}

// harm is something that happens in production.
type harm struct {
	name   string
	weight int
	do     func(r *run, ctx context.Context, rng *rand.Rand) error
}

// harmsOn returns what can be done with a kind of broker. The embedded one cannot be killed alone, and lets the first of two
// members with one instance id be.
func harmsOn(kind string) []harm {
	all := []harm{
		{"crash", 5, (*run).crash},
		{"zombie", 4, (*run).zombie},
		{"restart", 2, (*run).restart},
		{"join", 2, (*run).join},
		{"disk", 4, (*run).damage},
	}
	if kind == "apache" {
		all = append(all, harm{"broker", 1, (*run).crashBroker}, harm{"replace", 1, (*run).replace})
	}
	return all
}

// somebody takes one of the instances that do and that nothing is being done to. There may be none.
func (r *run) somebody(rng *rand.Rand, do func(*instance) bool) (*instance, *process) {
	for _, i := range rng.Perm(len(r.instances)) {
		if in := r.instances[i]; do == nil || do(in) {
			if life, ok := in.take(); ok {
				return in, life
			}
		}
	}
	return nil, nil
}

// seconds returns a time between two.
func seconds(rng *rand.Rand, from, to float64) time.Duration {
	return time.Duration((from + (to-from)*rng.Float64()) * float64(time.Second))
}

func (r *run) crash(ctx context.Context, rng *rand.Rand) error {
	in, life := r.somebody(rng, nil)
	if in == nil {
		return nil
	}
	defer in.release()
	if err := life.kill(); err != nil {
		return err
	}
	r.note("kill -9", "%s", in.name)
	wait(ctx, seconds(rng, 0, 8))
	return in.begin()
}

// sessionTimeout is what the rules set.
const sessionTimeout = 6 * time.Second

// zombie stops a process for longer than its session, and often for longer than its transaction, and lets it go on.
func (r *run) zombie(ctx context.Context, rng *rand.Rand) error {
	in, life := r.somebody(rng, nil)
	if in == nil {
		return nil
	}
	defer in.release()
	if err := life.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	stopped, asleep := time.Now(), seconds(rng, 7, 25)
	wait(ctx, asleep)
	kind := "zombies"
	if asleep = time.Since(stopped); asleep <= sessionTimeout {
		kind = "stops" // the round has ended before the session did
	}
	r.note(kind, "%s for %s", in.name, asleep)
	return life.signal(syscall.SIGCONT)
}

// replace stops a process with an instance id, starts another with that id in its place, and lets the first go on. It must
// notice that it was replaced, and end.
func (r *run) replace(ctx context.Context, rng *rand.Rand) error {
	in, life := r.somebody(rng, func(in *instance) bool { return in.static })
	if in == nil {
		return nil
	}
	defer in.release()
	if err := life.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	life.want()
	in.meet()
	r.note("zombies replaced", "%s", in.name)
	wait(ctx, seconds(rng, 0, 4))
	in.stateDir = filepath.Join(r.dir, fmt.Sprintf("%s-state-%d", in.name, rng.Uint32()))
	if err := in.begin(); err != nil {
		return err
	}
	wait(ctx, seconds(rng, 3, 20))
	if err := life.signal(syscall.SIGCONT); err != nil {
		return err
	}
	timer := time.NewTimer(fencePatience)
	defer timer.Stop()
	select {
	case <-life.ended:
		return nil
	case <-timer.C:
		r.problem("instance %s, replaced by another with its instance id, has not ended within %s\n%s", in.name, fencePatience, life.output())
		return life.kill()
	}
}

// fencePatience is how long a process may take to learn that it was replaced: some heartbeats, and a commit, with a broker that may be
// away meanwhile.
const fencePatience = 2 * time.Minute

func (r *run) restart(ctx context.Context, rng *rand.Rand) error {
	in, life := r.somebody(rng, nil)
	if in == nil {
		return nil
	}
	defer in.release()
	if err := in.stop(life); err != nil {
		return err
	}
	r.note("restarts", "%s", in.name)
	wait(ctx, seconds(rng, 0, 8))
	return in.begin()
}

// join lets one more instance take part for a while.
func (r *run) join(ctx context.Context, rng *rand.Rand) error {
	r.guests.Lock()
	defer r.guests.Unlock()
	guest := &instance{name: "guest", store: "memory", standby: "2", stateDir: filepath.Join(r.dir, "guest-state"), run: r}
	if err := guest.begin(); err != nil {
		return err
	}
	r.note("joins", "guest")
	wait(ctx, seconds(rng, 5, 25))
	if life, ok := guest.take(); ok && rng.IntN(3) > 0 {
		if err := guest.stop(life); err != nil {
			return err
		}
	}
	return guest.end()
}

// damage takes a disk away from an instance, or part of what is on it.
func (r *run) damage(ctx context.Context, rng *rand.Rand) error {
	in, life := r.somebody(rng, func(in *instance) bool { return in.store == "disk" })
	if in == nil {
		return nil
	}
	defer in.release()
	if rng.IntN(2) == 0 {
		if err := in.stop(life); err != nil {
			return err
		}
	} else {
		if err := life.kill(); err != nil {
			return err
		}
		r.note("kill -9", "%s", in.name)
	}
	how := damages[rng.IntN(len(damages))]
	r.note("disks "+how.name, "%s", in.name)
	if err := how.do(rng, in.stateDir); err != nil {
		return err
	}
	wait(ctx, seconds(rng, 0, 3))
	return in.begin()
}

func (r *run) crashBroker(ctx context.Context, rng *rand.Rand) error {
	if !r.brokerBusy.TryLock() {
		return nil
	}
	defer r.brokerBusy.Unlock()
	r.note("broker kill -9", "")
	return r.cluster.crash(ctx, seconds(rng, 0, 12))
}

// nurse starts a broker anew that is sick, until ctx ends. Whatever it has forgotten, the app may wait for it but not go wrong.
func (r *run) nurse(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Second)
		if !r.cluster.sick() {
			continue
		}
		r.brokerBusy.Lock()
		if r.cluster.sick() {
			r.note("broker restarted that had forgotten its groups", "")
			if err := r.cluster.restart(ctx); err != nil && ctx.Err() == nil {
				r.problem("%v", err)
			}
		}
		r.brokerBusy.Unlock()
	}
}

// Places of a commit at which a process can die, in their order.
const (
	beforeOffsets = "producer-after-flush"
	afterOffsets  = "producer-after-offsets"
	beforeEnd     = "producer-before-endtxn"
	afterEnd      = "producer-after-endtxn"
	beforeApply   = "commit-before-apply"
	afterApply    = "commit-after-apply"
)

// failpoint chooses where a process that is started now is likely to die, and after how long about.
func (r *run) failpoint(rng *rand.Rand) string {
	points := r.cfg.Points
	if len(points) == 0 {
		points = []string{beforeOffsets, afterOffsets, beforeEnd, afterEnd, beforeApply, afterApply}
	}
	var value []string
	if r.cfg.FailpointEvery > 0 {
		// An instance commits about 10 times a second in each of the groups.
		const commits = 50
		value = append(value, fmt.Sprintf("%s:%.6f", points[rng.IntN(len(points))], 1/(commits*r.cfg.FailpointEvery.Seconds())))
	}
	if r.cfg.Bug != "" {
		value = append(value, "bug-"+r.cfg.Bug)
	}
	return strings.Join(value, ",")
}
