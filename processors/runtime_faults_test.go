package processors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lovoo/goka/multierr"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/tables"
)

func TestEveryRecordIsProcessedAndKept(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		const n = 5000
		r.produce(0, n)
		run := r.start("")
		r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		r.wantAll(n)
		if got := r.committed(); got != n {
			t.Errorf("offsets committed up to %d, want %d", got, n)
		}
		run.wantHandledOnce()
		r.wantTable(n)
	})
}

func TestARestartGoesOnWhereTheLastCommitWas(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		for _, dir := range []string{"", t.TempDir()} {
			r := newRig(t)
			const n = 1000
			r.produce(0, n)
			run := r.start(dir)
			r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			r.produce(n, 2*n)
			run = r.start(dir)
			r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			if len(run.log.restored) != n {
				t.Errorf("disk %v: %d rows restored, want %d", dir != "", len(run.log.restored), n)
			}
			for v, times := range r.values(testOutput) {
				if times != 1 {
					t.Fatalf("record %s was written %d times over a clean restart", v, times)
				}
			}
			r.wantAll(2 * n)
			r.wantTable(2 * n)
		}
	})
}

// A failure at any step of the commit leaves the later steps undone, and the session that follows loses nothing.
func TestCommitOrder(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		broken := kerr.UnknownServerError.Code
		const n = 300
		t.Run("outputs refused", func(t *testing.T) {
			r := newRig(t)
			var refusing atomic.Bool
			var refused atomic.Int64
			refusing.Store(true)
			r.failProduce(testOutput, broken, func() bool { refused.Add(1); return refusing.Load() })
			r.produce(0, n)
			run := r.start("")
			r.eventually("some sessions failed", func() bool { return refused.Load() >= 3 })
			if rows := r.values(testChangelog); len(rows) > 0 {
				t.Errorf("%d changelog records though no output was acknowledged", len(rows))
			}
			if got := r.committed(); got > 0 {
				t.Errorf("offsets committed up to %d though no output was acknowledged", got)
			}
			refusing.Store(false)
			r.eventually("everything committed", func() bool { return r.committed() == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			r.wantAll(n)
			r.wantTable(n)
		})
		t.Run("changelog refused", func(t *testing.T) {
			r := newRig(t)
			run := r.start("")
			r.eventually("all partitions restored", func() bool { return run.log.count(nil) == 0 && opened(run) == testPartitions })
			var refusing atomic.Bool
			var refused atomic.Int64
			refusing.Store(true)
			r.failProduce(testChangelog, broken, func() bool { refused.Add(1); return refusing.Load() })
			r.produce(0, n)
			r.eventually("some sessions failed", func() bool { return refused.Load() >= 3 })
			if got := r.committed(); got > 0 {
				t.Errorf("offsets committed up to %d though no change was acknowledged", got)
			}
			refusing.Store(false)
			r.eventually("everything committed", func() bool { return r.committed() == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			r.wantAll(n)
			r.wantTable(n)
		})
		t.Run("offsets refused", func(t *testing.T) {
			r := newRig(t)
			var refused atomic.Int64
			r.refuseOffsets(func() bool { return refused.Add(1) <= 3 })
			r.produce(0, n)
			run := r.start("")
			r.eventually("everything committed", func() bool { return r.committed() == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			r.wantAll(n)
			r.wantTable(n)
		})
	})
}

func TestAFailingOrPanickingCallbackEndsTheSessionAndLosesNothing(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		for name, fail := range map[string]func(){
			"error": func() {},
			"panic": func() { panic("injected") },
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				const n = 500
				run := r.start("")
				var failures atomic.Int64
				run.log.mu.Lock()
				run.log.fail = func(in *input) error {
					if strings.HasSuffix(string(in.Value), "77") && failures.Add(1) <= 2 {
						fail()
						return errInjected
					}
					return nil
				}
				run.log.mu.Unlock()
				r.produce(0, n)
				r.eventually("everything committed", func() bool { return r.committed() == n })
				if err := run.stop(); err != nil {
					t.Fatal(err)
				}
				if failures.Load() < 2 {
					t.Errorf("%d failures, want at least 2", failures.Load())
				}
				r.wantAll(n)
				r.wantTable(n)
			})
		}
	})
}

func TestAFatalErrorEndsTheProcessor(t *testing.T) {
	r := newRig(t)
	run := r.start("")
	run.log.mu.Lock()
	run.log.fail = func(*input) error { return fatalError{errInjected} }
	run.log.mu.Unlock()
	r.produce(0, 1)
	<-run.done
	err := run.stop()
	if !errors.Is(err, errInjected) || !strings.HasPrefix(err.Error(), "processor "+testGroup+": record "+testInput) || strings.Contains(err.Error(), "\n") {
		t.Errorf("run returned %q, want the callback's error on one line", err)
	}
}

func TestAnUnusableStateFolderEndsTheProcessor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	run := r.start(file)
	<-run.done
	err := run.stop()
	if fault := (*tables.FolderError)(nil); !errors.As(err, &fault) || !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("run returned %v, want a folder error", err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "processor "+testGroup+": restore table ") || !strings.Contains(text, file+"/") || strings.Contains(text, "\n") {
		t.Errorf("the error says %q", text)
	}
}

// A folder that is locked may be about to become free, so the partition waits for it.
func TestALockedStateFolderIsWaitedFor(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	other, err := tables.Open(tables.Shape{Layout: "echo"}, tables.Options{Dir: filepath.Join(dir, "0")})
	if err != nil {
		t.Fatal(err)
	}
	run := r.start(dir)
	r.eventually("the other partitions are open", func() bool { return opened(run) == testPartitions-1 })
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	const n = 100
	r.produce(0, n)
	run.handleAll(n)
}

func TestWhatGokaCollectsPrintsOnOneLine(t *testing.T) {
	other := errors.New("other")
	collect := func(errs ...error) error {
		g, _ := multierr.NewErrGroup(context.Background())
		for _, err := range errs {
			g.Go(func() error { return err })
		}
		return g.Wait().ErrorOrNil()
	}
	for _, err := range []error{
		errInjected,
		collect(errInjected),
		collect(errInjected, other),
		collect(collect(other), fmt.Errorf("nested: %w", collect(errInjected))),
	} {
		got := plain(err)
		text := got.Error()
		if !errors.Is(got, errInjected) || errors.Is(got, other) != errors.Is(err, other) {
			t.Errorf("%q has lost a cause of %q", got, err)
		}
		if strings.Contains(text, "\n") || !strings.Contains(text, errInjected.Error()) || strings.Contains(text, "other") != errors.Is(err, other) {
			t.Errorf("%q becomes %q", err, text)
		}
	}
}

func TestAnIdleProcessorAsksNothingOfTheBroker(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		run := r.start("")
		const n = 10
		r.produce(0, n)
		r.eventually("everything committed", func() bool { return r.committed() == n })
		produced, committed, listed := r.requests(kmsg.Produce), r.requests(kmsg.OffsetCommit), r.requests(kmsg.ListOffsets)
		beats := r.requests(kmsg.Heartbeat)
		r.eventually("some heartbeats", func() bool { return beats.Load() >= 2 }) // some hundred commit intervals
		if produced.Load()+committed.Load()+listed.Load() > 0 {
			t.Errorf("%d produce, %d commit and %d offset requests while nothing happened", produced.Load(), committed.Load(), listed.Load())
		}
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Repartition topics lose what is committed, and nothing else; others are left alone.
func TestCommittedRepartitionRecordsAreDeleted(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		for _, ours := range []bool{true, false} {
			r := newRig(t)
			admin := r.admin()
			var asked atomic.Int64
			run := r.start("", func(p *processor) {
				p.trimming = 20 * time.Millisecond
				p.deleteRecords = func(topic string, below map[int32]int64) error {
					asked.Add(1)
					return admin.DeleteRecords(topic, below)
				}
				if ours {
					p.repartition = testInput
				}
			})
			const n = 300
			r.produce(0, n)
			r.eventually("everything committed", func() bool { return r.committed() == n })
			if ours {
				r.eventually("the input is empty", func() bool { return len(r.read(testInput)) == 0 })
			}
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			if !ours && (asked.Load() > 0 || len(r.read(testInput)) != n) {
				t.Errorf("somebody else's topic was cut")
			}
			r.wantAll(n)
			r.wantTable(n)
		}
	})
}

// refuseOffsets answers commits of offsets, for as long as on says so, as if the group had gone on without the member.
func (r *rig) refuseOffsets(on func() bool) {
	code := kerr.IllegalGeneration.Code
	r.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !on() {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		commit := req.(*kmsg.OffsetCommitRequest)
		resp := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range commit.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	r.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !on() {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		commit := req.(*kmsg.TxnOffsetCommitRequest)
		resp := commit.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, topic := range commit.Topics {
			rt := kmsg.NewTxnOffsetCommitResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func opened(run *running) int {
	run.log.mu.Lock()
	defer run.log.mu.Unlock()
	return len(run.log.opened)
}
