package processors

import (
	"errors"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
)

// goka wants to keep a processor's table itself: write it per callback, recover it from its topic. Both are ours (see
// commit.go and restore.go), because goka writes its storage before the broker acknowledges and waits, when it recovers,
// for a last record that a transactional topic does not have. What follows makes goka believe that each table is
// recovered the moment it is opened, and refuses everything that would bypass the commit.

// errBypass is returned where goka is asked to read or write a table or topic by itself.
var errBypass = errors.New("tables and topics are written by the commit, not through goka")

// recoveredEnd is the end of every table topic as goka sees it, and recoveredOffset the offset that goka believes to be
// stored: it then reads nothing.
const (
	recoveredEnd    = 1
	recoveredOffset = recoveredEnd - 1
)

// gokaStorage stands for a partition's table towards goka. Opening it begins the restore.
type gokaStorage struct {
	p         *processor
	partition int32
}

func (g gokaStorage) Open() error {
	s := g.p.current.Load()
	if s == nil {
		return errors.New("no session")
	}
	return s.restore(g.partition)
}

func (g gokaStorage) Close() error                   { return nil } // the table outlives the session
func (g gokaStorage) GetOffset(int64) (int64, error) { return recoveredOffset, nil }
func (g gokaStorage) SetOffset(int64) error          { return errBypass }
func (g gokaStorage) MarkRecovered() error           { return nil }
func (g gokaStorage) Has(string) (bool, error)       { return false, errBypass }
func (g gokaStorage) Get(string) ([]byte, error)     { return nil, errBypass }
func (g gokaStorage) Set(string, []byte) error       { return errBypass }
func (g gokaStorage) Delete(string) error            { return errBypass }
func (g gokaStorage) Iterator() (storage.Iterator, error) {
	return nil, errBypass
}
func (g gokaStorage) IteratorWithRange(_, _ []byte) (storage.Iterator, error) {
	return nil, errBypass
}

// gokaTopics answers goka's questions about topics. They exist and fit: Prepare has seen to that.
type gokaTopics struct{ client sarama.Client }

func (t gokaTopics) Partitions(topic string) ([]int32, error) { return t.client.Partitions(topic) }

func (gokaTopics) EnsureTableExists(string, int) error                         { return nil }
func (gokaTopics) EnsureStreamExists(string, int) error                        { return nil }
func (gokaTopics) EnsureTopicExists(string, int, int, map[string]string) error { return nil }

func (gokaTopics) GetOffset(_ string, _ int32, time int64) (int64, error) {
	if time == sarama.OffsetOldest {
		return 0, nil
	}
	return recoveredEnd, nil
}

func (gokaTopics) Close() error { return nil } // the client is not goka's

// gokaProducer refuses: callbacks write to the outbox.
type gokaProducer struct{}

func (gokaProducer) Emit(string, string, []byte) *goka.Promise { return refused() }
func (gokaProducer) EmitWithHeaders(string, string, []byte, goka.Headers) *goka.Promise {
	return refused()
}
func (gokaProducer) Close() error { return nil }

func refused() *goka.Promise {
	promise, finish := goka.NewPromiseWithFinisher()
	finish(nil, errBypass)
	return promise
}

// rawCodec hands bytes through. A codec that returned an error would stop the partition.
type rawCodec struct{}

func (rawCodec) Encode(value any) ([]byte, error) {
	b, ok := value.([]byte)
	if !ok {
		return nil, errBypass
	}
	return b, nil
}

func (rawCodec) Decode(data []byte) (any, error) { return data, nil }
