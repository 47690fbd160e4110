package main

import (
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/rules"
)

// override is a setting of the rules file that a flag or an environment variable may replace.
type override struct {
	flag, env string
	usage     string
	bare      string // what the flag stands for without a value; "": it needs one
	empty     bool   // an empty flag says something, instead of nothing
	apply     func(s *rules.Settings, text string) error
}

// overrides are all of them. An empty variable is one that is not set, so that it can be passed on from where it may be
// missing.
var overrides = []override{
	{flag: "brokers", env: "LOOKBACK_BROKERS", usage: "brokers, host:port,...", apply: func(s *rules.Settings, text string) (err error) {
		s.Brokers, err = brokerList(text)
		return err
	}},
	{flag: "delivery", env: "LOOKBACK_DELIVERY", usage: "exactly_once or at_least_once", apply: func(s *rules.Settings, text string) error {
		return choose(&s.Delivery, "delivery", text, rules.ExactlyOnce, rules.AtLeastOnce)
	}},
	{flag: "store", env: "LOOKBACK_STORE", usage: "where the histories live: memory or disk", apply: func(s *rules.Settings, text string) error {
		return choose(&s.Store, "store", text, "memory", "disk")
	}},
	{flag: "state-dir", env: "LOOKBACK_STATE_DIR", usage: "folder of the disk store", apply: func(s *rules.Settings, text string) error {
		s.StateDir = text
		return nil
	}},
	{flag: "max-memory", env: "LOOKBACK_MAX_MEMORY", usage: "what the process may take, about, such as 2GB", apply: func(s *rules.Settings, text string) (err error) {
		if s.MaxMemory, err = rules.ParseSize(text); err != nil {
			return usagef("max memory: %w", err)
		}
		return nil
	}},
	{flag: "standby", env: "LOOKBACK_STANDBY", usage: "copies of each table that other instances keep warm", apply: func(s *rules.Settings, text string) error {
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil || n > 10 {
			return usagef("standby %q: use a number from 0 to 10", text)
		}
		s.Standby = int(n)
		return nil
	}},
	{flag: "instance-id", env: "LOOKBACK_INSTANCE_ID", usage: "lasting name of this instance, other than those of its peers", apply: func(s *rules.Settings, text string) error {
		if !rules.InstanceName.MatchString(text) {
			return usagef("instance id %q: use up to 100 of A-Z, a-z, 0-9, '.', '_' and '-'", text)
		}
		s.InstanceID = text
		return nil
	}},
	httpOverride,
	pprofOverride,
}

var httpOverride = override{flag: "http", env: "LOOKBACK_HTTP", empty: true, usage: "address of health and metrics, host:port or off", apply: func(s *rules.Settings, text string) error {
	if s.HTTPAddr = ""; text == "off" || text == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if n, err2 := strconv.ParseUint(port, 10, 16); err != nil || err2 != nil || host == "" || n == 0 {
		return usagef("http %q: an address is host:port, or off", text)
	}
	s.HTTPAddr = text
	return nil
}}

// verifyHTTP is the address of a watching verify, which must not be that of the app.
var verifyHTTP = override{flag: httpOverride.flag, env: "LOOKBACK_VERIFY_HTTP", empty: true, apply: httpOverride.apply}

var pprofOverride = override{flag: "pprof", env: "LOOKBACK_PPROF", usage: "also serve profiles over HTTP", bare: "true", apply: func(s *rules.Settings, text string) (err error) {
	if s.Pprof, err = strconv.ParseBool(text); err != nil {
		return usagef("pprof %q: use true or false", text)
	}
	return nil
}}

func choose(to *string, what, text, one, other string) error {
	if text != one && text != other {
		return usagef("%s %q: use %s or %s", what, text, one, other)
	}
	*to = text
	return nil
}

// overrideFlags adds the flags of some overrides. What they are set to is read from the command again.
func overrideFlags(fs *pflag.FlagSet, list ...override) {
	for _, o := range list {
		fs.String(o.flag, "", o.usage+" (env "+o.env+"; default: the rules file's)")
		fs.Lookup(o.flag).NoOptDefVal = o.bare
	}
}

// applyOverrides replaces settings by those of the flags that the command has and, where one is not given, of the environment.
func applyOverrides(c *cobra.Command, s *rules.Settings, list ...override) error {
	for _, o := range list {
		text := os.Getenv(o.env)
		if f := c.Flags().Lookup(o.flag); f != nil && f.Changed && (o.empty || f.Value.String() != "") {
			text = f.Value.String()
		} else if text == "" {
			continue
		}
		if err := o.apply(s, text); err != nil {
			return err
		}
	}
	return nil
}

// secret returns the value of an environment variable that may also be given as a file, by a variable whose name ends in
// _FILE. What runs for long has no flag for it, because command lines are there for all to see.
func secret(env string) (string, error) {
	if file := os.Getenv(env + "_FILE"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", usagef("%s_FILE: %w", env, err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
	return os.Getenv(env), nil
}
