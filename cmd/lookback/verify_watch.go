package main

import (
	"bytes"
	"context"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/api"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

const (
	// defaultVerifyAddr is where a watching verify serves unless it is told otherwise: beside the app.
	defaultVerifyAddr = "127.0.0.1:9465"
	// defaultWatched is which conversions it looks at.
	defaultWatched = 24 * time.Hour
)

// watchVerify verifies again and again until ctx ends. A verification that fails, because brokers do not answer or nothing can be
// verified, is reported, and the next one comes in its time.
func watchVerify(ctx context.Context, plan *rules.Plan, config processors.Config, f verifyFlags, verify func(processors.VerifyOptions) (*processors.Verification, error)) error {
	status := &api.VerifyStatus{}
	set := &plan.Settings
	set.Pprof = false // it is of the app
	stop, err := startHTTP(set, config.Logger, func() (*api.Server, error) {
		return api.StartVerify(api.VerifyConfig{Addr: set.HTTPAddr, Token: set.HTTPToken, Plan: plan, Status: status, Version: version, Logger: config.Logger})
	})
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		began := time.Now()
		options, err := f.options(began)
		if err != nil {
			return err
		}
		result, err := verify(options)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			status.Failed()
			config.Logger.Error("nothing was verified, trying again", "error", err, "wait", f.every)
		default:
			if err := f.found(config, status, result, began); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// found makes public what was found.
func (f *verifyFlags) found(config processors.Config, status *api.VerifyStatus, v *processors.Verification, began time.Time) error {
	took := time.Since(began)
	var page bytes.Buffer
	if err := verifyHTML(&page, v); err != nil {
		return err
	}
	status.Found(v, page.Bytes(), began, took)
	if f.output != "" {
		if err := replaceFile(f.output, f.writer(), v); err != nil {
			return err
		}
	}
	level := config.Logger.Info
	if v.Wrong() > 0 {
		level = config.Logger.Error
	}
	for i := range v.Rules {
		r := &v.Rules[i]
		level("verified", "rule", r.Rule, "conversions", r.Conversions, "equal", r.Equal, "explained", r.Explained(), "wrong", r.Wrong(),
			"in_flight", r.InFlight, "took", took.Round(time.Millisecond))
	}
	return nil
}
