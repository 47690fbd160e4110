package main

import (
	"cmp"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// runSettings are what the command line and the environment say about running. A flag wins over its environment
// variable, which wins over the rules file.
type runSettings struct {
	rules     string
	brokers   string
	store     string
	stateDir  string
	logLevel  string
	logFormat string
}

// runVariables are the environment variables that commands read, and the flags that they stand for.
var runVariables = []struct{ name, flag string }{
	{"LOOKBACK_RULES", "rules"},
	{"LOOKBACK_BROKERS", "brokers"},
	{"LOOKBACK_STORE", "store"},
	{"LOOKBACK_STATE_DIR", "state-dir"},
	{"LOOKBACK_LOG_LEVEL", "log-level"},
	{"LOOKBACK_LOG_FORMAT", "log-format"},
}

// runEnv returns the names of the environment variables that `run` reads.
func runEnv() []string {
	var names []string
	for _, v := range runVariables {
		names = append(names, v.name)
	}
	return names
}

func (s *runSettings) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.rules, "rules", "", "rules file (default rules.yaml; env LOOKBACK_RULES)")
	fs.StringVar(&s.brokers, "brokers", "", "brokers, host:port,... (env LOOKBACK_BROKERS; default: the rules file's)")
	fs.StringVar(&s.store, "store", "", "where the histories live: memory or disk (env LOOKBACK_STORE; default: the rules file's)")
	fs.StringVar(&s.stateDir, "state-dir", "", "folder of the disk store (env LOOKBACK_STATE_DIR; default: the rules file's)")
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

// config fills in the environment, overrides the plan's settings and returns the processors' configuration.
func (s *runSettings) config(c *cobra.Command, plan *rules.Plan) (processors.Config, error) {
	s.brokers = cmp.Or(s.brokers, os.Getenv("LOOKBACK_BROKERS"))
	s.store = cmp.Or(s.store, os.Getenv("LOOKBACK_STORE"))
	s.stateDir = cmp.Or(s.stateDir, os.Getenv("LOOKBACK_STATE_DIR"))
	set := &plan.Settings
	if s.brokers != "" {
		list, err := brokerList(s.brokers)
		if err != nil {
			return processors.Config{}, err
		}
		set.Brokers = list
	}
	set.Store = cmp.Or(s.store, set.Store)
	set.StateDir = cmp.Or(s.stateDir, set.StateDir)
	if !slices.Contains([]string{"memory", "disk"}, set.Store) {
		return processors.Config{}, usagef("store %q: use memory or disk", set.Store)
	}
	log, err := s.logger(c.ErrOrStderr())
	if err != nil {
		return processors.Config{}, err
	}
	return processors.Config{Logger: log, Stats: processors.NewStats(plan)}, nil
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
