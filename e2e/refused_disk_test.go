package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
)

// A disk that takes nothing more ends the process, with an error that says which folder it is about. When it takes
// something again the next process goes on, and nothing was lost or done twice.
func TestADiskThatTakesNothingMoreEndsTheProcess(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell, which limits what the process may write")
	}
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app, dir := newRig(t, addrs), appName(), t.TempDir()
		src := adOptions{app: app, topics: app, direct: true, state: fmt.Sprintf("{store: disk, dir: %q}", dir)}.source()
		plan, file := r.compile(src), writeRules(t, src)
		inputs := generate(t, adStream(seedOf(t), 20_000), app)
		r.createAdTopics(app)

		const limit = "ulimit -f 200; exec \"$@\"" // no file may be larger than 100 or 200 KiB
		p := startProcess(t, shell, "-c", limit, "sh", binary, "run", "--rules", file, "--brokers", addrs[0])
		r.feed(inputs[:len(inputs)/2])
		r.await("the process has ended", func() (bool, error) {
			select {
			case <-p.ended:
				return true, nil
			default:
				return false, nil
			}
		})
		if code := p.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		last := p.stderr.String()
		if i := strings.LastIndex(last, "lookback: "); i < 0 || !strings.Contains(last[i:], dir) || strings.Contains(last, "goroutine ") {
			t.Errorf("the last message does not name %s:\n%s", dir, last)
		}

		p = startProcess(t, binary, "run", "--rules", file, "--brokers", addrs[0])
		r.feed(inputs[len(inputs)/2:])
		r.settle(plan)
		p.stop()
		r.wantOnce(plan, recount(plan, inputs, nil))
		r.wantRejects(app, inputs)
	})
}
