package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/gen"
)

const (
	// latencyHistory is how many events a job has worked off before its latency is measured.
	latencyHistory = 500_000
	latencyRate    = 20_000 // events per second
	latencyWarmUp  = 5 * time.Second
	// latencyRest is how long deltas are waited for after the last event: a conversion without a touch has none.
	latencyRest = 3 * time.Second
)

// benchLatency measures, at a steady rate, the time from the sending of a conversion to its first delta at a reader of what is
// committed.
func benchLatency(ctx context.Context, b *bench, c *cluster) error {
	variants := []variant{exactlyOnce, viaIntake}
	found := map[string][]latencies{}
	for round := range b.count {
		for i, v := range variants {
			l, err := c.latency(ctx, v, fmt.Sprintf("latency%d", round*len(variants)+i+1), b.latencyTime)
			if err != nil {
				return err
			}
			found[v.name] = append(found[v.name], l)
		}
	}
	for _, v := range variants {
		figure := func(of func(latencies) float64) float64 { return median(each(found[v.name], of)) }
		fmt.Fprintf(b.out, "latency at %d events/s, %s\tp50 %.0f ms\tp99 %.0f ms\t%.0f conversions\tsent at most %.0f ms late\t%.2f cores\n", latencyRate, v.label,
			1e3*figure(func(l latencies) float64 { return l.quantile(0.5) }),
			1e3*figure(func(l latencies) float64 { return l.quantile(0.99) }),
			figure(func(l latencies) float64 { return float64(len(l.seconds)) }),
			1e3*figure(func(l latencies) float64 { return l.behind }),
			figure(func(l latencies) float64 { return l.cores }))
	}
	return nil
}

// latencies are what one measurement has found.
type latencies struct {
	seconds []float64 // sorted
	behind  float64   // seconds that the sender was behind its schedule, at most
	cores   float64   // that the process has used
}

// quantile returns the latency that a share q of the conversions did not exceed.
func (l latencies) quantile(q float64) float64 {
	if len(l.seconds) == 0 {
		return math.NaN()
	}
	return l.seconds[max(0, int(math.Ceil(q*float64(len(l.seconds))))-1)]
}

// latency measures a variant over source topics of its own.
func (c *cluster) latency(ctx context.Context, v variant, data string, length time.Duration) (l latencies, err error) {
	if err := c.preload(data, latencyHistory); err != nil {
		return l, err
	}
	j, err := newJob(c.dir, v, data, 1)
	if err != nil {
		return l, err
	}
	total, err := ends(c.client, j.plan)
	if err != nil {
		return l, err
	}
	p, _, err := c.start(ctx, j, false)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, p.end(), c.remove(j), c.removeTopics(data+".")) }()
	if err := c.workOff(ctx, p, total, func(int64) error { return nil }); err != nil {
		return l, err
	}
	watch, err := watchDeltas(c.server.Addr(), j.deltas())
	if err != nil {
		return l, err
	}
	l, err = c.pace(ctx, p, watch, length)
	seconds, err2 := watch.close()
	l.seconds, err = seconds, errors.Join(err, err2)
	if err == nil && len(l.seconds) == 0 {
		err = fmt.Errorf("%s: no conversion had a delta", v.label)
	}
	return l, err
}

// pace sends events at latencyRate, for latencyWarmUp and length, and tells watch when it sends a conversion.
func (c *cluster) pace(ctx context.Context, p *process, watch *deltaWatch, length time.Duration) (l latencies, err error) {
	w, err := newWriter(c.client, p.job.plan)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	config := gen.Default()
	config.Seed++ // other ids than those of the history
	config.Rate, config.Start = latencyRate, time.Now()
	config.Events = uint64(latencyRate * (latencyWarmUp + length).Seconds())
	// A conversion whose touch comes late has its delta when the touch comes, which is no latency.
	config.Disorder.Share, config.Duplicates, config.Broken = 0, 0, 0
	g, err := gen.New(config)
	if err != nil {
		return l, err
	}
	measured := config.Start.Add(latencyWarmUp)
	var from usage
	var rec gen.Record
	for g.Next(&rec) {
		due := time.UnixMicro(rec.Arrival)
		if err := waitUntil(ctx, p, due); err != nil {
			return l, err
		}
		now := time.Now()
		if !due.Before(measured) {
			if from.at.IsZero() {
				if from, err = p.usage(); err != nil {
					return l, err
				}
			}
			l.behind = max(l.behind, now.Sub(due).Seconds())
			if rec.Stream == "conversion" {
				if err := watch.sent(rec.Value, now); err != nil {
					return l, err
				}
			}
		}
		w.send(&rec)
	}
	to, err := p.usage()
	if err != nil {
		return l, err
	}
	l.cores = (to.cpu - from.cpu) / to.at.Sub(from.at).Seconds()
	return l, waitUntil(ctx, p, to.at.Add(latencyRest))
}

// waitUntil returns at a time, or with an error where ctx or the process ends first.
func waitUntil(ctx context.Context, p *process, at time.Time) error {
	left := time.Until(at)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.done:
		return errors.Join(fmt.Errorf("%s: the process has ended", p.job.label), p.failure())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deltaWatch waits for the first delta of each conversion that was sent.
type deltaWatch struct {
	consumer sarama.Consumer
	readers  []sarama.PartitionConsumer
	reading  sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]time.Time // by conversion id: when it was sent
	seconds []float64
	err     error
}

// conversionID is what an event and a delta say of a conversion.
type conversionID struct {
	ID string `json:"conversion_id"`
}

// watchDeltas reads what is committed to a topic from now on. It has a connection of its own: on one that is shared with the sender, what is
// sent would wait while the broker waits for deltas.
func watchDeltas(addr, topic string) (*deltaWatch, error) {
	consumer, err := sarama.NewConsumer([]string{addr}, clientConfig())
	if err != nil {
		return nil, err
	}
	w := &deltaWatch{consumer: consumer, waiting: map[string]time.Time{}}
	partitions, err := consumer.Partitions(topic)
	for _, n := range partitions {
		var r sarama.PartitionConsumer
		if r, err = consumer.ConsumePartition(topic, n, sarama.OffsetNewest); err != nil {
			break
		}
		w.readers = append(w.readers, r)
		w.reading.Go(func() {
			for m := range r.Messages() {
				w.received(m.Value)
			}
		})
	}
	if err != nil {
		_, err2 := w.close()
		return nil, errors.Join(fmt.Errorf("read %s: %w", topic, err), err2)
	}
	return w, nil
}

func (w *deltaWatch) sent(event []byte, at time.Time) error {
	var c conversionID
	if err := json.Unmarshal(event, &c); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[c.ID] = at
	return nil
}

func (w *deltaWatch) received(delta []byte) {
	now := time.Now()
	var c conversionID
	err := json.Unmarshal(delta, &c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = errors.Join(w.err, err)
	}
	if at, ok := w.waiting[c.ID]; ok {
		delete(w.waiting, c.ID)
		w.seconds = append(w.seconds, now.Sub(at).Seconds())
	}
}

// close ends the reading and returns the latencies, sorted.
func (w *deltaWatch) close() ([]float64, error) {
	for _, r := range w.readers {
		r.AsyncClose()
	}
	w.reading.Wait()
	slices.Sort(w.seconds)
	return w.seconds, errors.Join(w.err, w.consumer.Close())
}
