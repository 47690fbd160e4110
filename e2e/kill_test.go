package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// buildLookback builds the program.
func buildLookback(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lookback")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../cmd/lookback").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// process is a running `lookback run`.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
	err    error // how it ended; read after ended
}

func startProcess(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(sync.OnceFunc(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v:\n%s", args, p.stderr.Bytes())
		}
	}))
	return p
}

// kill ends the process as a crash does: it gets no chance to do anything more.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	<-p.ended
}

// stop ends the process as an operator does, which it takes for no error.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	<-p.ended
	if p.err != nil {
		p.t.Errorf("the program, told to stop, ended with %v", p.err)
	}
}

// killPhases is an input in which no two records that follow one another without a commit in between change the same row:
// first the impressions, then the conversions, then, for each of these, the one click that corrects it. So what a record
// causes, and its delta_id, does not depend on how far the state was written when the process died. (In general it may,
// which is why deltas need exactly-once delivery to add up after a crash; upserts converge anyway.) Some come twice.
func killPhases(app string, seed uint64) (phases [3][]input) {
	const users, conversions, impressions = 150, 4, 3
	rng := rand.New(rand.NewPCG(seed, 0))
	base := time.Now().Add(-6 * time.Hour).UnixMilli()
	var byStream [3][]input
	add := func(stream int, user string, at int64, fields string) {
		value := fmt.Appendf(nil, `{"user_id":%q,"advertiser_id":"a","event_ts":%d,%s}`, user, at, fields)
		byStream[stream] = append(byStream[stream], input{
			record: record{topic: app + "." + adStreams[stream] + "s", key: []byte(user), value: value, at: time.UnixMilli(at)},
			stream: stream, kind: gen.OK, time: at * 1000,
		})
	}
	for u := range users {
		user := fmt.Sprint("user-", u)
		for c := range conversions {
			pixel := fmt.Sprintf("%s-%d", user, c)
			for i := range impressions {
				add(0, user, base+int64(i)*60_000, fmt.Sprintf(`"impression_id":"i-%s-%d","auction_id":"x-%s-%d","pixel_id":%q,"campaign_id":"k","price":0.25`, pixel, i, pixel, i, pixel))
			}
			add(1, user, base+1_800_000, fmt.Sprintf(`"click_id":"c-%s","auction_id":"x-%s-%d"`, pixel, pixel, rng.IntN(impressions)))
			add(2, user, base+3_600_000, fmt.Sprintf(`"conversion_id":"e-%s","pixel_id":%q,"value":%d.75`, pixel, pixel, rng.IntN(100)))
		}
	}
	for phase, stream := range []int{0, 2, 1} {
		inputs := byStream[stream]
		inputs = append(inputs, shuffled(inputs, seed)[:len(inputs)/20]...)
		phases[phase] = shuffled(inputs, seed+1)
	}
	return phases
}

// A process that is killed when its output shows, which is before or while state and offsets are written, and started again,
// first with its table in memory and then on disk: the upserts converge to the batch answer for any input. The deltas, each
// counted once by its delta_id, add up to it where what a record causes does not depend on what else was lost.
func TestKilledProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("a killed member holds its partitions for the session time-out, ten seconds")
	}
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		t.Parallel() // what takes long is waiting for time-outs
		t.Run("upserts and deltas", func(t *testing.T) {
			t.Parallel()
			r, app := newRig(t, addrs), appName()
			r.createAdTopics(app)
			src := adOptions{app: app, topics: app}.source()
			r.killTwice(binary, src, killPhases(app, seedOf(t)), processors.DeltasTopic)
		})
		t.Run("upserts of any input", func(t *testing.T) {
			t.Parallel()
			r, app := newRig(t, addrs), appName()
			r.createAdTopics(app)
			src := adOptions{app: app, topics: app, direct: true}.source()
			src = strings.ReplaceAll(src, "    into:", "    emit: upserts\n    into:")
			inputs := generate(t, adStream(seedOf(t), 9000), app)
			third := len(inputs) / 3
			phases := [3][]input{inputs[:third], inputs[third : 2*third], inputs[2*third:]}
			r.killTwice(binary, src, phases, func(rule *rules.Rule) string { return rule.Into })
		})
	})
}

// killTwice runs the program over three phases of input, kills it in the second and in the third when a topic of the first
// rule grows, and holds what is there in the end against the batch answer.
func (r *rig) killTwice(binary, src string, phases [3][]input, growing func(*rules.Rule) string) {
	r.t.Helper()
	plan := r.compile(src)
	file, stateDir := filepath.Join(r.t.TempDir(), "rules.yaml"), r.t.TempDir()
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		r.t.Fatal(err)
	}
	start := func(store string) *process {
		return startProcess(r.t, binary, "run", "--rules", file, "--brokers", r.addrs[0], "--store", store, "--state-dir", stateDir)
	}
	topic := growing(plan.Rules[0])
	p := start("memory")
	r.feed(phases[0])
	r.settle(plan)
	for _, phase := range phases[1:] {
		half := len(phase) / 2
		before, err := r.size(topic)
		if err != nil {
			r.t.Fatal(err)
		}
		r.feed(phase[:half])
		r.awaitGrowth(topic, before)
		p.kill()
		r.feed(phase[half:])
		p = start("disk")
		r.settle(plan)
	}
	p.stop()
	inputs := slices.Concat(phases[0], phases[1], phases[2])
	r.t.Logf("%d deltas came more than once", r.wantNet(plan, recount(plan, inputs, nil)))
	r.wantNoneLate(plan.App)
}
