package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/rules"
)

func newHealth() *cobra.Command {
	live := false
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a running instance on this machine whether it is ready",
		Long: `Ask a running instance on this machine whether it is ready, and print what it answers: exit code 0 if it is, else 1. It is
meant for health checks in containers without a shell. With --live it is enough that the instance answers.`,
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			set := rules.Settings{HTTPAddr: rules.DefaultHTTPAddr}
			if err := applyOverrides(c, &set, httpOverride); err != nil {
				return err
			}
			if set.HTTPAddr == "" {
				return usagef("health: the instance has no HTTP server (--http off)")
			}
			path := "/readyz"
			if live {
				path = "/healthz"
			}
			return health(c, "http://"+reachable(set.HTTPAddr)+path)
		},
	}
	overrideFlags(c.Flags(), httpOverride)
	c.Flags().BoolVar(&live, "live", false, "be content with an answer")
	return c
}

// healthTimeout is how long an instance may take to answer.
const healthTimeout = 5 * time.Second

// reachable returns an address of this machine for one that is listened on: an unspecified host stands for all.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

func health(c *cobra.Command, url string) error {
	ctx, cancel := context.WithTimeout(c.Context(), healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Without the environment's proxy, which does not lead to this machine.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if _, err := c.OutOrStdout().Write(append(bytes.TrimSpace(body), '\n')); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &exitError{exitFailed, fmt.Errorf("%s: %s", url, resp.Status)}
	}
	return nil
}
