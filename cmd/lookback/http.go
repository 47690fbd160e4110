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
func serveHTTP(plan *rules.Plan, stats *processors.Stats, log *slog.Logger) (stop func(), err error) {
	set := &plan.Settings
	if set.HTTPAddr == "" {
		return func() {}, nil
	}
	if err := readHTTPToken(set); err != nil {
		return nil, err
	}
	server, err := api.Start(api.Config{
		Addr:    set.HTTPAddr,
		Token:   set.HTTPToken,
		Pprof:   set.Pprof,
		Plan:    plan,
		Stats:   stats,
		Version: version,
		Logger:  log,
	})
	switch {
	case errors.Is(err, api.ErrOpen):
		return nil, openError(err)
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

// readHTTPToken lets the environment's token go before that of the rules file.
func readHTTPToken(set *rules.Settings) error {
	given, err := secret(httpTokenEnv)
	set.HTTPToken = cmp.Or(given, set.HTTPToken)
	return err
}

func openError(err error) error {
	return usagef("%w: set %s or http.token, or listen at 127.0.0.1", err, httpTokenEnv)
}
