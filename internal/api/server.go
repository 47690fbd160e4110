// Package api serves what an operator asks a running instance over HTTP: whether it lives, whether it is ready, its metrics, why a
// conversion has its credit and, where that is wanted, its profiles. It only reads; nothing that is sent here changes anything.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Config says what is served, and where.
type Config struct {
	Addr    string // host:port
	Token   string // bearer token of all but the two probes; "": none is asked for, which Check allows on loopback only
	Pprof   bool   // also profiles, under /debug/pprof/
	Plan    *rules.Plan
	Stats   *processors.Stats
	Lookups *processors.Lookups // nil: conversions are not explained
	Version string
	Logger  *slog.Logger
}

// ErrOpen says that an address that others can reach was to be served without a token.
var ErrOpen = errors.New("an address other than loopback needs a token")

// Check tells whether an address may be served with a token, or without one if it is empty.
func Check(addr, token string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("http address %q: %w", addr, err)
	}
	if token == "" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("http address %s: %w", addr, ErrOpen)
	}
	return nil
}

// Server is a running server.
type Server struct {
	inner http.Server
	addr  net.Addr
	done  chan struct{}
}

// Start listens and serves until Close. That the address is taken, or not allowed, is an error.
func Start(c Config) (*Server, error) {
	if err := Check(c.Addr, c.Token); err != nil {
		return nil, err
	}
	handler, err := newHandler(c)
	if err != nil {
		return nil, err
	}
	return listen(c.Addr, handler, c.Logger)
}

// listen serves a handler until Close.
func listen(addr string, handler http.Handler, log *slog.Logger) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve http: %w", err)
	}
	s := &Server{
		inner: http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
			WriteTimeout:      2 * time.Minute, // a profile takes its seconds
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		addr: listener.Addr(),
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.inner.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("http server ended", "error", err)
		}
	}()
	return s, nil
}

// Addr returns the address that is listened on.
func (s *Server) Addr() string { return s.addr.String() }

// closeGrace is how long requests that are being answered may take when the server closes.
const closeGrace = 200 * time.Millisecond

// Close stops listening, lets answers finish that take no longer than a moment, and cuts off the others.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if s.inner.Shutdown(ctx) != nil {
		_ = s.inner.Close() // the listener is closed already, and the connections are given up
	}
	<-s.done
}

// endpoint is something that is served to who has the token, and its line of the index.
type endpoint struct {
	path, says string
	handlers   map[string]http.HandlerFunc // by path
}

func newHandler(c Config) (http.Handler, error) {
	metrics, err := newRegistry(&collector{c})
	if err != nil {
		return nil, err
	}
	s := site{
		token: c.Token, version: c.Version, app: c.Plan.App, log: c.Logger, metrics: metrics,
		ready:     func() readiness { return readinessOf(c.Stats.Snapshot()) },
		readySays: "200 when every assigned partition is in service, 503 with the reasons before",
	}
	if c.Lookups != nil {
		why := whyServer{c.Plan, c.Lookups, c.Logger}
		s.more = append(s.more, endpoint{"/v1/why", "?conversion=ID: why it has its credit, by the state of this instance", map[string]http.HandlerFunc{"/v1/why": why.serve}})
	}
	if c.Pprof {
		s.more = append(s.more, endpoint{"/debug/pprof/", "profiles, for go tool pprof", map[string]http.HandlerFunc{
			"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
			"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
		}})
	}
	return s.handler()
}

// site is what every server of ours has, and what one has beside.
type site struct {
	token     string
	version   string
	app       string
	log       *slog.Logger
	metrics   *prometheus.Registry
	ready     func() readiness
	readySays string
	more      []endpoint
}

// handler serves the two probes to everybody, and the rest to who has the token.
func (s *site) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	paths := []string{"/healthz", "/readyz"}
	guarded := func(path, pattern string, h http.Handler) {
		paths = append(paths, path)
		mux.Handle("GET "+pattern, authorized(s.token, h))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeReadiness(w, s.ready()) })
	guarded("/metrics", "/metrics", metricsHandler(s.metrics, s.log))
	endpoints := append([]endpoint{
		{"/healthz", "200 while the process lives", nil},
		{"/readyz", s.readySays, nil},
		{"/metrics", "metrics, for Prometheus", nil},
	}, s.more...)
	endpoints = append(endpoints, endpoint{describedAt, "what is served, as OpenAPI", nil})
	var index strings.Builder
	fmt.Fprintf(&index, "Lookback %s, app %s\n\n", s.version, s.app)
	for _, e := range endpoints {
		fmt.Fprintf(&index, "%-17s %s\n", e.path, e.says)
		for path, handler := range e.handlers {
			guarded(path, path, handler)
		}
	}
	guarded("/", "/{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeText(w, index.String()) }))
	document, err := describe(s.version, append(paths, describedAt))
	guarded(describedAt, describedAt, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, document) }))
	return mux, err
}

// describedAt is the path of the OpenAPI document.
const describedAt = "/v1/openapi.json"

func metricsHandler(metrics *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
	})
}

// writeText answers with plain text. Who has hung up meanwhile cannot be told.
func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(text))
}

// authorized asks for the token, if there is one. The comparison takes the same time whatever is wrong with the token.
func authorized(token string, h http.Handler) http.Handler {
	if token == "" {
		return h
	}
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="lookback"`)
			http.Error(w, "a bearer token is required", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
