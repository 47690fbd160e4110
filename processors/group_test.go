package processors

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A coordinator that comes back from a crash may know an instance by the name of its predecessor, until that one's session is over.
func TestAStaleMemberWithTheInstanceIDIsOutlasted(t *testing.T) {
	r := newRig(t)
	var joins atomic.Int64
	r.refuseMembers(kmsg.JoinGroup, kerr.FencedInstanceID, func() bool { return joins.Add(1) <= 3 })
	run := r.start("")
	const n = 100
	r.produce(0, n)
	run.handleAll(n)
}

func TestALiveMemberWithTheInstanceIDIsNot(t *testing.T) {
	r := newRig(t)
	r.refuseMembers(kmsg.JoinGroup, kerr.FencedInstanceID, func() bool { return true })
	run := r.start("", func(p *processor) {
		p.config.Consumer.Group.Session.Timeout = time.Second
		p.config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	})
	<-run.done
	err := run.stop()
	if err == nil || !strings.Contains(err.Error(), "another instance runs with instance_id") {
		t.Errorf("it ended with %v", err)
	}
}

func TestWaitingIsToldAfterAWhileAndThenNowAndAgain(t *testing.T) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var w waiting
	var told []time.Duration
	for passed := time.Duration(0); passed <= 3*waitPatience; passed += waitPatience / 10 {
		since, long := w.note(start.Add(passed))
		if since != start {
			t.Fatalf("after %v: since %v, want %v", passed, since, start)
		}
		if long {
			told = append(told, passed/waitPatience)
		}
	}
	if len(told) != 3 || told[0] != 1 || told[1] != 2 || told[2] != 3 {
		t.Errorf("told after %v times the patience, want 1, 2 and 3", told)
	}
}
