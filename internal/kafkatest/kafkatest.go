// Package kafkatest gives tests a broker: the embedded one, and Apache Kafka where Java and Maven are installed. A suite that
// is written against [Each] states what both must do.
//
// Apache Kafka is started once per test binary, when a test first needs it, and ends with the binary, however that ends;
// there is nothing to call in TestMain. Tests share it and must use names of their own: see [Name].
package kafkatest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
)

// ModeEnv chooses what happens with Apache Kafka: "off" never runs it, "required" fails where it cannot run, and anything
// else skips with a reason there.
const ModeEnv = "LOOKBACK_TEST_KAFKA"

// Each runs the suite as a subtest on every kind of broker, one after the other. addrs are bootstrap addresses.
func Each(t *testing.T, suite func(t *testing.T, addrs []string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { suite(t, Embedded(t)) })
	t.Run("apache", func(t *testing.T) { suite(t, Apache(t)) })
}

// Embedded starts a broker in memory that lives as long as the test.
func Embedded(t testing.TB) []string {
	t.Helper()
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return []string{b.Addr()}
}

// Apache returns the Apache Kafka that the tests of this binary share. The test is skipped in short mode, where ModeEnv says
// off, and where Java or Maven is missing.
func Apache(t testing.TB) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("Apache Kafka is left out in short mode")
	}
	mode := os.Getenv(ModeEnv)
	if mode == "off" {
		t.Skipf("Apache Kafka is left out: %s=off", ModeEnv)
	}
	if err := apache.Available(); err != nil && mode != "required" {
		t.Skip(err)
	}
	server, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-server.Done():
		t.Fatalf("Apache Kafka has ended by itself:\n%s", server.Log())
	default:
	}
	return []string{server.Addr()}
}

// shared is the one process of this test binary.
var shared = sync.OnceValues(func() (*apache.Server, error) {
	dist, err := apache.Fetch(context.Background())
	if err != nil {
		return nil, err
	}
	return dist.Start(context.Background(), apache.Options{})
})

// Name makes a topic, group or transaction name that no other test or run uses: prefix, a dot and random letters.
func Name(prefix string) string {
	return prefix + "." + strings.ToLower(rand.Text()[:10])
}
