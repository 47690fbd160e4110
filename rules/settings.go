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
		Delivery:          ExactlyOnce,
		CommitInterval:    100 * time.Millisecond,
		CommitRecords:     50_000,
		SessionTimeout:    10 * time.Second,
		WatermarkInterval: time.Second,
		IdleTimeout:       10 * time.Second,
		Partitions:        8,
		Replication:       1,
		Store:             "memory",
		StateDir:          "state",
		HTTPAddr:          DefaultHTTPAddr,
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
		deliveries := []string{ExactlyOnce, AtLeastOnce}
		if i := v.oneOf(deliveries); i >= 0 {
			s.Delivery = deliveries[i]
		}
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
	if v, ok := got["commit_interval"]; ok && s.CommitInterval > maxCommitInterval {
		v.errorf("must be at most %s: a transaction that is open for longer may be aborted by its time-out", maxCommitInterval)
	}
	if v, ok := got["commit_records"]; ok {
		n, _ := v.whole(1, 10_000_000)
		s.CommitRecords = int(n)
	}
	if v, ok := got["instance_id"]; ok {
		s.InstanceID = instanceID(v)
	}
	if v, ok := got["catch_up"]; ok {
		catchUp := v.section([]string{"skip_older_than"})
		if v, ok := catchUp["skip_older_than"]; ok {
			if us, ok := v.duration(); ok && us < 1e6 {
				v.errorf("must be at least 1s")
			} else if ok {
				s.SkipOlderThan = time.Duration(us) * time.Microsecond
			}
		}
	}
	c.kafkaSettings(got)
	c.stateSettings(got)
	c.httpSettings(got)
}

// DefaultHTTPAddr is where health and metrics are served unless something else is said.
const DefaultHTTPAddr = "127.0.0.1:9464"

// maxCommitInterval keeps a commit interval well below the transactions' time-out.
const maxCommitInterval = 5 * time.Second

// InstanceName is what an instance id looks like: it becomes part of transactional ids and member names.
var InstanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// instanceID reads a name that may be empty, so that it can come from a variable that is not set everywhere.
func instanceID(v value) string {
	name, ok := v.scalar()
	if ok && name.text != "" && !InstanceName.MatchString(name.text) {
		name.errorf("%q is not a name for an instance: up to 100 of A-Z, a-z, 0-9, '.', '_' and '-'", name.shown)
	}
	return name.text
}

func (c *compiler) httpSettings(got map[string]value) {
	v, ok := got["http"]
	if !ok {
		return
	}
	s := &c.plan.Settings
	http := v.section([]string{"addr", "token", "pprof"})
	if v, ok := http["addr"]; ok {
		if addr, ok := v.scalar(); ok {
			if s.HTTPAddr = addr.text; addr.text == "off" {
				s.HTTPAddr = ""
			}
			if host, port, found := cutLast(s.HTTPAddr, ":"); s.HTTPAddr != "" && (!found || host == "" || !isPort(port)) {
				addr.errorf("%q: an address is host:port, or off", addr.shown)
			}
		}
	}
	if v, ok := http["token"]; ok {
		if token, ok := v.scalar(); ok {
			s.HTTPToken = token.text
		}
	}
	if v, ok := http["pprof"]; ok {
		s.Pprof = v.oneOf([]string{"false", "true"}) == 1
	}
}

func (c *compiler) kafkaSettings(got map[string]value) {
	s := &c.plan.Settings
	if v, ok := got["kafka"]; ok {
		kafka := v.section([]string{"brokers", "session_timeout"}, "tls", "sasl")
		if v, ok := kafka["brokers"]; ok {
			s.Brokers = brokers(v)
		}
		if v, ok := kafka["session_timeout"]; ok {
			if us, ok := v.duration(); ok && us < 1e6 {
				v.errorf("must be at least 1s")
			} else if ok {
				s.SessionTimeout = time.Duration(us) * time.Microsecond
			}
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
	state := v.section([]string{"store", "dir", "cache", "max_memory", "max_touches", "standby"})
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
	if v, ok := state["max_memory"]; ok {
		s.MaxMemory, _ = v.size()
	}
	if v, ok := state["standby"]; ok {
		n, _ := v.whole(0, 10)
		s.Standby = int(n)
	}
	if v, ok := state["max_touches"]; ok {
		n, _ := v.whole(1, 10_000_000)
		c.touches = int(n)
	}
}
