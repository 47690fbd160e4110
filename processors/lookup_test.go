package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Look-ups while records flow, and while sessions end, lose nothing and see nothing that is not committed and whole: the rows that a
// conversion has are those that its history gives it by definition, and have been written.
func TestLookupsBesideTheWork(t *testing.T) {
	for name, test := range map[string]struct {
		settings, stream string
		sessions         bool
	}{
		"repartitioned, in memory, with sessions that end": {sessions: true},
		"direct, on disk": {settings: "state: {store: disk, dir: " + t.TempDir() + "}", stream: ", partitioned_by: u"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, "i", "c", "e")
			plan := runRules(t, r, test.settings, "100d", test.stream)
			records, streams := runEvents(3000)
			batch := NewRecount(plan, nil)
			var conversions []string // user and id
			for i := range records {
				batch.Add(streams[i], &Raw{Value: records[i].Value, Origin: codecs.Origin{Timestamp: time.Now().UnixMicro()}})
				if streams[i] == 2 {
					_, id, _ := strings.Cut(string(records[i].Value), `"id":"`)
					id, _, _ = strings.Cut(id, `"`)
					conversions = append(conversions, string(records[i].Key)+" "+id)
				}
			}
			if test.sessions {
				var beats atomic.Int64
				r.endSessions(func() bool { return beats.Add(1)%4 == 0 })
			}
			x := r.run(plan)
			<-x.ready

			asking, enough := context.WithCancel(t.Context())
			var askers sync.WaitGroup
			defer askers.Wait()
			defer enough()
			var mu sync.Mutex
			shown := map[string]bool{}
			check := func(f *Findings) {
				for i := range f.Held {
					for rule, rows := range f.Held[i].Credits {
						if _, exact, err := f.Held[i].Explain(plan, rule); err != nil || !exact {
							t.Errorf("%s has rows that its history does not give it: %v", codecs.AppendText(nil, f.Held[i].Conversion.IDValue()), err)
						}
						mu.Lock()
						for _, row := range rows {
							shown[string(row)] = true
						}
						mu.Unlock()
					}
				}
			}
			for asker := range 3 {
				askers.Go(func() {
					for n := asker; asking.Err() == nil; n += 3 {
						user, id, _ := strings.Cut(conversions[n%len(conversions)], " ")
						q := Lookup{Conversion: id}
						if n%2 == 0 {
							q.Key = map[string]string{"u": user}
						}
						f, err := x.asked.Find(asking, q)
						if err == nil {
							check(f)
						} else if asking.Err() == nil {
							t.Error(err)
						}
					}
				})
			}
			r.eventually("look-ups are under way", func() bool { return len(x.asked.room) > 0 })
			for chunk := range slices.Chunk(records, 100) {
				r.write(chunk...)
			}
			r.eventually("the net of the outputs equals the batch", func() bool {
				return len(r.differences(plan, batch)) == 0
			})
			final := map[string]bool{}
			err := batch.Rows(func(_ *rules.Rule, c *codecs.Credit) {
				text, err := codecs.AppendFinal(nil, c)
				if err != nil {
					t.Error(err)
				}
				final[string(text)] = true
			})
			if err != nil {
				t.Fatal(err)
			}
			enough()
			askers.Wait()
			if len(shown) == 0 {
				t.Fatal("nothing was found under load: the test shows nothing")
			}
			for _, c := range conversions[:20] {
				_, id, _ := strings.Cut(c, " ")
				var f *Findings
				var err error
				r.eventually("all partitions are in service", func() bool { // sessions end here, too
					f, err = x.asked.Find(t.Context(), Lookup{Conversion: id, Rule: "r"})
					return err != nil || len(f.Places[0].Restoring) == 0
				})
				if err != nil || len(f.Held) != 1 || len(f.Held[0].Credits) != 1 {
					t.Fatalf("%s: %v, %v", id, f, err)
				}
				check(f)
				for _, row := range f.Held[0].Credits[plan.Rules[0]] {
					if !final[string(row)] {
						t.Errorf("of %s the batch does not have the row %s", id, row)
					}
				}
			}
			if err := x.stop(); err != nil {
				t.Fatal(err)
			}
			written := map[string]bool{}
			for _, m := range r.read("out") {
				row, err := decodeRow(m.Value)
				if err != nil {
					t.Fatal(err)
				}
				written[bare(row)] = true
			}
			for row := range shown {
				m, err := decodeRow([]byte(row))
				if err != nil || !written[bare(m)] {
					t.Errorf("it has shown a row that was never committed: %s (%v)", row, err)
				}
			}
		})
	}
}

// What is not committed is not told: here a conversion is handled again and again, and no commit succeeds.
func TestLookupsSeeNothingThatIsNotCommitted(t *testing.T) {
	eachStore(t, func(t *testing.T, dir string) {
		r := newRigWith(t, "i", "c", "e")
		settings := ""
		if dir != "" {
			settings = "state: {store: disk, dir: " + dir + "}"
		}
		plan := runRules(t, r, settings, "100d", ", partitioned_by: u")
		var refusing atomic.Bool
		var refused atomic.Int64
		refusing.Store(true)
		x := r.run(plan)
		<-x.ready
		r.failProduce("out.deltas", kerr.UnknownServerError.Code, func() bool {
			if !refusing.Load() {
				return false
			}
			refused.Add(1)
			return true
		})
		r.write(runEvent("e", "e1", "u1", time.Now()))
		ask := func() int {
			f, err := x.asked.Find(t.Context(), Lookup{Conversion: "e1", Key: map[string]string{"u": "u1"}})
			if err != nil {
				t.Fatal(err)
			}
			return len(f.Held)
		}
		r.eventually("commits have failed", func() bool {
			if ask() > 0 {
				t.Fatal("a conversion is shown that is not committed")
			}
			return refused.Load() >= 4
		})
		refusing.Store(false)
		r.eventually("it is committed", func() bool { return ask() == 1 })
	})
}

func TestLookupsThatCannotBeMade(t *testing.T) {
	plan := mustCompile(t, fmt.Sprintf(runPlan, "", "1h", ""))
	l := NewLookups(plan)
	for name, test := range map[string]struct {
		q    Lookup
		says string
	}{
		"rule":        {Lookup{Conversion: "e", Rule: "other"}, `there is no rule "other"`},
		"fields":      {Lookup{Conversion: "e", Key: map[string]string{"v": "1"}}, "no key of these rules has those fields, and no others: u"},
		"many fields": {Lookup{Conversion: "e", Key: map[string]string{"u": "1", "v": "1"}}, "no key of these rules"},
		"id":          {Lookup{Conversion: "\xff"}, "not UTF-8"},
		"key":         {Lookup{Conversion: "e", Key: map[string]string{"u": "\xff"}}, "not UTF-8"},
		"long key":    {Lookup{Conversion: "e", Key: map[string]string{"u": strings.Repeat("x", 5000)}}, "the limit is 4096"},
	} {
		bad := (*BadLookup)(nil)
		if _, err := l.Find(t.Context(), test.q); !errors.As(err, &bad) || !strings.Contains(bad.Problem, test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Find(over, Lookup{Conversion: "e"}); err == nil || !strings.Contains(err.Error(), "no partitions of key u in service") {
		t.Errorf("without a session: %v", err)
	}
	for range maxLookups {
		l.room <- struct{}{}
	}
	if _, err := l.Find(t.Context(), Lookup{Conversion: "e"}); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
}
