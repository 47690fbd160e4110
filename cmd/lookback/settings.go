package main

import (
	"cmp"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// runSettings are what the command line and the environment say about running. A flag wins over its environment
// variable, which wins over the rules file. What the rules file says too is in overrides.
type runSettings struct {
	rules     string
	logLevel  string
	logFormat string
}

// httpTokenEnv is the token of the HTTP server.
const httpTokenEnv = "LOOKBACK_HTTP_TOKEN"

// runEnv returns the names of the environment variables that `run` reads.
func runEnv() []string {
	names := []string{"LOOKBACK_RULES", "LOOKBACK_LOG_LEVEL", "LOOKBACK_LOG_FORMAT", httpTokenEnv}
	for _, o := range overrides {
		names = append(names, o.env)
	}
	return names
}

func (s *runSettings) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.rules, "rules", "", "rules file (default rules.yaml; env LOOKBACK_RULES)")
	overrideFlags(fs, overrides...)
	s.logFlags(fs)
}

func (s *runSettings) logFlags(fs *pflag.FlagSet) {
	fs.StringVar(&s.logLevel, "log-level", "", "debug, info, warn or error (env LOOKBACK_LOG_LEVEL; default info)")
	fs.StringVar(&s.logFormat, "log-format", "", "text or json (env LOOKBACK_LOG_FORMAT; default text)")
}

// rulesFile returns the rules file of a command that takes it as an argument or a flag.
func (s *runSettings) rulesFile(c *cobra.Command, args []string) (string, error) {
	if len(args) > 0 && c.Flags().Changed("rules") {
		return "", usagef("%s: the rules file is given twice", c.Name())
	}
	if len(args) > 0 {
		return args[0], nil
	}
	return cmp.Or(s.rules, os.Getenv("LOOKBACK_RULES"), defaultRules), nil
}

// load compiles the rules file of a command that takes it as an argument or a flag, with its settings overridden, and returns what
// reaching its brokers needs. It logs to w.
func (s *runSettings) load(c *cobra.Command, args []string, w io.Writer) (*rules.Plan, processors.Config, error) {
	file, err := s.rulesFile(c, args)
	if err != nil {
		return nil, processors.Config{}, err
	}
	plan, err := loadPlan(file)
	if err != nil {
		return nil, processors.Config{}, err
	}
	config, err := s.config(c, plan, w)
	return plan, config, err
}

// config overrides the plan's settings and returns the processors' configuration, which logs to w.
func (s *runSettings) config(c *cobra.Command, plan *rules.Plan, w io.Writer) (processors.Config, error) {
	if err := applyOverrides(c, &plan.Settings, overrides...); err != nil {
		return processors.Config{}, err
	}
	log, err := s.logger(w)
	if err != nil {
		return processors.Config{}, err
	}
	tuneCollector(plan.Settings.MaxMemory)
	return processors.Config{Logger: log, Stats: processors.NewStats(plan)}, nil
}

// collectorPercent is by how much the heap may grow before garbage is collected, in percent. Most of the heap is histories, in memory
// without pointers, which the collector does not look at: so it may come often.
const collectorPercent = 30

// tuneCollector makes the garbage collector keep to what the process may take, if it is bounded, and take little in any case. Go's
// own variables go before.
func tuneCollector(bytes int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
	if bytes > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}

// brokerList splits host:port,... as the command line and the environment have it. An address that no attempt could ever
// reach is refused here, because `run` goes on trying.
func brokerList(text string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		host, port, err := net.SplitHostPort(part)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || host == "" || n == 0 {
			return nil, usagef("brokers %q: a broker is host:port", text)
		}
		list = append(list, part)
	}
	return list, nil
}

func (s *runSettings) logger(w io.Writer) (*slog.Logger, error) {
	level := slog.LevelInfo
	if text := cmp.Or(s.logLevel, os.Getenv("LOOKBACK_LOG_LEVEL")); text != "" {
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return nil, usagef("log level %q: use debug, info, warn or error", text)
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch format := cmp.Or(s.logFormat, os.Getenv("LOOKBACK_LOG_FORMAT"), "text"); format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, usagef("log format %q: use text or json", format)
	}
}
