package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed rules.yaml
var rules []byte

// config says how long and how hard a soak is.
type config struct {
	Seed           uint64
	For            time.Duration     // of load, in rounds
	Enough         func(result) bool // whether a soak that has lasted that long has seen enough; nil: it has
	AtMost         time.Duration     // of load, whatever Enough says
	Round          time.Duration
	Rate           int           // events per second
	Broker         string        // apache or embedded
	Harms          string        // the kinds of harm, with commas between; empty: all
	Every          time.Duration // between two harms, on average; 0: none
	FailpointEvery time.Duration // between two deaths of an instance at a fail point, on average; 0: none
	Points         []string      // where instances die; empty: everywhere
	Bug            string        // the name of a bug to put in
	Delivery       string
	Binary         string // a build with fail points; empty: built from here
	Dir            string // keeps data and logs; empty: a temporary directory, which is kept where something was wrong
}

// run is a soak that is under way.
type run struct {
	cfg       config
	out       io.Writer
	ctx       context.Context
	dir       string
	cluster   cluster
	program   program
	harms     []harm
	instances []*instance
	guests    sync.Mutex // held while the guest is there
	client    *kgo.Client
	oracle    *oracle
	inputs    *reader
	outputs   *reader
	load      *load

	brokerBusy sync.Mutex
	began      time.Time // when there was load first

	mu       sync.Mutex
	rng      *rand.Rand
	tally    tally
	problems int
}

// turns lets one goroutine write at a time.
type turns struct {
	mu sync.Mutex
	to io.Writer
}

func (w *turns) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(text)
}

// tally counts what was done, by kind.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[kind]++
}

func (t *tally) copy() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(t.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, t.counts[kind]))
	}
	return strings.Join(parts, ", ")
}

// result is what a soak has found.
type result struct {
	counts          counts
	harms           map[string]int
	commits, aborts int
	rounds          int
	differences     int
	explained       []string
	problems        int
}

// ok tells whether nothing was wrong.
func (r result) ok() bool { return r.differences == 0 && r.problems == 0 }

// soak runs the app under load and harm, round by round, until the time is over, ctx ends or a round has differences.
func soak(ctx context.Context, cfg config, out io.Writer) (res result, err error) {
	dir := cfg.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lookback-soak-"); err != nil {
			return res, err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return res, err
	}
	defer func() {
		if cfg.Dir == "" && err == nil && res.ok() {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Fprintf(out, "data and logs are in %s\n", dir)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out = &turns{to: out}
	r := &run{cfg: cfg, out: out, ctx: ctx, dir: dir, oracle: newOracle(), rng: rand.New(rand.NewPCG(cfg.Seed, 2))}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(); err != nil {
		return res, err
	}
	var nursing sync.WaitGroup
	nursing.Go(func() { r.nurse(ctx) })
	defer nursing.Wait()
	defer cancel()
	for number := 0; r.clean() && r.goesOn(number); number++ {
		if err := r.round(number); err != nil {
			return r.result(number), err
		}
	}
	return r.result(r.oracle.round), nil
}

// goesOn tells whether there is to be another round after so many.
func (r *run) goesOn(rounds int) bool {
	switch load := time.Since(r.began); {
	case load < r.cfg.For:
		return true
	case r.cfg.Enough == nil || load >= r.cfg.AtMost:
		return false
	}
	return !r.cfg.Enough(r.result(rounds))
}

// prepare starts everything.
func (r *run) prepare() (err error) {
	if r.cfg.Binary == "" {
		if r.cfg.Binary, err = build(r.ctx, r.dir); err != nil {
			return err
		}
	}
	file := filepath.Join(r.dir, "rules.yaml")
	if err := os.WriteFile(file, rules, 0o644); err != nil {
		return err
	}
	if r.cluster, err = startCluster(r.ctx, r.cfg.Broker, r.dir); err != nil {
		return err
	}
	for _, h := range harmsOn(r.cfg.Broker) {
		if r.cfg.Harms == "" || slices.Contains(strings.Split(r.cfg.Harms, ","), h.name) {
			r.harms = append(r.harms, h)
		}
	}
	if len(r.harms) == 0 {
		return fmt.Errorf("no harm is called %q", r.cfg.Harms)
	}
	addr := r.cluster.addr()
	r.client, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("soak-load"), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MetadataMinAge(100*time.Millisecond), kgo.RequestRetries(50))
	if err != nil {
		return err
	}
	if err := createTopics(r.ctx, r.client); err != nil {
		return err
	}
	r.program = program{binary: r.cfg.Binary, rules: file, addr: addr, dir: r.dir, delivery: r.cfg.Delivery, failpoints: r.failpoints}
	for i, in := range []*instance{
		{name: "one", store: "disk", static: true, standby: "1"},
		{name: "two", store: "memory", standby: "0"},
		{name: "three", store: "disk", standby: "1"},
	} {
		in.run, in.stateDir = r, filepath.Join(r.dir, in.name+"-state")
		r.instances = append(r.instances, in)
		if i == 0 || err == nil {
			err = errors.Join(err, in.begin())
		}
	}
	if err != nil {
		return err
	}
	if r.inputs, err = follow(addr, inputs(), false, r.oracle.takeInput); err != nil {
		return err
	}
	if err := r.await("the app's topics", time.Minute, func() (bool, error) {
		if r.troubled() {
			return false, errors.New("instances have ended")
		}
		_, err := limits(r.ctx, r.client, append(outputs(), stages()[3].topics...), false)
		return err == nil, err
	}); err != nil {
		return err
	}
	if r.outputs, err = follow(addr, outputs(), true, r.oracle.takeOutput); err != nil {
		return err
	}
	// A round of the load's clock is three hours: long enough for windows to end and for histories to expire.
	step := time.Duration(float64(3*time.Hour) / (r.cfg.Round.Seconds() * float64(r.cfg.Rate)))
	// Its days are over, so that no timestamp is in the broker's future.
	rounds := max(r.cfg.For, r.cfg.AtMost)/r.cfg.Round + 10
	r.began = time.Now()
	r.load = newLoad(r.cfg.Seed, r.began.Add(-24*time.Hour-rounds*3*time.Hour), step)
	return nil
}

// round puts load on the app while chaos reigns, lets the app finish, and checks.
func (r *run) round(number int) error {
	r.load.newRound(number)
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Round)
	defer cancel()
	var chaos sync.WaitGroup
	if r.cfg.Every > 0 {
		rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(100+number)))
		chaos.Go(func() { r.chaos(ctx, rng) })
	}
	sent, err := r.feed(ctx)
	chaos.Wait()
	if err != nil {
		return err
	}
	quiet := time.Now()
	if err := r.settle(); err != nil {
		for _, in := range r.instances {
			err = errors.Join(err, in.dump())
		}
		return err
	}
	r.oracle.check()
	differences, _ := r.oracle.found()
	fmt.Fprintf(r.out, "%s round %d: %d records, settled in %s, %d differences; so far: %s\n",
		r.elapsed(), number+1, sent, time.Since(quiet).Round(100*time.Millisecond), differences, &r.tally)
	return nil
}

func (r *run) elapsed() string { return time.Since(r.began).Round(time.Second).String() }

// feed writes records at the rate until ctx ends. While the broker is away it waits.
func (r *run) feed(ctx context.Context) (int, error) {
	const beat = 20 * time.Millisecond
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var batch []message
	owed, sent := 0.0, 0
	for ctx.Err() == nil {
		owed += float64(r.cfg.Rate) * beat.Seconds()
		batch = r.load.take(int(owed), batch[:0])
		owed -= float64(int(owed))
		records := make([]*kgo.Record, len(batch))
		for i, m := range batch {
			records[i] = &kgo.Record{Topic: m.stream.topic, Key: m.key, Value: m.value, Timestamp: time.UnixMicro(m.at)}
		}
		if err := r.client.ProduceSync(r.ctx, records...).FirstErr(); err != nil {
			return sent, fmt.Errorf("write input: %w", err)
		}
		sent += len(records)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	return sent, nil
}

// settle waits until the app has dealt with everything and the oracle has read what came of it.
func (r *run) settle() error {
	const enough = 5 * time.Minute
	err := r.await("the app to finish", enough, func() (bool, error) {
		n, where, err := lag(r.ctx, r.client, r.cluster.addr())
		if err == nil && n > 0 {
			err = fmt.Errorf("%d records are not dealt with, most by %s", n, where)
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, enough)
	defer cancel()
	for _, reading := range []struct {
		by     *reader
		topics []string
	}{{r.inputs, inputs()}, {r.outputs, outputs()}} {
		ends, err := limits(ctx, r.client, reading.topics, false)
		if err != nil {
			return err
		}
		if err := reading.by.reach(ctx, ends); err != nil {
			return err
		}
	}
	return nil
}

// await waits for a condition, whose errors are tried again.
func (r *run) await(what string, atMost time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(r.ctx, atMost)
	defer cancel()
	for {
		ok, err := condition()
		switch {
		case ok:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("waited for %s in vain: %w", what, err)
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// failpoints is the value of LOOKBACK_FAILPOINT for a process that is about to start.
func (r *run) failpoints() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failpoint(r.rng)
}

// pause is how long a process that has died stays down.
func (r *run) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return seconds(r.rng, 0, 3)
}

// note counts something that was done.
func (r *run) note(kind, format string, args ...any) {
	r.tally.add(kind)
	if r.cfg.Dir != "" {
		fmt.Fprintf(r.out, "%s %s %s\n", time.Now().Format("15:04:05.000"), kind, fmt.Sprintf(format, args...))
	}
}

// problem reports something that is wrong, apart from what the outputs say.
func (r *run) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems++
	fmt.Fprintf(r.out, "%s PROBLEM: %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// clean tells whether there are no differences so far.
func (r *run) clean() bool {
	differences, _ := r.oracle.found()
	return differences == 0
}

// troubled tells whether there were problems so far.
func (r *run) troubled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problems > 0
}

func (r *run) result(rounds int) result {
	res := result{counts: r.oracle.all(), rounds: rounds, harms: r.tally.copy()}
	res.differences, res.explained = r.oracle.found()
	res.commits, res.aborts = r.outputs.markers()
	r.mu.Lock()
	defer r.mu.Unlock()
	res.problems = r.problems
	return res
}

// close ends everything.
func (r *run) close() (err error) {
	for _, in := range r.instances {
		err = errors.Join(err, in.end())
	}
	for _, reading := range []*reader{r.inputs, r.outputs} {
		if reading != nil {
			reading.close()
		}
	}
	if r.client != nil {
		r.client.Close()
	}
	if r.cluster != nil {
		r.cluster.close()
	}
	return err
}
