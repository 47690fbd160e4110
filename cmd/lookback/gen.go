package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/internal/gen"
)

type genFlags struct {
	config  gen.Config
	start   string
	out     string
	stamps  bool
	brokers string
	topics  map[string]string
}

func newGen() *cobra.Command {
	f := genFlags{config: gen.Default()}
	c := &cobra.Command{
		Use:   "gen",
		Short: "Write a realistic, seeded stream of impressions, clicks and conversions",
		Long: `Write a realistic stream of impressions, clicks and conversions, as the shipped rules.yaml declares them: to standard
output or a file in the format that replay reads, or to the topics of a broker. The same flags give the same bytes.

Without --rate the events are spread over a period of event time and written at once; with --rate they happen now, and
come as fast as that. What is delayed or sent twice comes within 5s then, unless a flag says otherwise, so that the
stream ends soon after its last event.`,
		Example: "  lookback gen --events 1000000 --out events.jsonl\n  lookback gen --rate 5000 --events 0 --brokers localhost:9092",
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.config.Rate > 0 {
				shortenDelays(c.Flags(), &f.config)
			}
			return generate(c, f)
		},
	}
	genConfigFlags(c.Flags(), &f.config)
	c.Flags().StringVar(&f.start, "start", "", "first event time, RFC 3339 (default 2026-01-01T00:00:00Z; with --rate, now)")
	c.Flags().StringVar(&f.out, "out", "-", "file to write; - is standard output")
	c.Flags().BoolVar(&f.stamps, "stamps", true, "write each record's time of arrival as _ts, for max_age and max_skew")
	c.Flags().StringVar(&f.brokers, "brokers", "", "write to the topics of these brokers instead, host:port,...")
	c.Flags().StringToStringVar(&f.topics, "topic", nil, "topic of a stream (default impression=ads.impressions,click=ads.clicks,conversion=ads.conversions)")
	return c
}

// genConfigFlags binds the flags that shape the stream.
func genConfigFlags(fs *pflag.FlagSet, g *gen.Config) {
	fs.Uint64Var(&g.Seed, "seed", g.Seed, "seed")
	fs.Uint64Var(&g.Events, "events", g.Events, "records to write; 0: no end (with --rate)")
	fs.IntVar(&g.Users, "users", g.Users, "number of users")
	fs.Float64Var(&g.Zipf, "zipf", g.Zipf, "exponent of the users' activity; 0: all alike")
	fs.IntVar(&g.Advertisers, "advertisers", g.Advertisers, "number of advertisers")
	fs.Float64Var(&g.Mix.Clicks, "clicks", g.Mix.Clicks, "share of clicks")
	fs.Float64Var(&g.Mix.Conversions, "conversions", g.Mix.Conversions, "share of conversions; the rest are impressions")
	fs.DurationVar(&g.Spread, "spread", g.Spread, "event time that the stream covers")
	fs.Float64Var(&g.Rate, "rate", g.Rate, "records per second, in real time")
	fs.Float64Var(&g.Disorder.Share, "disorder", g.Disorder.Share, "share of events that arrive later than they happen")
	fs.DurationVar(&g.Disorder.Max, "disorder-max", g.Disorder.Max, "longest such delay")
	fs.Float64Var(&g.Duplicates, "duplicates", g.Duplicates, "share of events that are sent twice")
	fs.DurationVar(&g.ResendWithin, "resend-within", g.ResendWithin, "longest time between the two")
	fs.Float64Var(&g.Broken, "broken", g.Broken, "share of events that come broken")
}

// pacedDelay is the longest delay of a stream in real time, where nothing else was asked for.
const pacedDelay = 5 * time.Second

// shortenDelays replaces defaults that suit a month of event time, and for which a stream in real time would go on long
// after its last event.
func shortenDelays(fs *pflag.FlagSet, g *gen.Config) {
	for name, delay := range map[string]*time.Duration{"disorder-max": &g.Disorder.Max, "resend-within": &g.ResendWithin} {
		if !fs.Changed(name) {
			*delay = pacedDelay
		}
	}
}

func generate(c *cobra.Command, f genFlags) error {
	g := f.config
	g.Mix.Impressions = 1 - g.Mix.Clicks - g.Mix.Conversions
	if g.Rate > 0 {
		g.Start = time.Now()
	}
	if f.start != "" {
		at, err := time.Parse(time.RFC3339, f.start)
		if err != nil {
			return usagef("--start: %v", err)
		}
		g.Start = at
	}
	source, err := gen.New(g)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	switch {
	case f.brokers != "":
		topics, err := genTopics(f.topics)
		if err != nil {
			return err
		}
		brokers, err := brokerList(f.brokers)
		if err != nil {
			return err
		}
		err = feedBroker(c.Context(), brokers, topics, source, g.Rate > 0)
		printGenerated(c.ErrOrStderr(), source)
		return err
	case f.out == "-":
		err = writeLines(c.Context(), c.OutOrStdout(), source, f.stamps, g.Rate > 0)
	default:
		file, err2 := os.Create(f.out)
		if err2 != nil {
			return fmt.Errorf("writing events: %w", err2)
		}
		err = errors.Join(writeLines(c.Context(), file, source, f.stamps, g.Rate > 0), file.Close())
	}
	if err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	printGenerated(c.ErrOrStderr(), source)
	return nil
}

// genTopics returns the topic of each stream.
func genTopics(given map[string]string) (map[string]string, error) {
	topics := map[string]string{"impression": "ads.impressions", "click": "ads.clicks", "conversion": "ads.conversions"}
	for stream, topic := range given {
		if topics[stream] == "" {
			return nil, usagef("--topic: no stream %q, there are impression, click and conversion", stream)
		}
		topics[stream] = topic
	}
	return topics, nil
}

// writeLines writes the stream in replay's format, in real time if paced. An end that is asked for is no error.
func writeLines(ctx context.Context, w io.Writer, source *gen.Generator, stamps, paced bool) error {
	out := bufio.NewWriterSize(w, 1<<18)
	var rec gen.Record
	var line []byte
	p := pacer{paced: paced}
	for source.Next(&rec) {
		if !p.wait(ctx, rec.Arrival, out.Flush) {
			break
		}
		line = rec.AppendLine(line[:0], stamps)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return out.Flush()
}

// pacer holds records back until they are due.
type pacer struct {
	paced bool
	count int
}

// wait returns when the arrival (microseconds since 1970) is due, after before if it has to wait at all; false means
// that ctx has ended.
func (p *pacer) wait(ctx context.Context, arrival int64, before func() error) bool {
	if !p.paced {
		if p.count++; p.count&1023 != 0 {
			return true
		}
		return ctx.Err() == nil
	}
	due := time.Until(time.UnixMicro(arrival))
	if due < time.Millisecond {
		return ctx.Err() == nil
	}
	if before() != nil {
		return false
	}
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func printGenerated(w io.Writer, source *gen.Generator) {
	s := source.Stats()
	fmt.Fprintf(w, "wrote %d records: %d impressions, %d clicks, %d conversions; %d delayed, %d sent twice, %d broken\n",
		s.Total(), s.Stream("impression"), s.Stream("click"), s.Stream("conversion"), s.Kind(gen.Delayed), s.Kind(gen.Duplicate), s.Broken())
}
