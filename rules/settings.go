package rules

import (
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

var appName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// settings reads everything at the top level but streams, tables and rules.
func (c *compiler) settings(root value, got map[string]value) {
	c.plan.Settings = Settings{
		Brokers:           []string{"localhost:9092"},
		Delivery:          "at_least_once",
		CommitInterval:    100 * time.Millisecond,
		WatermarkInterval: time.Second,
		IdleTimeout:       10 * time.Second,
		Partitions:        8,
		Replication:       1,
		Store:             "memory",
		StateDir:          "state",
		CacheBytes:        256e6,
	}
	c.touches = 10000
	s := &c.plan.Settings
	if v, ok := got["app"]; !ok {
		root.errorf("app is missing: it names consumer groups and state topics")
	} else if name, ok := v.text(); ok {
		if !appName.MatchString(name.text) {
			name.errorf("%q is not a name for an app: a lower-case letter, then up to 62 of a-z, 0-9, '_' and '-'", name.shown)
		} else {
			c.plan.App = name.text
			c.topics[name.text+".rejected"] = "for rejected records"
			c.topics[name.text+".late"] = "for late records"
		}
	}
	if v, ok := got["delivery"]; ok {
		v.oneOf([]string{s.Delivery}, "exactly_once")
	}
	for name, to := range map[string]*time.Duration{"commit_interval": &s.CommitInterval, "watermark_interval": &s.WatermarkInterval, "idle_timeout": &s.IdleTimeout} {
		v, ok := got[name]
		if !ok {
			continue
		}
		if us, ok := v.duration(); ok && us < 1000 {
			v.errorf("must be at least 1ms")
		} else if ok {
			*to = time.Duration(us) * time.Microsecond
		}
	}
	c.kafkaSettings(got)
	c.stateSettings(got)
}

func (c *compiler) kafkaSettings(got map[string]value) {
	s := &c.plan.Settings
	if v, ok := got["kafka"]; ok {
		kafka := v.section([]string{"brokers"}, "tls", "sasl")
		if v, ok := kafka["brokers"]; ok {
			s.Brokers = brokers(v)
		}
	}
	if v, ok := got["topics"]; ok {
		topics := v.section([]string{"partitions", "replication"})
		if v, ok := topics["partitions"]; ok {
			n, _ := v.whole(1, 100_000)
			s.Partitions = int32(n)
		}
		if v, ok := topics["replication"]; ok {
			n, _ := v.whole(1, 1000)
			s.Replication = int16(n)
		}
	}
}

// brokers reads a list of addresses, or one text with commas.
func brokers(v value) (list []string) {
	items := v.list()
	for _, item := range items {
		s, ok := item.text()
		if !ok {
			continue
		}
		parts := []string{s.text}
		if v.node.Kind == yaml.ScalarNode {
			parts = strings.Split(s.text, ",")
		}
		for _, part := range parts {
			host, port, found := cutLast(strings.TrimSpace(part), ":")
			if !found || host == "" || !isPort(port) {
				s.errorf("%q: a broker is host:port", s.shown)
				break
			}
			list = append(list, host+":"+port)
		}
	}
	return list
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n > 0 && n < 1<<16
}

func (c *compiler) stateSettings(got map[string]value) {
	v, ok := got["state"]
	if !ok {
		return
	}
	s := &c.plan.Settings
	state := v.section([]string{"store", "dir", "cache", "max_touches"})
	if v, ok := state["store"]; ok {
		stores := []string{"memory", "disk"}
		if i := v.oneOf(stores); i >= 0 {
			s.Store = stores[i]
		}
	}
	if v, ok := state["dir"]; ok {
		if dir, ok := v.text(); ok {
			s.StateDir = dir.text
		}
	}
	if v, ok := state["cache"]; ok {
		s.CacheBytes, _ = v.size()
	}
	if v, ok := state["max_touches"]; ok {
		n, _ := v.whole(1, 10_000_000)
		c.touches = int(n)
	}
}
