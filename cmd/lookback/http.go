package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/seed-2058fbc3/lookback/internal/api"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// serveHTTP starts the server that the settings ask for and returns what ends it.
func serveHTTP(plan *rules.Plan, stats *processors.Stats, lookups *processors.Lookups, log *slog.Logger) (stop func(), err error) {
	set := &plan.Settings
	return startHTTP(set, log, func() (*api.Server, error) {
		return api.Start(api.Config{
			Addr:    set.HTTPAddr,
			Token:   set.HTTPToken,
			Pprof:   set.Pprof,
			Plan:    plan,
			Stats:   stats,
			Lookups: lookups,
			Version: version,
			Logger:  log,
		})
	})
}

// startHTTP calls start, where the settings ask for a server, once they have the token of the environment.
func startHTTP(set *rules.Settings, log *slog.Logger, start func() (*api.Server, error)) (stop func(), err error) {
	if set.HTTPAddr == "" {
		return func() {}, nil
	}
	given, err := secret(httpTokenEnv)
	if err != nil {
		return nil, err
	}
	set.HTTPToken = cmp.Or(given, set.HTTPToken)
	server, err := start()
	switch {
	case errors.Is(err, api.ErrOpen):
		return nil, usagef("%w: set %s or http.token, or listen at 127.0.0.1", err, httpTokenEnv)
	case errors.Is(err, syscall.EADDRINUSE) && set.HTTPAddr == rules.DefaultHTTPAddr:
		// Nobody has asked for this address, and a second instance on a machine is no mistake.
		log.Warn("no health and metrics: the default address is taken; choose another with --http, or off", "addr", set.HTTPAddr)
		return func() {}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: choose another address with --http, or off", err)
	}
	log.Info("http server listens", "addr", server.Addr(), "token", set.HTTPToken != "", "pprof", set.Pprof)
	return server.Close, nil
}
