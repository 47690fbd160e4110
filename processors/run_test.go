package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// runPlan is a plan of three streams and two keys. The placeholders take what a test changes about the first stream and
// about the whole.
const runPlan = `
app: ads
commit_interval: 20ms
watermark_interval: 50ms
idle_timeout: 200ms
topics: {partitions: 3, replication: 1}
%s
streams:
  i: {topic: i, fields: {id: string, t: time_us, u: string, x: string, p: string, l: [{x: string, n: decimal}]}, time: t, id: id, lateness: %[2]s %[3]s}
  c: {topic: c, fields: {id: string, t: time_us, u: string, x: string}, time: t, id: id, lateness: %[2]s %[3]s}
  e: {topic: e, fields: {id: string, t: time_us, u: string, p: string, w: decimal}, time: t, id: id, lateness: %[2]s %[3]s}
rules:
  - name: r
    attribute: e
    key: u
    lookback: 30d
    join: {i: e.p == i.p, c: c.x == i.x}
    classes: {PC: {touch: c, within: 7d}, PV: {touch: i, within: 1d}}
    select: {l: i.l}
    measure: {w: e.w}
    unattributed: emit
    into: out
`

func runRules(t *testing.T, r *rig, settings, lateness, stream string) *rules.Plan {
	t.Helper()
	plan := mustCompile(t, fmt.Sprintf(runPlan, settings, lateness, stream))
	plan.Settings.Brokers = r.cluster.ListenAddrs()
	return plan
}

// run is a Run that a test can stop.
type run struct {
	rig   *rig
	stats *Stats
	asked *Lookups
	ready chan struct{}
	stop  func() error
}

func (r *rig) run(plan *rules.Plan) *run {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	x := &run{rig: r, stats: NewStats(plan), asked: NewLookups(plan), ready: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, plan, Config{Logger: r.log, Stats: x.stats, Lookups: x.asked, OnReady: func() { close(x.ready) }})
	}()
	x.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	r.t.Cleanup(func() { _ = x.stop() }) // the test has looked at the error
	return x
}

// runEvents makes records of few users and days, so that joins, ties, duplicates and broken records are common.
func runEvents(n int) (records []codecs.Record, streams []int) {
	rng := rand.New(rand.NewPCG(1, 2))
	base := time.Now().Add(-20 * 24 * time.Hour).UnixMicro()
	for len(records) < n {
		user := fmt.Sprintf("u%d", rng.IntN(20))
		at := base + rng.Int64N(10*24)*3_600_000_000
		x, p := rng.IntN(30), rng.IntN(4)
		stream, value := 0, ""
		switch rng.IntN(10) {
		case 0, 1:
			stream, value = 1, fmt.Sprintf(`{"id":"c%d","t":%d,"u":"%s","x":"x%d"}`, rng.IntN(n), at, user, x)
		case 2, 3:
			// A conversion's id is unique over all keys, or its rows would share a key.
			stream, value = 2, fmt.Sprintf(`{"id":"e%d-%s","t":%d,"u":"%s","p":"p%d","w":%d.25}`, rng.IntN(n/20), user, at, user, p, rng.IntN(9))
		case 4:
			value = `{"id":"broken"`
		default:
			value = fmt.Sprintf(`{"id":"i%d","t":%d,"u":"%s","x":"x%d","p":"p%d","l":[{"x":"%d","n":%d.50},{}]}`, rng.IntN(n), at, user, x, p, x, p)
		}
		record := codecs.Record{Topic: []string{"i", "c", "e"}[stream], Partition: -1, Key: []byte(user), Value: []byte(value)}
		records, streams = append(records, record), append(streams, stream)
		if rng.IntN(20) == 0 {
			records, streams = append(records, record), append(streams, stream)
		}
	}
	return records, streams
}

// differences holds the outputs against the batch answer.
func (r *rig) differences(plan *rules.Plan, batch *Recount) []string {
	r.t.Helper()
	net := NewNet(plan)
	for _, topic := range []string{"out", "out.deltas"} {
		for _, m := range r.read(topic) {
			if err := net.Add(topic, m.Key, m.Value); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	differences, rows, err := net.Compare(batch, 5)
	if err != nil {
		r.t.Fatal(err)
	}
	if rows == 0 {
		r.t.Fatal("the batch has no rows: the test shows nothing")
	}
	return differences
}

func TestRunEqualsBatch(t *testing.T) {
	for name, test := range map[string]struct {
		settings, stream string
		sessions         bool // end sessions now and then
	}{
		"repartitioned, in memory":               {},
		"repartitioned, on disk":                 {settings: "state: {store: disk, dir: " + t.TempDir() + "}"},
		"direct":                                 {stream: ", partitioned_by: u"},
		"repartitioned, with sessions that end":  {sessions: true},
		"direct, on disk, sessions that end too": {settings: "state: {store: disk, dir: " + t.TempDir() + "}", stream: ", partitioned_by: u", sessions: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, "i", "c", "e")
			plan := runRules(t, r, test.settings, "100d", test.stream)
			records, streams := runEvents(3000)
			batch := NewRecount(plan, nil)
			for i := range records {
				batch.Add(streams[i], &Raw{Value: records[i].Value, Origin: codecs.Origin{Timestamp: time.Now().UnixMicro()}})
			}
			if test.sessions {
				var beats atomic.Int64
				r.endSessions(func() bool { return beats.Add(1)%4 == 0 })
			}
			// Half of the records are there before the start, the others come to a restarted app.
			half := len(records) / 2
			r.write(records[:half]...)
			x := r.run(plan)
			<-x.ready
			r.eventually("half of the records seen", func() bool { return x.seen() >= half })
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
			x = r.run(plan)
			<-x.ready
			r.write(records[half:]...)
			r.eventually("the net of the outputs equals the batch", func() bool {
				return x.seen() >= len(records)-half && len(r.differences(plan, batch)) == 0
			})
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
			if d := r.differences(plan, batch); len(d) > 0 {
				t.Errorf("after the end:\n%s", strings.Join(d, "\n"))
			}
			if got := len(r.read("ads.late")); got != 0 {
				t.Errorf("%d late events, want none", got)
			}
		})
	}
}

// Instances come and go while records flow: partitions move, with their state and their watermarks.
func TestInstancesShareTheWork(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	plan := runRules(t, r, "", "100d", "")
	records, streams := runEvents(3000)
	batch := NewRecount(plan, nil)
	for i := range records {
		batch.Add(streams[i], &Raw{Value: records[i].Value, Origin: codecs.Origin{Timestamp: time.Now().UnixMicro()}})
	}
	third := len(records) / 3
	first := r.run(plan)
	<-first.ready
	r.write(records[:third]...)
	second := r.run(plan)
	<-second.ready
	r.write(records[third : 2*third]...)
	r.eventually("the second instance works", func() bool { return second.seen() > 0 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	r.write(records[2*third:]...)
	r.eventually("the net of the outputs equals the batch", func() bool { return len(r.differences(plan, batch)) == 0 })
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	if d := r.differences(plan, batch); len(d) > 0 {
		t.Errorf("after the end:\n%s", strings.Join(d, "\n"))
	}
}

// seen returns how many records have been decided on.
func (x *run) seen() int {
	n := int64(0)
	s := x.stats.Snapshot()
	for _, counts := range []map[string]int64{s.Accepted, s.Late, s.Duplicates, s.Rejected} {
		for _, c := range counts {
			n += c
		}
	}
	return int(n)
}

// event is a record of stream i, c or e at a time in seconds before now.
func runEvent(topic, id, user string, at time.Time) codecs.Record {
	value := fmt.Sprintf(`{"id":%q,"t":%d,"u":%q,"x":"x","p":"p","w":1}`, id, at.UnixMicro(), user)
	return codecs.Record{Topic: topic, Partition: -1, Key: []byte(user), Value: []byte(value)}
}

// everywhere makes records of a topic, whose ids begin alike, so that each of its partitions has some.
func everywhere(topic, id string, at time.Time) (records []codecs.Record) {
	for u := range 20 {
		records = append(records, runEvent(topic, fmt.Sprint(id, u), fmt.Sprint("u", u), at))
	}
	return records
}

// Idle streams do not hold the watermark back, so an event that is late is told so, with its original bytes and where it
// came from; and the watermark does not fall over a restart.
func TestLateEventsGoOutAsTheyCame(t *testing.T) {
	for name, stream := range map[string]string{"repartitioned": "", "direct": ", partitioned_by: u"} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, "i", "c", "e")
			plan := runRules(t, r, "", "1h", stream)
			x := r.run(plan)
			<-x.ready
			now := time.Now()
			r.write(everywhere("i", "i", now)...)
			n := 0
			r.eventually("an event is late", func() bool {
				n++
				r.write(runEvent("i", fmt.Sprint("old", n), "u1", now.Add(-2*time.Hour)))
				return len(r.read("ads.late")) > 0
			})
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
			x = r.run(plan)
			<-x.ready
			before := len(r.read("ads.late"))
			r.write(runEvent("i", "after", "u1", now.Add(-2*time.Hour)))
			r.eventually("an event is late at once after a restart", func() bool { return len(r.read("ads.late")) > before })
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
			for _, m := range r.read("ads.late") {
				headers := map[string]string{}
				for _, h := range m.Headers {
					headers[string(h.Key)] = string(h.Value)
				}
				if headers[codecs.HeaderException] != "late" || headers[codecs.HeaderTopic] != "i" {
					t.Errorf("headers of a late event: %v", headers)
				}
				if !json.Valid(m.Value) || !strings.Contains(string(m.Value), `"w":1`) {
					t.Errorf("a late event went out as %s, not as it came", m.Value)
				}
			}
		})
	}
}

// The watermark goes on beside streams that are silent for much longer than it takes for them to be idle.
func TestTheWatermarkGoesOnBesideIdleStreams(t *testing.T) {
	for name, stream := range map[string]string{"repartitioned": "", "direct": ", partitioned_by: u"} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, "i", "c", "e")
			plan := runRules(t, r, "", "1h", stream)
			x := r.run(plan)
			<-x.ready
			begun := time.Now()
			for n := 0; n < 3 || time.Since(begun) < 5*plan.Settings.IdleTimeout; n++ {
				now := time.Now()
				r.write(everywhere("i", fmt.Sprint("i", n, "-"), now)...)
				r.eventually("the watermark is that of the stream that is not idle", func() bool {
					for _, p := range x.stats.Snapshot().Processors {
						if p.Name != "ads.u" {
							continue
						}
						for _, part := range p.Partitions {
							if part.Watermark < now.UnixMicro() {
								return false
							}
						}
						return len(p.Partitions) > 0
					}
					return false
				})
			}
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestBrokenRecordsGoOutAsTheyCame(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	plan := runRules(t, r, "", "1h", "")
	x := r.run(plan)
	broken := map[string]codecs.Record{
		"malformed_json": {Value: []byte(`{"id":"1"`)},
		"tombstone":      {Value: nil},
		"empty":          {Value: []byte{}},
		"missing_time":   {Value: []byte(`{"id":"1","u":"u"}`)},
		"missing_key":    {Value: []byte(fmt.Sprintf(`{"id":"1","t":%d}`, time.Now().UnixMicro()))},
		"too_large":      {Value: []byte(`{"id":"1","x":"` + strings.Repeat("x", MaxInputBytes) + `"}`)},
	}
	for reason, record := range broken {
		record.Topic, record.Partition, record.Key = "i", -1, []byte(reason)
		record.Headers = []codecs.Header{{Key: "trace", Value: []byte("t1")}}
		r.write(record)
	}
	got := map[string]string{}
	r.eventually("every broken record is rejected", func() bool {
		if x.stats.Snapshot().Rejected["missing_time"] == 0 {
			return false
		}
		for _, m := range r.read("ads.rejected") {
			for _, h := range m.Headers {
				if string(h.Key) == codecs.HeaderException {
					got[string(m.Key)] = string(h.Value)
				}
			}
			if string(m.Value) != string(broken[string(m.Key)].Value) {
				t.Errorf("the rejected record %s has other bytes", m.Key)
			}
			if string(m.Headers[len(m.Headers)-1].Key) != "trace" {
				t.Errorf("the rejected record %s has lost its headers", m.Key)
			}
		}
		return len(got) == len(broken)
	})
	for key, reason := range got {
		if key != reason {
			t.Errorf("record %q was rejected as %s", key, reason)
		}
	}
}

func TestRunRefusesTopicsThatDoNotFit(t *testing.T) {
	r := newRigWith(t, "i", "c")
	err := Run(context.Background(), runRules(t, r, "", "1h", ""), Config{Logger: r.log})
	var mismatches Mismatches
	if !errors.As(err, &mismatches) || len(mismatches) != 1 || !strings.Contains(mismatches[0], "--topic e") {
		t.Errorf("run without a topic returned %v", err)
	}
}

func TestRunRefusesStreamsThatArePartitionedOtherwise(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	for n := range 60 {
		record := runEvent("i", fmt.Sprint("i", n), fmt.Sprint("u", n), time.Now())
		record.Partition = int32(n % testPartitions)
		r.write(record)
	}
	err := Run(context.Background(), runRules(t, r, "", "1h", ", partitioned_by: u"), Config{Logger: r.log})
	var mismatches Mismatches
	if !errors.As(err, &mismatches) || !strings.Contains(err.Error(), "is not partitioned by u") {
		t.Errorf("run over a stream in other partitions returned %v", err)
	}
}

func TestRunWaitsForABroker(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	plan := runRules(t, r, "", "1h", "")
	r.client.Close()
	r.cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if err := Run(ctx, plan, Config{Logger: r.log}); err != nil {
		t.Errorf("run without a broker, cancelled, returned %v", err)
	}
}
