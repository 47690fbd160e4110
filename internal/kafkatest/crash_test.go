package kafkatest_test

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
)

// An Apache Kafka that is killed and started again at its port has every record that it had acknowledged.
func TestKilledBrokerComesBack(t *testing.T) {
	if mode := os.Getenv(kafkatest.ModeEnv); testing.Short() || mode == "off" {
		t.Skip("Apache Kafka is left out")
	} else if err := apache.Available(); err != nil && mode != "required" {
		t.Skip(err)
	}
	dist, err := apache.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	options := apache.Options{Dir: t.TempDir()}
	server, err := dist.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Kill() }()
	addrs := []string{server.Addr()}
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if options.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	topic := createTopic(t, addrs, 1, nil)
	const n = 100
	produce(t, addrs, topic, 1, n)

	server.Kill()
	if _, err := net.Dial("tcp", addrs[0]); err == nil {
		t.Error("the broker was killed, and still answers")
	}
	again, err := dist.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	server = again
	newest, err := newClient(t, addrs, clientConfig()).GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil || newest != n {
		t.Errorf("after the restart there are %d records, %v, want %d", newest, err, n)
	}
}
