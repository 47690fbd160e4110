package producer_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// benchRecords are 60 bytes each, over 12 partitions.
func benchRecords(topic string) []codecs.Record {
	records := make([]codecs.Record, 1<<12)
	for i := range records {
		records[i] = codecs.Record{
			Topic:     topic,
			Partition: int32(i % 12),
			Key:       fmt.Appendf(nil, "key-%012d", i*7919),
			Value:     fmt.Appendf(nil, "value-%038d", i*104729),
			Timestamp: 1_790_000_000_000_000 + int64(i)*1000,
		}
	}
	return records
}

// BenchmarkAdd is the cost of adding a record, encoding, compressing and sending it, to a broker that throws it away.
func BenchmarkAdd(b *testing.B) {
	topic := "bench"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(12, topic))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return refuse(r, 0), nil, true
	})
	p := newProducer(b, newClient(b, cluster.ListenAddrs(), clientConfig()), producer.Config{})
	records := benchRecords(topic)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Add(&records[i%len(records)])
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTransactions writes transactions of 10,000 records to Apache Kafka. cpu-ns/record is user and system time of
// this process.
func BenchmarkTransactions(b *testing.B) {
	const size = 10_000
	addrs := kafkatest.Apache(b)
	topic := createTopic(b, addrs, 12, nil)
	p := newProducer(b, newClient(b, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
	records := benchRecords(topic)
	b.ReportAllocs()
	before, n := cpu(b), 0
	var committing time.Duration
	for b.Loop() {
		for i := range size {
			p.Add(&records[i%len(records)])
		}
		from := time.Now()
		if err := p.Commit(b.Context(), positions("bench", topic, int64(n))); err != nil {
			b.Fatal(err)
		}
		committing += time.Since(from)
		n++
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(n*size), "cpu-ns/record")
	b.ReportMetric(float64(committing.Microseconds())/1000/float64(n), "ms/commit")
}

// BenchmarkCommit is the time of a transaction of one record per partition.
func BenchmarkCommit(b *testing.B) {
	addrs := kafkatest.Apache(b)
	topic := createTopic(b, addrs, 12, nil)
	p := newProducer(b, newClient(b, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
	records := benchRecords(topic)
	for b.Loop() {
		for i := range 12 {
			p.Add(&records[i])
		}
		if err := p.Commit(b.Context(), positions("bench", topic, 1)); err != nil {
			b.Fatal(err)
		}
	}
}

// cpu is the user and system time of the process so far.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
