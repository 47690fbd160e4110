package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

func TestRecordsArriveAsTheyWere(t *testing.T) {
	at := time.UnixMilli(1_790_000_000_123)
	records := []codecs.Record{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: at.UnixMicro() + 999},
		{Key: nil, Value: []byte("no key"), Timestamp: at.Add(-time.Hour).UnixMicro()},
		{Key: []byte("tombstone"), Value: nil, Timestamp: at.Add(time.Minute).UnixMicro()},
		{Key: []byte{}, Value: []byte{}, Timestamp: at.UnixMicro()},
		{Key: []byte("now"), Value: []byte("v")},
		{Value: []byte("before 1970"), Timestamp: -1_000_000},
		{Value: []byte("headers"), Timestamp: at.UnixMicro(), Headers: []codecs.Header{
			{Key: "a", Value: []byte("1")}, {Key: "", Value: []byte{}}, {Key: "a", Value: nil},
		}},
	}
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 2, map[string]string{"message.timestamp.after.max.ms": "9223372036854775807"})
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{})
		before := time.Now().Truncate(time.Millisecond)
		for _, r := range records {
			r.Topic, r.Partition = topic, 1
			key, value := bytes.Clone(r.Key), bytes.Clone(r.Value)
			r.Key, r.Value = key, value
			p.Add(&r)
			clear(key) // the producer has copies
			clear(value)
		}
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
		after := time.Now()
		if got := read(t, addrs, topic, 0); len(got) != 0 {
			t.Errorf("got %d records in partition 0", len(got))
		}
		got := read(t, addrs, topic, 1)
		if len(got) != len(records) {
			t.Fatalf("got %d records, want %d", len(got), len(records))
		}
		for i, m := range got {
			want := records[i]
			if !sameBytes(m.Key, want.Key) || !sameBytes(m.Value, want.Value) {
				t.Errorf("record %d: got %q: %q, want %q: %q", i, m.Key, m.Value, want.Key, want.Value)
			}
			var headers []codecs.Header
			for _, h := range m.Headers {
				headers = append(headers, codecs.Header{Key: string(h.Key), Value: h.Value})
			}
			if !reflect.DeepEqual(headers, want.Headers) {
				t.Errorf("record %d: got headers %v, want %v", i, headers, want.Headers)
			}
			switch {
			case want.Timestamp == 0:
				if m.Timestamp.Before(before) || m.Timestamp.After(after) {
					t.Errorf("record %d: got time %v, want that of sending", i, m.Timestamp)
				}
			case m.Timestamp.UnixMilli() != max(want.Timestamp/1000, 0):
				t.Errorf("record %d: got time %d ms, want %d us", i, m.Timestamp.UnixMilli(), want.Timestamp)
			}
		}
	})
}

func TestPartitionsKeepTheirOrder(t *testing.T) {
	const partitions, records = 30, 120_000
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, id := range []string{"", kafkatest.Name("txn")} {
			topic := createTopic(t, addrs, partitions, nil)
			p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{
				TransactionalID: id, Tracked: topic, BatchBytes: 16 << 10, PendingBytes: 512 << 10,
			})
			want := make([][]string, partitions)
			for i := range records {
				n := int32((i*i + i/7) % partitions)
				value := fmt.Sprintf("%d-%d", n, i)
				want[n] = append(want[n], value)
				p.Add(record(topic, n, value))
			}
			if id == "" {
				if err := p.Flush(patient(t)); err != nil {
					t.Fatal(err)
				}
			} else {
				commit(t, p, producer.Offsets{})
			}
			for n := range int32(partitions) {
				next, ok := p.Acked(n)
				if ok != (len(want[n]) > 0) || next != int64(len(want[n])) {
					t.Errorf("partition %d: acknowledged up to %d, %v, want %d", n, next, ok, len(want[n]))
				}
				if d := difference(values(read(t, addrs, topic, n)), want[n]); d != "" {
					t.Errorf("partition %d: %s", n, d)
				}
			}
		}
	})
}

func TestConcurrentAdds(t *testing.T) {
	const writers, records = 8, 3_000
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, writers, nil)
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{BatchBytes: 4 << 10, PendingBytes: 32 << 10})
		var all sync.WaitGroup
		for n := range int32(writers) {
			all.Go(func() {
				for i := range records {
					p.Add(record(topic, n, fmt.Sprint(i)))
				}
			})
		}
		all.Wait()
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
		for n := range int32(writers) {
			for i, v := range values(read(t, addrs, topic, n)) {
				if v != fmt.Sprint(i) {
					t.Fatalf("partition %d: record %d is %q", n, i, v)
				}
			}
		}
	})
}

func TestSmallBatchesMakeRoom(t *testing.T) {
	const partitions = 20
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, partitions, nil)
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{PendingBytes: 1000})
		stop := context.AfterFunc(patient(t), func() { p.Fail(errors.New("a record found no room")) })
		for i := range 1000 { // no batch is full before the producer is
			p.Add(record(topic, int32(i%partitions), "v"))
		}
		stop()
		if err := p.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBatchesThatAreTooLargeAreSplit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, map[string]string{"max.message.bytes": "20000"})
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn"), Tracked: topic})
		for round := range 3 {
			for i := range 37 {
				p.Add(&codecs.Record{Topic: topic, Key: fmt.Append(nil, round, "-", i), Value: noise(i, 3000)})
			}
			commit(t, p, producer.Offsets{})
		}
		got := read(t, addrs, topic, 0)
		if len(got) != 3*37 {
			t.Fatalf("got %d records, want %d", len(got), 3*37)
		}
		for i, m := range got {
			if want := fmt.Sprint(i/37, "-", i%37); string(m.Key) != want || !sameBytes(m.Value, noise(i%37, 3000)) {
				t.Errorf("record %d has key %q and %d bytes, want %q", i, m.Key, len(m.Value), want)
			}
		}
		if next, _ := p.Acked(0); next != got[len(got)-1].Offset+1 {
			t.Errorf("acknowledged up to %d, want %d", next, got[len(got)-1].Offset+1)
		}
	})
}

func TestRecordThatIsTooLarge(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, map[string]string{"max.message.bytes": "20000"})
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
		p.Add(record(topic, 0, "small"))
		p.Add(&codecs.Record{Topic: topic, Value: noise(1, 30_000)})
		err := p.Commit(patient(t), producer.Offsets{})
		mustBe(t, err, sarama.ErrMessageSizeTooLarge)
		if !strings.Contains(err.Error(), topic+"/0") || !strings.Contains(err.Error(), "30036 bytes") {
			t.Errorf("the error does not say which record: %v", err)
		}
		if p.Usable() || p.Empty() {
			t.Error("usable after an error")
		}
		p.Add(record(topic, 0, "dropped"))
		mustBe(t, p.Flush(patient(t)), sarama.ErrMessageSizeTooLarge)
		mustBe(t, p.Abort(patient(t)), sarama.ErrMessageSizeTooLarge)
		reset(t, p)
		p.Add(record(topic, 0, "after"))
		commit(t, p, producer.Offsets{})
		if d := difference(values(read(t, addrs, topic, 0)), []string{"after"}); d != "" {
			t.Error(d)
		}
	})
}

func TestMissingTopic(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := createTopic(t, addrs, 1, nil)
		for name, r := range map[string]*codecs.Record{
			"topic":     record(kafkatest.Name("missing"), 0, "v"),
			"partition": record(topic, 7, "v"),
		} {
			for _, id := range []string{"", kafkatest.Name("txn")} {
				p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: id, MissingTimeout: time.Nanosecond})
				p.Add(r)
				err := p.Flush(patient(t))
				mustBe(t, err, sarama.ErrUnknownTopicOrPartition)
				if where := fmt.Sprintf("%s/%d", r.Topic, r.Partition); !strings.Contains(err.Error(), where) {
					t.Errorf("missing %s: the error does not name %s: %v", name, where, err)
				}
			}
		}
	})
}

func TestTopicThatComesLate(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic := kafkatest.Name("late")
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
		other := createTopic(t, addrs, 1, nil)
		p.Add(record(topic, 0, "early"))
		p.Add(record(other, 0, "not delayed"))
		ctx, cancel := context.WithCancel(patient(t))
		cancel()
		mustBe(t, p.Flush(ctx), context.Canceled) // sends all the same
		if err := newAdmin(t, addrs).CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
		commit(t, p, producer.Offsets{})
		if d := difference(values(read(t, addrs, topic, 0)), []string{"early"}); d != "" {
			t.Error(d)
		}
	})
}

func TestUseOutsideATerm(t *testing.T) {
	addrs := kafkatest.Embedded(t)
	client := newClient(t, addrs, clientConfig())
	topic := createTopic(t, addrs, 1, nil)
	p := producer.New(client, producer.Config{TransactionalID: "id", Logger: quiet()})
	p.Add(record(topic, 0, "too early"))
	if err := p.Flush(patient(t)); err == nil || p.Usable() {
		t.Error("a producer that was not reset took a record")
	}
	reset(t, p)
	p.Add(record(topic, -1, "nowhere"))
	if err := p.Commit(patient(t), producer.Offsets{}); err == nil || !strings.Contains(err.Error(), topic) {
		t.Errorf("a record without a partition: got %v", err)
	}
	reset(t, p)
	own := errors.New("own")
	p.Fail(own)
	p.Fail(errors.New("second"))
	mustBe(t, p.Commit(patient(t), producer.Offsets{}), own)
	p.Close()
	if err := p.Reset(patient(t)); err == nil {
		t.Error("a closed producer was reset")
	}

	idempotent := newProducer(t, client, producer.Config{})
	if err := idempotent.Commit(patient(t), producer.Offsets{}); err == nil {
		t.Error("a producer without a transactional id committed")
	}
	config := clientConfig()
	config.Version = sarama.V2_4_0_0
	old := producer.New(newClient(t, addrs, config), producer.Config{TransactionalID: "old"})
	if err := old.Reset(patient(t)); err == nil {
		t.Error("a version without generations was accepted")
	}
}
