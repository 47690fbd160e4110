package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// A topic that is deleted while it is in use ends the process, with an error that names it: trying again would look like a
// broker that is away, for ever.
func TestADeletedTopicEndsTheProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("brokers are given half a minute to know a topic")
	}
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		t.Parallel() // what takes long is waiting
		for name, topicOf := range map[string]func(*rules.Plan) string{
			"input":     func(p *rules.Plan) string { return p.Streams[0].Topic },
			"output":    func(p *rules.Plan) string { return processors.DeltasTopic(p.Rules[0]) },
			"changelog": func(p *rules.Plan) string { return processors.ChangelogTopic(p.App, p.Keys[0]) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r, app := newRig(t, addrs), appName()
				r.createAdTopics(app)
				src := adOptions{app: app, topics: app, direct: true}.source()
				plan := r.compile(src)
				file := filepath.Join(t.TempDir(), "rules.yaml")
				if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
					t.Fatal(err)
				}
				inputs := generate(t, adStream(seedOf(t), 4000), app)
				p := startProcess(t, binary, "run", "--rules", file, "--brokers", addrs[0])
				r.feed(inputs[:2000])
				r.settle(plan)
				topic := topicOf(plan)
				if err := r.admin.DeleteTopic(topic); err != nil {
					t.Fatal(err)
				}
				if name != "input" {
					r.feed(inputs[2000:])
				}
				select {
				case <-p.ended:
				case <-time.After(patience):
					t.Fatalf("the process goes on though %s was deleted", topic)
				}
				if code := p.cmd.ProcessState.ExitCode(); code != 1 {
					t.Errorf("exit code %d, want 1", code)
				}
				last := p.stderr.String()
				if i := strings.LastIndex(last, "lookback: "); i < 0 || !strings.Contains(last[i:], topic) {
					t.Errorf("the last message does not name %s", topic)
				}
			})
		}
	})
}
