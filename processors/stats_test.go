package processors

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
	"github.com/seed-2058fbc3/lookback/rules"
)

func TestStatsCountWhatIsCommitted(t *testing.T) {
	s := NewStats(&rules.Plan{Streams: []*rules.Stream{{Name: "a"}, {Name: "b"}}})
	count := func(t *tally) {
		t.accepted(1)
		t.accepted(1)
		t.arrived(1, 0)
		t.arrived(1, 10*60*1e6)
		t.arrived(1, 10*60*1e6+1)
		t.arrived(1, 30*86_400*1e6)
		t.late(0, lateDropped)
		t.duplicate(1)
		t.reject("r")
		t.row(&codecs.Credit{Rule: "rule", Model: "last", Class: "PC"}, -1)
		t.correction("rule", deltaCorrected)
		t.output("rule", OpDelta)
	}
	want := func(when string, times int64) {
		t.Helper()
		n := s.Snapshot()
		if n.Accepted["b"] != 2*times || n.Accepted["a"] != 0 || n.LateBy[LateCount{"a", lateDropped}] != times || n.Late["a"] != times || n.Duplicates["b"] != times ||
			n.Rejected["r"] != times || n.Rows[RowKind{"rule", "last", "PC", -1}] != times || n.Corrections[Correction{"rule", deltaCorrected}] != times ||
			n.Written[Output{"rule", OpDelta}] != times {
			t.Errorf("%s: %+v, want everything %d times", when, n, times)
		}
		count, sum, below := n.Lateness["b"].Cumulative()
		if none, _, _ := n.Lateness["a"].Cumulative(); none != 0 || count != uint64(4*times) || sum != time.Duration(times)*(30*day+20*time.Minute+time.Microsecond) ||
			below[time.Second] != uint64(times) || below[5*time.Minute] != uint64(times) || below[10*time.Minute] != uint64(2*times) || below[7*day] != uint64(3*times) {
			t.Errorf("%s: %d events %s behind, %v", when, count, sum, below)
		}
	}
	count(s.tally()) // of a session that fails
	one, other := s.tally(), s.tally()
	count(one)
	want("before a commit", 0)
	one.commit()
	one.commit()
	want("after a commit", 1)
	count(one)
	count(other)
	other.commit()
	want("after another's commit", 2)
	one.commit()
	want("after both", 3)
}

// A processor's partitions are those of its session, and its failure is remembered until everything is in service again.
func TestProcessorStatsFollowSessions(t *testing.T) {
	s := NewStats(&rules.Plan{})
	p := s.processor("p")
	if s.processor("p") != p || len(s.Snapshot().Processors) != 1 {
		t.Fatal("a processor is there twice")
	}
	now := func() ProcessorSnapshot { return s.Snapshot().Processors[0] }
	if now().Phase != Connecting {
		t.Errorf("at first it is in phase %d", now().Phase)
	}
	p.joining()
	p.joined(7, []int32{4, 1})
	p.restoring(4, 60, 100)
	p.serving(1)
	p.state(1, 5, 1000, 70, 99)
	p.position("t", 1, 10, 15)
	p.position("t", 4, -1, 15) // has not begun to read
	p.position("t", 9, 1, 15)  // somebody else's
	n := now()
	if n.Phase != Joined || n.Generation != 7 || len(n.Partitions) != 2 || n.Partitions[0].Partition != 1 {
		t.Fatalf("joined: %+v", n)
	}
	if one, four := n.Partitions[0], n.Partitions[1]; !one.Serving || one.Keys != 5 || one.Bytes != 1000 || one.DiskBytes != 70 || one.Watermark != 99 ||
		four.Serving || four.RestoreRemaining != 60 || four.HasState {
		t.Errorf("partitions %+v", n.Partitions)
	}
	if len(n.Lags) != 1 || n.Lags[0] != (LagSnapshot{"t", 1, 5}) {
		t.Errorf("lags %+v", n.Lags)
	}
	if total, remaining := s.Restore(); total != 100 || remaining != 60 {
		t.Errorf("restore %d of %d", remaining, total)
	}
	p.serving(4)
	if total, remaining := s.Restore(); total != 100 || remaining != 0 {
		t.Errorf("after the restore %d of %d", remaining, total)
	}

	failure := errors.New("failure")
	p.ended(failure)
	if n = now(); n.Phase != Joining || !errors.Is(n.Cause, failure) || len(n.Partitions)+len(n.Lags) != 0 {
		t.Errorf("ended: %+v", n)
	}
	p.joined(8, []int32{4})
	p.stalled(4, failure)
	if n = now(); !errors.Is(n.Cause, failure) || !errors.Is(n.Partitions[0].Stalled, failure) {
		t.Errorf("joined again: %+v", n)
	}
	p.serving(4)
	if n = now(); n.Cause != nil || n.Partitions[0].Stalled != nil || n.Sessions[causeOther] != 1 {
		t.Errorf("in service again: %+v", n)
	}
	p.ended(failure)
	p.joined(9, nil)
	if n = now(); n.Cause != nil {
		t.Errorf("without partitions: %+v", n)
	}
	p.ended(nil)
	if n = now(); n.Sessions[Clean] != 1 {
		t.Errorf("sessions %v", n.Sessions)
	}
}

func TestFailuresHaveClasses(t *testing.T) {
	listed := map[string]bool{}
	for _, c := range Causes() {
		listed[c] = true
	}
	for want, errs := range map[string][]error{
		Clean:          {nil},
		causeFenced:    {producer.ErrFenced, fmt.Errorf("commit: %w: %w", producer.ErrFenced, sarama.ErrInvalidTxnState)},
		causeUnknown:   {fmt.Errorf("%w: %w", producer.ErrUnknownOutcome, context.DeadlineExceeded)},
		causeRebalance: {sarama.ErrIllegalGeneration, errSessionOver},
		causeTimeout:   {fmt.Errorf("flush: %w", context.DeadlineExceeded)},
		causeNetwork:   {errNetwork{errors.New("reset by peer")}, sarama.ErrOutOfBrokers},
		causeTopic:     {sarama.ErrUnknownTopicOrPartition},
		causeRights:    {sarama.ErrGroupAuthorizationFailed},
		causeOther:     {errors.New("panic: user u1")},
	} {
		for _, err := range errs {
			if got := classOf(err); got != want {
				t.Errorf("%v is of class %s, want %s", err, got, want)
			} else if err != nil && !listed[got] {
				t.Errorf("class %s is not listed", got)
			}
		}
	}
}
