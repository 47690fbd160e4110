package api

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// VerifyStatus is what verifications that follow one another have found. The zero VerifyStatus has none. It is safe for concurrent use.
type VerifyStatus struct {
	mu       sync.Mutex
	latest   *processors.Verification
	report   []byte
	began    time.Time
	took     time.Duration
	failures int64
}

// Found notes a verification that began then, and its report as a page of HTML.
func (s *VerifyStatus) Found(v *processors.Verification, report []byte, began time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest, s.report, s.began, s.took = v, report, began, took
}

// Failed notes that a verification could not be made.
func (s *VerifyStatus) Failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
}

// VerifyConfig says what of verifications is served, and where.
type VerifyConfig struct {
	Addr    string // host:port
	Token   string // as of Config
	Plan    *rules.Plan
	Status  *VerifyStatus
	Version string
	Logger  *slog.Logger
}

// StartVerify listens and serves what the latest verification has found until Close: metrics, and the report.
func StartVerify(c VerifyConfig) (*Server, error) {
	if err := Check(c.Addr, c.Token); err != nil {
		return nil, err
	}
	handler, err := newVerifyHandler(c)
	if err != nil {
		return nil, err
	}
	return listen(c.Addr, handler, c.Logger)
}

func newVerifyHandler(c VerifyConfig) (http.Handler, error) {
	metrics, err := newRegistry(&verifyCollector{c})
	if err != nil {
		return nil, err
	}
	s := site{
		token: c.Token, version: c.Version, app: c.Plan.App, log: c.Logger, metrics: metrics,
		ready: c.Status.readiness, readySays: "200 when there is a report, 503 before",
		more: []endpoint{{"/report", "the latest report", map[string]http.HandlerFunc{"/report": c.Status.writeReport}}},
	}
	return s.handler()
}

func (s *VerifyStatus) readiness() readiness {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := readiness{Ready: s.latest != nil, Reasons: []string{}, Processors: []processorReadiness{}}
	if !r.Ready {
		r.Reasons = append(r.Reasons, "nothing has been verified yet")
	}
	return r
}

func (s *VerifyStatus) writeReport(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	report := s.report
	s.mu.Unlock()
	if report == nil {
		http.Error(w, "nothing has been verified yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(report) // who has hung up meanwhile cannot be told
}

// The metrics of verifications: gauges of the latest.
var (
	verified       = desc("verify_conversions", "Conversions that the latest verification has judged.", "rule")
	verifiedOther  = desc("verify_different_conversions", "Of them, those of which the stream says something else than the batch over all events.", "rule", "cause")
	verifiedRatio  = desc("verify_discrepancy_ratio", "The share of them that these are, whatever the cause.", "rule")
	verifiedFlight = desc("verify_in_flight_conversions", "Conversions that it has not judged, because the app had not committed all of their key.", "rule")
	verifiedAt     = desc("verify_timestamp_seconds", "When it began.")
	verifiedTook   = desc("verify_duration_seconds", "How long it took.")
	verifyFailures = desc("verify_failures_total", "Verifications that could not be made.")
)

// verifyCollector turns what was found into metrics when it is asked.
type verifyCollector struct{ c VerifyConfig }

// Describe names the metrics.
func (m *verifyCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, rulesInfo, verified, verifiedOther, verifiedRatio, verifiedFlight, verifiedAt, verifiedTook, verifyFailures,
	} {
		to <- d
	}
}

// Collect reads them.
func (m *verifyCollector) Collect(to chan<- prometheus.Metric) {
	s := m.c.Status
	s.mu.Lock()
	latest, began, took, failures := s.latest, s.began, s.took, s.failures
	s.mu.Unlock()
	out := samples{to}
	out.gauge(buildInfo, 1, m.c.Version)
	out.gauge(rulesInfo, 1, m.c.Plan.App, m.c.Plan.Hash)
	out.counter(verifyFailures, failures)
	if latest == nil {
		return
	}
	out.gauge(verifiedAt, float64(began.UnixMilli())/1000)
	out.gauge(verifiedTook, took.Seconds())
	for i := range latest.Rules {
		r := &latest.Rules[i]
		out.gauge(verified, float64(r.Conversions), r.Rule)
		out.gauge(verifiedFlight, float64(r.InFlight), r.Rule)
		for _, cause := range processors.VerifyCauses() {
			out.gauge(verifiedOther, float64(r.Different[cause]), r.Rule, string(cause))
		}
		ratio := float64(r.Conversions-r.Equal) / float64(max(r.Conversions, 1))
		out.gauge(verifiedRatio, ratio, r.Rule)
	}
}
