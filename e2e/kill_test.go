package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/rules"
)

// buildLookback builds the program, with further flags.
func buildLookback(t *testing.T, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lookback")
	args := slices.Concat([]string{"build", "-buildvcs=false", "-o", binary}, flags, []string{"../cmd/lookback"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
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
	p.cmd.Env = append(os.Environ(), "LOOKBACK_HTTP=off") // many run at once
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

// A process that is killed when its output shows, which is before, while or after a transaction is committed, and started
// again, first with its table in memory and then on disk, under another transactional id and then under the same. With exactly
// once, every delta is there once, whatever the input. Without, the upserts converge to the batch answer.
func TestKilledProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("a killed member holds its partitions for the session time-out, ten seconds")
	}
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		t.Parallel() // what takes long is waiting for time-outs
		for name, test := range map[string]struct {
			direct bool
			edit   func(src string) string
			once   bool
		}{
			"exactly once, repartitioned": {edit: func(src string) string { return src }, once: true},
			"exactly once, direct":        {direct: true, edit: func(src string) string { return src }, once: true},
			"at least once": {direct: true, edit: func(src string) string {
				return "delivery: at_least_once\n" + strings.ReplaceAll(src, "    into:", "    emit: upserts\n    into:")
			}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r, app := newRig(t, addrs), appName()
				r.createAdTopics(app)
				inputs := generate(t, adStream(seedOf(t), 9000), app)
				third := len(inputs) / 3
				repeated := r.killTwice(binary, test.edit(adOptions{app: app, topics: app, direct: test.direct}.source()),
					[3][]input{inputs[:third], inputs[third : 2*third], inputs[2*third:]},
					func(rule *rules.Rule) string { return rule.Into })
				if test.once {
					if repeated > 0 {
						t.Errorf("%d deltas came more than once", repeated)
					}
					r.wantRejects(app, inputs)
				}
			})
		}
	})
}

// killTwice runs the program over three phases of input, kills it in the second and in the third when a topic of the first
// rule grows, and holds what is there in the end against the batch answer. It returns how many deltas came more than once.
func (r *rig) killTwice(binary, src string, phases [3][]input, growing func(*rules.Rule) string) (repeated int) {
	r.t.Helper()
	plan := r.compile(src)
	file, stateDir := filepath.Join(r.t.TempDir(), "rules.yaml"), r.t.TempDir()
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		r.t.Fatal(err)
	}
	start := func(store string) *process {
		return startProcess(r.t, binary, "run", "--rules", file, "--brokers", r.addrs[0], "--store", store, "--state-dir", stateDir, "--http", "off")
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
	repeated = r.wantNet(plan, recount(plan, inputs, nil))
	r.wantNoneLate(plan.App)
	return repeated
}
