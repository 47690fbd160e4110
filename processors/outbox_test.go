package processors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

func (r *rig) outbox() *outbox {
	r.t.Helper()
	p := producer.New(r.client, producer.Config{Tracked: testChangelog, Logger: r.log})
	r.t.Cleanup(p.Close)
	box, err := newOutbox(context.Background(), r.client, p, testRejected, testChangelog)
	if err != nil {
		r.t.Fatal(err)
	}
	return box
}

func TestOutboxWritesWhatItWasGiven(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	at := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	scratch := []byte("key1value1")
	box.Add(codecs.Record{Topic: testOutput, Partition: 2, Key: scratch[:4], Value: scratch[4:], Timestamp: at.UnixMicro(),
		Headers: []codecs.Header{{Key: "h", Value: []byte("v")}}})
	copy(scratch, "xxxxxxxxxx") // the record's memory was copied
	if err := box.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := r.read(testOutput)
	if len(all) != 1 {
		t.Fatalf("%d records, want 1", len(all))
	}
	m := all[0]
	if m.Partition != 2 || string(m.Key) != "key1" || string(m.Value) != "value1" || !m.Timestamp.Equal(at) ||
		len(m.Headers) != 1 || string(m.Headers[0].Key) != "h" || string(m.Headers[0].Value) != "v" {
		t.Errorf("the record came back as %d %q %q %v %v", m.Partition, m.Key, m.Value, m.Timestamp, m.Headers)
	}
}

func TestOutboxChoosesPartitionsAsJavaDoes(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	for i := range 100 {
		key := []byte(fmt.Sprint("key", i))
		box.Add(codecs.Record{Topic: testOutput, Partition: -1, Key: key, Value: key})
		box.Add(codecs.Record{Topic: testOutput, Partition: -1, Key: []byte("other"), PartitionBy: key, Value: key})
	}
	if err := box.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, m := range r.read(testOutput) {
		if want := codecs.PartitionOf(m.Value, testPartitions); m.Partition != want {
			t.Errorf("record of %s is in partition %d, want %d", m.Value, m.Partition, want)
		}
	}
}

func TestOutboxKeepsTheOrderOfAPartition(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	const n = 5000
	filler := bytes.Repeat([]byte("x"), 500) // so that it is sent in several batches
	for i := range n {
		box.Add(codecs.Record{Topic: testOutput, Partition: 0, Key: []byte(fmt.Sprint(i)), Value: filler})
	}
	if err := box.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, m := range r.read(testOutput) {
		if string(m.Key) != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, m.Key)
		}
	}
}

func TestOutboxReportsChangelogOffsets(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	if _, ok := box.Acked(1); ok {
		t.Error("an offset was acknowledged before anything was written")
	}
	for want := int64(1); want <= 3; want++ {
		box.Add(codecs.Record{Topic: testChangelog, Partition: 1, Key: []byte("k"), Value: []byte("v")})
		if err := box.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if next, ok := box.Acked(1); !ok || next != want {
			t.Errorf("acknowledged up to %d (%v), want %d", next, ok, want)
		}
	}
}

func TestOutboxReplacesWhatNoBrokerTakes(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	huge := bytes.Repeat([]byte("x"), 2<<20)
	origin := codecs.Origin{Topic: "in", Partition: 1, Offset: 7}
	box.Add(codecs.Record{Topic: testOutput, Partition: -1, Value: huge})
	box.Add(codecs.Record{Topic: testRejected, Partition: -1, Value: huge, Headers: codecs.RejectHeaders("too_large", "m", "", origin)})
	box.Add(codecs.Record{Topic: testOutput, Partition: -1, Value: []byte("small")})
	if err := box.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := r.values(testOutput); len(got) != 1 || got["small"] != 1 {
		t.Errorf("%d values in the output, want the small one", len(got))
	}
	reasons := map[string]string{}
	for _, m := range r.read(testRejected) {
		headers := map[string]string{}
		for _, h := range m.Headers {
			headers[string(h.Key)] = string(h.Value)
		}
		if len(m.Value) > 0 || len(headers[headerSize]) < 7 {
			t.Errorf("a stand-in has %d bytes and headers %v", len(m.Value), headers)
		}
		reasons[headers[codecs.HeaderException]] = headers[codecs.HeaderOffset]
	}
	if len(reasons) != 2 || reasons["too_large"] != "7" || reasons[reasonTooLarge] == "" {
		t.Errorf("stand-ins by reason, with offsets: %v", reasons)
	}
	box.Add(codecs.Record{Topic: testChangelog, Partition: 0, Value: huge})
	if err := box.Flush(context.Background()); !isFatal(err) || !strings.Contains(err.Error(), testChangelog) {
		t.Errorf("a changelog record that no broker takes: %v, want an error that ends the process", err)
	}
}

// A topic that takes less than it did at the start would take no more at the next attempt.
func TestTopicThatTakesSmallerRecords(t *testing.T) {
	r := newRig(t)
	r.failProduce(testOutput, kerr.MessageTooLarge.Code, func() bool { return true })
	r.produce(0, 1)
	run := r.start("")
	<-run.done // it ends by itself
	if err := run.stop(); !isFatal(err) || !strings.Contains(err.Error(), "raise max.message.bytes") || !strings.Contains(err.Error(), testOutput) {
		t.Errorf("got %v, want an error that names the topic and says what to do", err)
	}
}

// A topic that cannot be found at the first look may have been created just now: that ends the session, and not the process.
func TestATopicThatIsNotKnownYetIsLookedForAgain(t *testing.T) {
	r := newRig(t)
	box := r.outbox()
	box.Add(codecs.Record{Topic: "new", Partition: -1, Key: []byte("k"), Value: []byte("v")})
	if err := box.Flush(context.Background()); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) || isFatal(err) {
		t.Errorf("flush: %v, fatal: %t", err, isFatal(err))
	}
}

func TestOutboxKeepsItsFirstError(t *testing.T) {
	r := newRig(t)
	r.failProduce(testOutput, kerr.UnknownServerError.Code, func() bool { return true })
	box := r.outbox()
	box.Add(codecs.Record{Topic: testOutput, Partition: 0, Value: []byte("v")})
	err := box.Flush(context.Background())
	if err == nil || !strings.Contains(err.Error(), testOutput) {
		t.Fatalf("flush returned %v, want an error that names the topic", err)
	}
	box.Add(codecs.Record{Topic: testChangelog, Partition: 0, Value: []byte("v")})
	if again := box.Flush(context.Background()); again != err {
		t.Errorf("a later flush returned %v, want the first error", again)
	}
	if got := r.values(testChangelog); len(got) > 0 {
		t.Error("a record was written after an error")
	}
}
