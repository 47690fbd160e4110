package api

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// newRegistry returns metrics of ours, and those of the Go runtime and of the process.
func newRegistry(ours prometheus.Collector) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	for _, from := range []prometheus.Collector{
		ours,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(from); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lookback_"+name, help, labels, nil)
}

// The metrics. Labels take their values from the rules file, the topics and lists in the code, never from records.
var (
	buildInfo = desc("build_info", "Always 1; the label tells what runs.", "version")
	rulesInfo = desc("rules_info", "Always 1; the labels tell which rules are run.", "app", "hash")
	ready     = desc("ready", "1 when /readyz answers 200, else 0.")

	recordsIn   = desc("records_in_total", "Records of input topics whose effects are committed. A record that is repartitioned counts at both its processors.", "processor", "topic")
	accepted    = desc("accepted_records_total", "Events taken into a history; one that several keys use counts for each.", "stream")
	duplicates  = desc("duplicate_records_total", "Events whose history had them already, or a version of them that wins.", "stream")
	late        = desc("late_records_total", "Events behind the watermark by more than the lateness of their stream.", "stream", "action")
	rejected    = desc("rejected_records_total", "Records written to the topic of rejects.", "reason")
	recordsOut  = desc("records_out_total", "Records written to the topics of rules.", "rule", "op")
	rows        = desc("credit_rows_total", "Signed rows; the net of a model's class is those of sign +1 less those of -1.", "rule", "model", "class", "sign")
	corrections = desc("corrections_total", "Rows that were taken back.", "rule", "reason")
	lateness    = desc("event_lateness_seconds", "How far behind the watermark the time of an event was when it was handled; 0: it was not.", "stream")
	eventLag    = desc("event_lag_seconds", "From the Kafka timestamp of an event to the commit of what it caused.")

	commits       = desc("commits_total", "Commits that had something to commit.", "processor")
	commitTime    = desc("txn_commit_duration_seconds", "Duration of those commits.", "processor")
	aborts        = desc("txn_aborts_total", "Commits that failed; what they were to commit is done again.", "processor", "cause")
	sessions      = desc("sessions_total", "Memberships in the consumer group that have ended; clean is a rebalance or a stop.", "processor", "end")
	assigned      = desc("assigned_partitions", "Partitions that the processor has at present.", "processor")
	lag           = desc("consumer_lag_records", "From the next offset to the end of the partition as last fetched. Transactional topics count their markers.", "processor", "topic", "partition")
	watermark     = desc("watermark_timestamp_seconds", "Event time that the partition has reached.", "processor", "partition")
	stateKeys     = desc("state_keys", "Keys whose histories are in memory.", "processor", "partition")
	stateBytes    = desc("state_bytes", "Memory that these histories take, about.", "processor", "partition")
	diskBytes     = desc("state_disk_bytes", "What the partition's store takes on the disk.", "processor", "partition")
	standbys      = desc("standby_partitions", "Partitions of other instances whose tables are kept warm here.", "processor")
	standbyBehind = desc("standby_behind_records", "Changelog offsets that the furthest behind of these copies lacks.", "processor")
	restoreRemain = desc("restore_remaining_records", "Changelog records to load before the partition is in service.", "processor", "partition")
)

// collector turns what is known of the run into metrics when it is asked.
type collector struct{ c Config }

// Describe names the metrics.
func (m *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, rulesInfo, ready, recordsIn, accepted, duplicates, late, rejected, recordsOut, rows, corrections, lateness, eventLag,
		commits, commitTime, aborts, sessions, assigned, lag, watermark, stateKeys, stateBytes, diskBytes, restoreRemain, standbys, standbyBehind,
	} {
		to <- d
	}
}

// Collect reads them.
func (m *collector) Collect(to chan<- prometheus.Metric) {
	s := m.c.Stats.Snapshot()
	out := samples{to}
	out.gauge(buildInfo, 1, m.c.Version)
	out.gauge(rulesInfo, 1, m.c.Plan.App, m.c.Plan.Hash)
	if readinessOf(s).Ready {
		out.gauge(ready, 1)
	} else {
		out.gauge(ready, 0)
	}
	m.records(out, &s)
	out.histogram(eventLag, m.c.Stats.Latency())
	for i := range s.Processors {
		out.processor(&s.Processors[i])
	}
}

// records counts what has become of records. Whatever the rules can cause is there from the start with 0, because a counter
// that appears with its first event hides it from rates.
func (m *collector) records(out samples, s *processors.Snapshot) {
	for stream, n := range s.Accepted {
		out.counter(accepted, n, stream)
	}
	for stream, n := range s.Duplicates {
		out.counter(duplicates, n, stream)
	}
	for c, n := range s.LateBy {
		out.counter(late, n, c.Stream, c.Action)
	}
	for stream, l := range s.Lateness {
		out.histogram(lateness, l, stream)
	}
	for reason, n := range s.Rejected {
		out.counter(rejected, n, reason)
	}
	for _, r := range m.c.Plan.Rules {
		for _, reason := range processors.CorrectionReasons {
			out.counter(corrections, s.Corrections[processors.Correction{Rule: r.Name, Reason: reason}], r.Name, reason)
		}
		for _, op := range opsOf(r) {
			out.counter(recordsOut, s.Written[processors.Output{Rule: r.Name, Op: op}], r.Name, op)
		}
		for _, m := range r.Models {
			for _, class := range classesOf(r) {
				for _, sign := range []int{1, -1} {
					n := s.Rows[processors.RowKind{Rule: r.Name, Model: m.Name, Class: class, Sign: sign}]
					out.counter(rows, n, r.Name, m.Name, class, fmt.Sprintf("%+d", sign))
				}
			}
		}
	}
}

// opsOf returns the kinds of records that a rule writes.
func opsOf(r *rules.Rule) (ops []string) {
	if r.Deltas {
		ops = append(ops, processors.OpDelta)
	}
	if r.Upserts {
		ops = append(ops, codecs.OpUpsert, codecs.OpDelete)
	}
	return ops
}

// classesOf returns the classes that a rule's rows may have. Several classes of a rule may share a name.
func classesOf(r *rules.Rule) (names []string) {
	seen := map[string]bool{}
	for _, c := range r.Classes {
		if !seen[c.Name] {
			seen[c.Name] = true
			names = append(names, c.Name)
		}
	}
	if r.Unattributed && !seen[codecs.NoClass] {
		names = append(names, codecs.NoClass)
	}
	return names
}

// distribution is a histogram of durations: how many there were, their sum, and how many were at most each of some bounds.
type distribution interface {
	Cumulative() (count uint64, sum time.Duration, below map[time.Duration]uint64)
}

// samples sends metrics.
type samples struct{ to chan<- prometheus.Metric }

func (o samples) counter(d *prometheus.Desc, n int64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (o samples) gauge(d *prometheus.Desc, v float64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (o samples) histogram(d *prometheus.Desc, of distribution, labels ...string) (count uint64) {
	count, sum, below := of.Cumulative()
	buckets := make(map[float64]uint64, len(below))
	for bound, n := range below {
		buckets[bound.Seconds()] = n
	}
	o.to <- prometheus.MustNewConstHistogram(d, count, sum.Seconds(), buckets, labels...)
	return count
}

// processor sends the metrics of one processor.
func (o samples) processor(p *processors.ProcessorSnapshot) {
	o.counter(commits, int64(o.histogram(commitTime, p.CommitTime, p.Name)), p.Name)
	for topic, n := range p.Received {
		o.counter(recordsIn, n, p.Name, topic)
	}
	for _, cause := range processors.Causes() {
		o.counter(aborts, p.Aborts[cause], p.Name, cause)
	}
	for _, end := range append(processors.Causes(), processors.Clean) {
		o.counter(sessions, p.Sessions[end], p.Name, end)
	}
	o.gauge(assigned, float64(len(p.Partitions)), p.Name)
	behind := int64(0)
	for _, copied := range p.Standbys {
		behind = max(behind, copied.Behind)
	}
	o.gauge(standbys, float64(len(p.Standbys)), p.Name)
	o.gauge(standbyBehind, float64(behind), p.Name)
	for _, l := range p.Lags {
		o.gauge(lag, float64(l.Records), p.Name, l.Topic, strconv.Itoa(int(l.Partition)))
	}
	for _, part := range p.Partitions {
		n := strconv.Itoa(int(part.Partition))
		o.gauge(restoreRemain, float64(part.RestoreRemaining), p.Name, n)
		if !part.HasState {
			continue
		}
		o.gauge(stateKeys, float64(part.Keys), p.Name, n)
		o.gauge(stateBytes, float64(part.Bytes), p.Name, n)
		o.gauge(diskBytes, float64(part.DiskBytes), p.Name, n)
		if part.Watermark != math.MinInt64 {
			o.gauge(watermark, float64(part.Watermark)/float64(time.Second/time.Microsecond), p.Name, n)
		}
	}
}
