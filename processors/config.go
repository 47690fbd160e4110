package processors

import (
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Config is what running a plan needs besides the plan. Settings that the rules file has too (brokers, intervals, store)
// are taken from the plan's Settings, which the caller has overridden with flags and environment before.
type Config struct {
	ClientID string       // shown by broker tools; empty: "lookback"
	Logger   *slog.Logger // nil: nothing is logged
	Stats    *Stats       // nil: nobody is looking
	Lookups  *Lookups     // nil: nobody asks
	OnReady  func()       // called once, when every partition of the first assignment of every processor is restored

	interval *interval // of the conversions whose rows are emitted; nil: all
}

func (c Config) withDefaults(stats func() *Stats) Config {
	if c.ClientID == "" {
		c.ClientID = "lookback"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stats == nil {
		c.Stats = stats()
	}
	if c.OnReady == nil {
		c.OnReady = func() {}
	}
	return c
}

const (
	// maxRecordBytes is what one record may take, headers included: below the 1,000,000 bytes that sarama and the 1,048,588
	// that brokers accept by default, so that no topic needs a setting of its own.
	maxRecordBytes = 960_000

	// MaxInputBytes is the largest record that is decoded. What is larger is rejected, because a repartition record holds an
	// event twice at worst (its row and its original bytes) and must stay below maxRecordBytes.
	MaxInputBytes = 448 << 10
)

// saramaConfig returns the client configuration that every connection uses. The version decides more than it seems: below
// 2.5 sarama fetches offsets without RequireStable and commits without a generation.
func saramaConfig(clientID string) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.ClientID = clientID
	c.Metadata.AllowAutoTopicCreation = false
	c.Net.DialTimeout = 5 * time.Second
	c.Net.ReadTimeout = 15 * time.Second
	c.Net.WriteTimeout = 15 * time.Second
	c.Net.MaxOpenRequests = 1 // an idempotent producer of sarama takes no more

	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Producer.Compression = sarama.CompressionLZ4
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Producer.Retry.Max = 10
	c.Producer.Retry.Backoff = 200 * time.Millisecond

	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 100 * time.Millisecond // a claim that is given up waits for its last fetch
	c.Consumer.Retry.Backoff = 250 * time.Millisecond
	// A member hears of a rebalance with its next heartbeat, and everybody waits for the last to hear of it.
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.Rebalance.Retry.Max = 20
	c.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	c.ChannelBufferSize = 1024
	return c
}

// membership sets how this instance is a member of groups. With an instance id it is a static one: it does not leave when it
// stops, and has its partitions back when it returns within the session time-out, without a rebalance.
func membership(c *sarama.Config, s rules.Settings) {
	c.Consumer.Group.InstanceId = s.InstanceID
	if s.SessionTimeout > 0 {
		c.Consumer.Group.Session.Timeout = s.SessionTimeout
	}
	c.Consumer.Group.Heartbeat.Interval = min(c.Consumer.Group.Heartbeat.Interval, c.Consumer.Group.Session.Timeout/4)
	// A member gives up its partitions within a moment. Who has not joined again within a session is not going to; and a request
	// to join must not be given up before its answer can come, or its sender is a member that never answers.
	c.Consumer.Group.Rebalance.Timeout = c.Consumer.Group.Session.Timeout
	c.Net.ReadTimeout = max(c.Net.ReadTimeout, c.Consumer.Group.Rebalance.Timeout+joinMargin)
}

// joinMargin is how much longer than a rebalance an answer of the broker is waited for.
const joinMargin = 5 * time.Second
