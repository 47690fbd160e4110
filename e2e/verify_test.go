package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/gen"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// verify runs `lookback verify` and returns what it found.
func (r *rig) verify(binary, file string, code int, args ...string) processors.Verification {
	r.t.Helper()
	got := command(r.t, binary, append([]string{"verify", file, "--brokers", r.addrs[0], "--tmp", r.t.TempDir(), "--format", "json"}, args...)...)
	got.want(r.t, code)
	return decode[processors.Verification](r.t, []byte(got.stdout))
}

// wantVerified checks what was found of a rule.
func wantVerified(t *testing.T, r processors.VerifiedRule, conversions int, different map[processors.Cause]int64) {
	t.Helper()
	sum := int64(0)
	for _, cause := range processors.VerifyCauses() {
		sum += r.Different[cause]
		if got := r.Different[cause]; got != different[cause] {
			t.Errorf("rule %s: %d conversions differ by %s, want %d", r.Rule, got, cause, different[cause])
		}
	}
	if r.Conversions != int64(conversions) || r.Equal != r.Conversions-sum {
		t.Errorf("rule %s: %d conversions, %d equal, %d different; want %d", r.Rule, r.Conversions, r.Equal, sum, conversions)
	}
	judged := int64(0)
	for _, m := range r.Minutes {
		judged += m.Judged
	}
	if judged != r.Conversions {
		t.Errorf("rule %s: its minutes have %d conversions of %d", r.Rule, judged, r.Conversions)
	}
}

// rowsByConversion renders a recount: the rows of each conversion that has any.
func rowsByConversion(t *testing.T, batch *processors.Recount, rule string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	err := batch.Rows(func(r *rules.Rule, c *codecs.Credit) {
		if r.Name == rule {
			row, err := codecs.AppendFinal(nil, c)
			if err != nil {
				t.Error(err)
			}
			rows[string(codecs.AppendText(nil, c.Conversion))] += string(row)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// conversionsOf are the ids of the conversions among inputs that are not refused.
func conversionsOf(t *testing.T, plan *rules.Plan, inputs []input, in func(at int64) bool) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for id := range rowsByConversion(t, recount(plan, inputs, nil), "attributed") { // it emits what has no touch, too
		ids[id] = true
	}
	for _, i := range inputs {
		if i.stream == slices.Index(adStreams, "conversion") && !i.kind.Broken() && !in(i.time) {
			delete(ids, decode[map[string]any](t, i.value)["conversion_id"].(string))
		}
	}
	return ids
}

func always(int64) bool { return true }

// A stream is found equal while the app is at work, by every route, for two keys, and for an interval, which has its own conversions alone.
// What the app has not read yet is in flight, and nothing of it is judged.
func TestVerifyFindsTheStreamEqual(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				src := adOptions{app: app, topics: app, direct: direct}.source()
				plan, file := r.compile(src), writeRules(t, src)
				c := adStream(seedOf(t), 9000)
				c.Conflicts = 0 // so that a conversion has one time
				inputs := generate(t, c, app)
				r.createAdTopics(app)
				command(t, binary, "verify", file, "--brokers", addrs[0]).want(t, 1, "has never run")
				i := r.startReady(plan, app)
				first := inputs[:len(inputs)*3/4]
				r.feed(first)
				r.settle(plan)

				all := r.verify(binary, file, 0)
				n := len(conversionsOf(t, plan, first, always))
				for _, rule := range all.Rules {
					wantVerified(t, rule, n, nil)
					if rule.InFlight != 0 || len(rule.Totals) < 2 {
						t.Errorf("rule %s: %d in flight, totals %v", rule.Rule, rule.InFlight, rule.Totals)
					}
				}
				from, to := middle(first)
				const minutes = "2006-01-02T15:04Z07:00"
				part := r.verify(binary, file, 0, "--from", from.Format(minutes), "--to", to.Format(minutes))
				inside := func(at int64) bool { return at >= from.UnixMicro() && at < to.UnixMicro() }
				n = len(conversionsOf(t, plan, first, inside))
				for _, rule := range part.Rules {
					wantVerified(t, rule, n, nil)
				}
				if n == 0 || !part.From.Equal(from) || !part.To.Equal(to) {
					t.Errorf("%d conversions from %s to %s", n, part.From, part.To)
				}

				i.stop()
				r.feed(inputs[len(first):])
				behind := r.verify(binary, file, 0)
				for _, rule := range behind.Rules {
					if rule.InFlight == 0 || rule.Conversions == 0 || rule.Equal != rule.Conversions {
						t.Errorf("rule %s: %d in flight, %d judged, %d equal", rule.Rule, rule.InFlight, rule.Conversions, rule.Equal)
					}
				}
				report := filepath.Join(t.TempDir(), "report.html")
				command(t, binary, "verify", file, "--brokers", addrs[0], "--format", "html", "--output", report).want(t, 0)
				page, err := os.ReadFile(report)
				if err != nil || !strings.Contains(string(page), "<svg") || !strings.Contains(string(page), "in flight") {
					t.Errorf("the report: %v, %.300s", err, page)
				}
				command(t, binary, "verify", file, "--brokers", addrs[0]).want(t, 0, "equal: ", "in flight", "rule attributed", "rule original")
			})
		}
	})
}

// While the app is at work nothing is ever found wrong: what it has not committed is not judged, what it has is.
func TestVerifyBesideTheAppAtWork(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				src := adOptions{app: app, topics: app, direct: direct}.source()
				plan, file := r.compile(src), writeRules(t, src)
				inputs := generate(t, adStream(seedOf(t), 12_000), app)
				r.createAdTopics(app)
				r.startReady(plan, app)
				feeding := make(chan struct{})
				go func() {
					defer close(feeding)
					for batch := range slices.Chunk(inputs, 50) {
						r.feed(batch)
					}
				}()
				judged := int64(0)
				for done := false; !done; {
					select {
					case <-feeding:
						done = true
					default:
					}
					for _, rule := range r.verify(binary, file, 0).Rules {
						judged += rule.Conversions
					}
				}
				if judged == 0 {
					t.Error("nothing was judged")
				}
			})
		}
	})
}

// Of events that came too late the conversions that they would change are counted, no other, and what the batch over all events gives
// beside what the stream does. When the late topic has forgotten them that is said instead.
func TestVerifyTellsWhatLatenessCosts(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
				r, app := newRig(t, addrs), appName()
				src := adOptions{app: app, topics: app, direct: direct, lateness: "10m"}.source()
				src = oneKey(src)
				plan, file := r.compile(src), writeRules(t, src)
				prompt, delayed := split(generate(t, adStream(seedOf(t), 6000), app), func(in *input) bool { return in.kind != gen.Delayed })
				latest := latestTime(prompt)
				r.createAdTopics(app)
				r.startReady(plan, app)
				r.feed(prompt)
				probes := r.awaitLate(plan, app, latest-2*time.Hour.Microseconds())
				r.feed(delayed)
				r.settle(plan)
				inputs := slices.Concat(prompt, probes, delayed)
				left := r.wantLate(app, inputs, latestTime(inputs)-(10*time.Minute).Microseconds())
				accepted, all := rowsByConversion(t, recount(plan, inputs, left), "attributed"), rowsByConversion(t, recount(plan, inputs, nil), "attributed")
				want := int64(0)
				for id := range all {
					if accepted[id] != all[id] {
						want++
					}
				}
				if want == 0 {
					t.Fatal("lateness cost nothing, so this shows nothing")
				}
				got := r.verify(binary, file, 0)
				wantVerified(t, got.Rules[0], len(all), map[processors.Cause]int64{processors.CauseLate: want})
				late := int64(0)
				for _, s := range got.Streams {
					late += s.Late
				}
				if late != int64(len(left)) {
					t.Errorf("%d events are counted as late, %d were", late, len(left))
				}
				wantTotals(t, got.Rules[0].Totals, recount(plan, inputs, nil), recount(plan, inputs, left))

				forget(r, processors.LateTopic(app))
				got = r.verify(binary, file, 0)
				if n := got.Rules[0].Different[processors.CauseForgotten]; n == 0 || got.Wrong() != 0 {
					t.Errorf("without the late topic %d conversions differ because of it, %d otherwise", n, got.Wrong())
				}
			})
		}
	})
}

// wantTotals holds totals against recounts.
func wantTotals(t *testing.T, totals []processors.VerifiedTotal, batch, stream *processors.Recount) {
	t.Helper()
	sums := func(of *processors.Recount) map[string]int64 {
		s := map[string]int64{}
		err := of.Rows(func(_ *rules.Rule, c *codecs.Credit) {
			s[c.Class+" credit"] += c.Credit
			for _, m := range c.Measure {
				for scale := m.Value.Scale; scale < 6; scale++ {
					m.Value.Num *= 10
				}
				s[c.Class+" "+m.Name] += m.Value.Num
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	got := [2]map[string]int64{{}, {}}
	for _, total := range totals {
		for i, side := range []map[string]string{total.Batch, total.Stream} {
			for name, text := range side {
				whole, fraction, _ := strings.Cut(text, ".")
				n, err := strconv.ParseInt(whole+(fraction + "000000")[:6], 10, 64)
				if err != nil || len(fraction) > 6 {
					t.Fatalf("%s: %v", text, err)
				}
				got[i][total.Class+" "+name] = n
			}
		}
	}
	for i, want := range []map[string]int64{sums(batch), sums(stream)} {
		for name, n := range want {
			if got[i][name] != n {
				t.Errorf("total %s of side %d is %d, want %d", name, i, got[i][name], n)
			}
		}
	}
}

// forget deletes the records of a topic.
func forget(r *rig, topic string) {
	r.t.Helper()
	ends, err := r.ends(topic)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.admin.DeleteRecords(topic, ends); err != nil {
		r.t.Fatal(err)
	}
}

// A conversion of a key whose history was too full to hold its touch is told from others.
func TestVerifyKnowsFullHistories(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app, direct: true, state: "{store: memory, max_touches: 2}"}.source()
		src = oneKey(src)
		plan, file := r.compile(src), writeRules(t, src)
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		now := time.Now().Truncate(time.Second)
		send := func(stream, id, pixel string, second int) {
			value := fmt.Appendf(nil, `{"%s_id":%q,"event_ts":%d,"user_id":"u","advertiser_id":"a","pixel_id":%q}`, stream, id, now.Unix()-100+int64(second), pixel)
			r.send(record{topic: app + "." + stream + "s", key: []byte("u"), value: value})
			r.settle(plan)
		}
		for n := range 4 {
			send("impression", fmt.Sprint("i", n), fmt.Sprint("p", n), n)
		}
		send("conversion", "first", "p0", 10) // whose impression has left
		send("conversion", "last", "p3", 11)
		i.stop()
		got := r.verify(binary, file, 0)
		wantVerified(t, got.Rules[0], 2, map[processors.Cause]int64{processors.CauseMaxTouches: 1})
	})
}

// Where the topics have lost their beginning it is said from when on conversions can be judged, and no earlier one is.
func TestVerifySaysWhatItCannot(t *testing.T) {
	binary := buildLookback(t)
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		r, app := newRig(t, addrs), appName()
		src := adOptions{app: app, topics: app, direct: true}.source()
		src = strings.ReplaceAll(oneKey(src), "lookback: 30d", "lookback: 12h")
		src = strings.NewReplacer("within: 7d", "within: 12h", "within: 1d", "within: 12h").Replace(src)
		plan, file := r.compile(src), writeRules(t, src)
		c := adStream(seedOf(t), 6000)
		c.Conflicts = 0
		inputs := generate(t, c, app)
		r.createAdTopics(app)
		i := r.startReady(plan, app)
		r.feed(inputs)
		r.settle(plan)
		i.stop()
		from := time.UnixMicro(inputs[0].time).Add(24 * time.Hour)
		below := map[int32]int64{}
		for n := range int32(partitions) {
			offset, err := r.client.GetOffset(app+".impressions", n, from.UnixMilli())
			if err != nil {
				t.Fatal(err)
			}
			below[n] = offset
		}
		if err := r.admin.DeleteRecords(app+".impressions", below); err != nil {
			t.Fatal(err)
		}
		got := r.verify(binary, file, 0)
		if got.From == nil || got.From.Before(from.Add(25*time.Hour)) || got.From.After(from.Add(27*time.Hour)) || !strings.Contains(got.Gap, app+".impressions") {
			t.Fatalf("impressions are there from %s on; judged are conversions from %v on: %s", from, got.From, got.Gap)
		}
		inside := func(at int64) bool { return at >= got.From.UnixMicro() }
		wantVerified(t, got.Rules[0], len(conversionsOf(t, plan, inputs, inside)), nil)

		deltas := processors.DeltasTopic(plan.Rules[0])
		last := map[int32]int64{}
		for _, m := range r.read(deltas) {
			last[m.Partition] = m.Offset
		}
		if err := r.admin.DeleteRecords(deltas, last); err != nil {
			t.Fatal(err)
		}
		gone := r.verify(binary, file, 0).Rules[0]
		if gone.Conversions == 0 || gone.Conversions > partitions || gone.Equal != gone.Conversions || gone.RowsGone+gone.Conversions != got.Rules[0].Conversions {
			t.Errorf("with the last deltas alone %d conversions are judged, %d equal, of %d rows may be gone, %v", gone.Conversions, gone.Equal, gone.RowsGone, gone.Different)
		}
		credit := 0
		for _, total := range gone.Totals {
			n, err := strconv.Atoi(total.Batch["credit"])
			if credit += n; err != nil || total.Batch["credit"] != total.Stream["credit"] {
				t.Errorf("what is judged adds up to %+v", total)
			}
		}
		if int64(credit) > gone.Conversions {
			t.Errorf("%d conversions have a credit of %d", gone.Conversions, credit)
		}

		late := from.Add(20 * time.Hour).Format(time.RFC3339)
		command(t, binary, "verify", file, "--brokers", addrs[0], "--to", late).want(t, 1, "nothing can be verified", "conversions before", "choose a later interval")
		forget(r, app+".impressions")
		command(t, binary, "verify", file, "--brokers", addrs[0]).want(t, 1, "nothing can be verified", "has lost all its records")
	})
}
