package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/google/pprof/profile"
)

// profiling takes CPU profiles of another process, one after the other, until it is told to stop: how long a measurement
// takes is not known when it begins.
type profiling struct {
	stop  context.CancelFunc
	done  chan struct{}
	parts []*profile.Profile
	err   error // read after done
}

// startProfiling begins with the process that serves its profiles at addr.
func startProfiling(ctx context.Context, addr string) *profiling {
	ctx, stop := context.WithCancel(ctx)
	p := &profiling{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for ctx.Err() == nil {
			part, err := fetchProfile(ctx, addr)
			if err != nil {
				if ctx.Err() == nil {
					p.err = err
				}
				return
			}
			p.parts = append(p.parts, part)
		}
	}()
	return p
}

// fetchProfile takes a profile of one second. The one that is under way at the end is lost, so it is short.
func fetchProfile(ctx context.Context, addr string) (*profile.Profile, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/pprof/profile?seconds=1", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch profile: %s", resp.Status)
	}
	return profile.Parse(resp.Body)
}

// write ends the profiling and writes all of it to a file.
func (p *profiling) write(file string) error {
	p.stop()
	<-p.done
	if p.err != nil {
		return p.err
	}
	if len(p.parts) == 0 {
		return errors.New("the measurement was too short for a profile")
	}
	whole, err := profile.Merge(p.parts)
	if err != nil {
		return fmt.Errorf("merge profiles: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(whole.Write(f), f.Close())
}
