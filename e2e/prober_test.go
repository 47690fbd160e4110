package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// prober sends a conversion to every partition again and again and takes the time until its row is there.
type prober struct {
	*rig
	app   string
	plan  *rules.Plan
	users []string // by partition
	sent  []input

	mu   sync.Mutex
	at   map[string]time.Time     // by conversion
	took map[string]time.Duration // by conversion
}

func (r *rig) probe(plan *rules.Plan, app string) *prober {
	r.t.Helper()
	p := &prober{rig: r, app: app, plan: plan, users: make([]string, partitions), at: map[string]time.Time{}, took: map[string]time.Duration{}}
	for n, found := 0, 0; found < partitions; n++ {
		user := fmt.Sprint("probe-", n)
		if at := codecs.PartitionOf([]byte(user), partitions); p.users[at] == "" {
			p.users[at] = user
			found++
		}
	}
	consumer, err := sarama.NewConsumerFromClient(r.client)
	if err != nil {
		r.t.Fatal(err)
	}
	topic := processors.DeltasTopic(plan.Rules[0])
	for n := range int32(partitions) {
		rows, err := consumer.ConsumePartition(topic, n, sarama.OffsetNewest)
		if err != nil {
			r.t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for m := range rows.Messages() {
				var row struct {
					ID string `json:"conversion_id"`
				}
				if json.Unmarshal(m.Value, &row) != nil {
					continue
				}
				p.mu.Lock()
				if at, mine := p.at[row.ID]; mine {
					p.took[row.ID] = time.Since(at)
				}
				p.mu.Unlock()
			}
		}()
		r.t.Cleanup(func() {
			rows.AsyncClose()
			<-done
		})
	}
	return p
}

// round sends one conversion to each partition.
func (p *prober) round() {
	p.t.Helper()
	now := time.Now()
	var round []input
	p.mu.Lock()
	for n, user := range p.users {
		id := fmt.Sprint("probe-", len(p.at), "-", n)
		p.at[id] = now
		round = append(round, input{stream: 2, time: now.UnixMicro(), record: record{
			topic: p.app + ".conversions", key: []byte(user), at: now.Truncate(time.Millisecond),
			value: fmt.Appendf(nil, `{"conversion_id":%q,"event_ts":%d,"user_id":%q,"advertiser_id":"a","pixel_id":"p","value":1}`, id, now.UnixMilli(), user)}})
	}
	p.mu.Unlock()
	p.feed(round)
	p.sent = append(p.sent, round...)
}

// until probes until a condition is met.
func (p *prober) until(what string, condition func() (bool, error)) {
	p.t.Helper()
	p.await(what, func() (bool, error) {
		p.round()
		return condition()
	})
}

// rounds probes n times and awaits all answers.
func (p *prober) rounds(n int) {
	p.t.Helper()
	p.until("so many probes", func() (bool, error) { n--; return n <= 0, nil })
	p.await("all probes are answered", func() (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.took) == len(p.at), nil
	})
}

func (p *prober) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.at {
		p.took[id] = 0
	}
}

// report logs the longest waits.
func (p *prober) report(what string, before, after map[string]string) {
	p.t.Helper()
	group := processors.KeyGroup(p.plan.App, p.plan.Keys[0])
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.users {
		longest := time.Duration(0)
		for id, took := range p.took {
			if strings.HasSuffix(id, fmt.Sprint("-", n)) {
				longest = max(longest, took)
			}
		}
		at := fmt.Sprint(group, "/", n)
		p.t.Logf("%s: partition %d went from %s to %s, records waited %s at most", what, n, before[at], after[at], longest.Round(time.Millisecond))
	}
}
