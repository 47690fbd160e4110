// Package broker runs a Kafka-protocol broker inside the process, so that one binary is the whole product where no Kafka
// is at hand. It is a station beside the route, not on it: clients reach it over TCP like any other broker, and nothing
// else in the program knows that it is embedded.
//
// The broker keeps one replica of everything and never deletes on its own. Compaction and time or size retention are off,
// whatever a topic's configuration says, because the engine below ignores open transactions when it compacts and may drop
// young records behind old ones when it retains. Topic configurations are stored and reported as they were given, and
// clients trim with DeleteRecords. Committed group offsets do not expire.
//
// What a data directory promises is described at [Config].
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultAddr is where a broker listens unless told otherwise: on loopback, at a port that the system chooses.
const DefaultAddr = "127.0.0.1:0"

// Config says where a broker listens and what it keeps. The zero value is a broker in memory at [DefaultAddr].
type Config struct {
	// DataDir holds topics, records, transactions and committed offsets across restarts. It is created if needed and
	// belongs to one process at a time. Empty keeps everything in memory.
	//
	// After [Broker.Close] nothing is lost. After a kill -9 of the process every acknowledged record and committed offset is
	// still there, since both are handed to the operating system before they are acknowledged; transactions that were open
	// are aborted; records that DeleteRecords had removed from a file that is still in use come back; and a transaction whose
	// commit was being written may be committed in some partitions and aborted in others. After a power failure the end of
	// the log may be missing, as nothing is synced record by record.
	DataDir string

	// Addr is the host and port to listen on, and the address that clients are told to use, so the host must be a real one.
	// Empty means DefaultAddr.
	Addr string

	// Logger receives the broker's own messages: failures as errors and warnings, the rest at debug level. Nil drops them.
	Logger *slog.Logger
}

// Broker is a running broker. Its methods are safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	members *members
	lock    *dirLock // nil in memory
	addr    string
	closing sync.Once
}

// Start opens the data directory and listens. The error says whether the address, the directory or its content is the
// cause; it matches [ErrInUse] where another process holds the directory.
func Start(cfg Config) (*Broker, error) {
	if cfg.Addr == "" {
		cfg.Addr = DefaultAddr
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkAddr(cfg.Addr); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("lookback"),
		kfake.WithLogger(logAdapter{cfg.Logger}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, cfg.Addr) }),
		kfake.BrokerConfigs(keepForever()),
	}
	b := &Broker{}
	if cfg.DataDir != "" {
		lock, err := lockDir(cfg.DataDir)
		if err != nil {
			return nil, fmt.Errorf("start broker: %w", err)
		}
		b.lock = lock
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err == nil {
		b.cluster = cluster
		b.addr = cluster.ListenAddrs()[0]
		if b.members, err = watchMembers(cluster, b.addr, cfg.Logger); err != nil {
			cluster.Close()
		}
	}
	if err != nil {
		if b.lock != nil {
			err = errors.Join(err, b.lock.release())
		}
		return nil, fmt.Errorf("start broker: %w", err)
	}
	cluster.ControlKey(int16(kmsg.OffsetFetch), b.fetchFromNewGroup)
	if cfg.DataDir != "" {
		cluster.ControlKey(int16(kmsg.DeleteRecords), b.keepLastRecord)
	}
	return b, nil
}

// Addr is the bootstrap address for clients, as host:port.
func (b *Broker) Addr() string { return b.addr }

// Close stops listening, saves what the data directory holds and gives it free. Clients that are still connected see their
// connections end. A failure to save is reported to the logger; records and offsets were written before. Further calls
// do nothing.
func (b *Broker) Close() {
	b.closing.Do(func() {
		b.members.close()
		b.cluster.Close()
		if b.lock != nil {
			// The process could not use the error: the lock ends with it at the latest.
			_ = b.lock.release()
		}
	})
}

// keepForever are the broker settings that turn off everything that deletes by itself. Compaction and retention share one
// timer, which is set to a century; topics' own retention settings are looked at on that timer only.
func keepForever() map[string]string {
	const century = 100 * 365 * 24 * time.Hour
	return map[string]string{
		"log.cleaner.backoff.ms":    strconv.FormatInt(century.Milliseconds(), 10),
		"log.retention.ms":          "-1",
		"offsets.retention.minutes": strconv.Itoa(math.MaxInt32),
	}
}

// checkAddr refuses addresses that clients could not connect to when they are told them in metadata.
func checkAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return fmt.Errorf("address %q: name one host to listen on: clients are told to connect to it", addr)
	}
	return nil
}
