package producer_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

// refuse answers a request with an error code for everything that it is about.
func refuse(request kmsg.Request, code sarama.KError) kmsg.Response {
	n := int16(code)
	switch r := request.(type) {
	case *kmsg.ProduceRequest:
		answer := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range r.Topics {
			t := kmsg.NewProduceResponseTopic()
			t.Topic = topic.Topic
			for _, p := range topic.Partitions {
				o := kmsg.NewProduceResponseTopicPartition()
				o.Partition, o.ErrorCode, o.BaseOffset = p.Partition, n, -1
				t.Partitions = append(t.Partitions, o)
			}
			answer.Topics = append(answer.Topics, t)
		}
		return answer
	case *kmsg.AddPartitionsToTxnRequest:
		answer := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, topic := range r.Topics {
			t := kmsg.NewAddPartitionsToTxnResponseTopic()
			t.Topic = topic.Topic
			for _, p := range topic.Partitions {
				o := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				o.Partition, o.ErrorCode = p, n
				t.Partitions = append(t.Partitions, o)
			}
			answer.Topics = append(answer.Topics, t)
		}
		return answer
	case *kmsg.TxnOffsetCommitRequest:
		answer := r.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, topic := range r.Topics {
			t := kmsg.NewTxnOffsetCommitResponseTopic()
			t.Topic = topic.Topic
			for _, p := range topic.Partitions {
				o := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				o.Partition, o.ErrorCode = p.Partition, n
				t.Partitions = append(t.Partitions, o)
			}
			answer.Topics = append(answer.Topics, t)
		}
		return answer
	case *kmsg.AddOffsetsToTxnRequest:
		answer := r.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
		answer.ErrorCode = n
		return answer
	case *kmsg.EndTxnRequest:
		answer := r.ResponseKind().(*kmsg.EndTxnResponse)
		answer.ErrorCode = n
		return answer
	case *kmsg.InitProducerIDRequest:
		answer := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		answer.ErrorCode, answer.ProducerID, answer.ProducerEpoch = n, -1, -1
		return answer
	}
	panic(fmt.Sprintf("no answer to %T", request))
}

func newCluster(t *testing.T, brokers int) (*kfake.Cluster, string) {
	t.Helper()
	topic := kafkatest.Name("producer")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(4, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, topic
}

// Each error code, as the first two answers to each kind of request, is either retried or ends the term with an error that
// callers recognize.
func TestErrorCodes(t *testing.T) {
	const (
		produce = int16(iota)
		initID
		addPartitions
		addOffsets
		endTxn
		commitOffsets
	)
	keys := map[int16]kmsg.Key{
		produce: kmsg.Produce, initID: kmsg.InitProducerID, addPartitions: kmsg.AddPartitionsToTxn,
		addOffsets: kmsg.AddOffsetsToTxn, endTxn: kmsg.EndTxn, commitOffsets: kmsg.TxnOffsetCommit,
	}
	coordinator := []int16{initID, addPartitions, addOffsets, endTxn, commitOffsets}
	transaction := []int16{produce, addPartitions, addOffsets, endTxn, commitOffsets}
	everything := append([]int16{produce}, coordinator...)
	for _, c := range []struct {
		code sarama.KError
		of   []int16
		want []error // nil: retried
	}{
		{sarama.ErrConcurrentTransactions, everything, nil},
		{sarama.ErrOffsetsLoadInProgress, coordinator, nil},
		{sarama.ErrNotCoordinatorForConsumer, coordinator, nil},
		{sarama.ErrConsumerCoordinatorNotAvailable, coordinator, nil},
		{sarama.ErrRequestTimedOut, everything, nil},
		{sarama.ErrNetworkException, everything, nil},
		{sarama.ErrUnstableOffsetCommit, []int16{commitOffsets}, nil},
		{sarama.ErrNotLeaderForPartition, []int16{produce}, nil},
		{sarama.ErrLeaderNotAvailable, []int16{produce}, nil},
		{sarama.ErrUnknownTopicOrPartition, []int16{produce, addPartitions, commitOffsets}, nil},
		{sarama.ErrNotEnoughReplicas, []int16{produce}, nil},
		{sarama.ErrNotEnoughReplicasAfterAppend, []int16{produce}, nil},
		{sarama.ErrKafkaStorageError, []int16{produce}, nil},
		{sarama.ErrFencedLeaderEpoch, []int16{produce}, nil},
		{sarama.ErrThrottlingQuotaExceeded, everything, nil},
		{sarama.ErrProducerFenced, everything, []error{producer.ErrFenced, sarama.ErrProducerFenced}},
		{sarama.ErrInvalidProducerEpoch, transaction, []error{producer.ErrFenced, sarama.ErrInvalidProducerEpoch}},
		{sarama.ErrInvalidProducerIDMapping, transaction, []error{producer.ErrFenced, sarama.ErrInvalidProducerIDMapping}},
		{sarama.ErrInvalidTxnState, transaction, []error{producer.ErrFenced, sarama.ErrInvalidTxnState}},
		{sarama.ErrTransactionalIDAuthorizationFailed, everything, []error{sarama.ErrTransactionalIDAuthorizationFailed}},
		{sarama.ErrClusterAuthorizationFailed, []int16{initID, produce}, []error{sarama.ErrClusterAuthorizationFailed}},
		{sarama.ErrTopicAuthorizationFailed, []int16{produce, addPartitions, commitOffsets}, []error{sarama.ErrTopicAuthorizationFailed}},
		{sarama.ErrGroupAuthorizationFailed, []int16{addOffsets, commitOffsets}, []error{sarama.ErrGroupAuthorizationFailed}},
		{sarama.ErrInvalidTransactionTimeout, []int16{initID}, []error{sarama.ErrInvalidTransactionTimeout}},
		{sarama.ErrOutOfOrderSequenceNumber, []int16{produce}, []error{sarama.ErrOutOfOrderSequenceNumber}},
		{sarama.ErrUnknownProducerID, []int16{produce}, []error{sarama.ErrUnknownProducerID}},
		{sarama.ErrDuplicateSequenceNumber, []int16{produce}, []error{sarama.ErrDuplicateSequenceNumber}}, // of the tracked topic, without an offset
		{sarama.ErrInvalidRecord, []int16{produce}, []error{sarama.ErrInvalidRecord}},
		{sarama.ErrInvalidTimestamp, []int16{produce}, []error{sarama.ErrInvalidTimestamp}},
		{sarama.ErrIllegalGeneration, []int16{commitOffsets}, []error{sarama.ErrIllegalGeneration}},
		{sarama.ErrUnknownMemberId, []int16{commitOffsets}, []error{sarama.ErrUnknownMemberId}},
		{sarama.ErrFencedInstancedId, []int16{commitOffsets}, []error{sarama.ErrFencedInstancedId}},
		{sarama.ErrRebalanceInProgress, []int16{commitOffsets}, []error{sarama.ErrRebalanceInProgress}},
		{sarama.ErrOffsetMetadataTooLarge, []int16{commitOffsets}, []error{sarama.ErrOffsetMetadataTooLarge}},
	} {
		for _, of := range c.of {
			key := keys[of]
			t.Run(fmt.Sprintf("%d of %s", int16(c.code), key.Name()), func(t *testing.T) {
				t.Parallel()
				cluster, topic := newCluster(t, 1)
				group := kafkatest.Name("group")
				addrs := cluster.ListenAddrs()
				p := producer.New(newClient(t, addrs, clientConfig()), producer.Config{
					TransactionalID: kafkatest.Name("txn"), Tracked: topic, Logger: quiet(),
				})
				t.Cleanup(p.Close)
				try := func() error {
					if err := p.Reset(patient(t)); err != nil {
						return err
					}
					for i := range int32(4) {
						p.Add(record(topic, i, "v"))
					}
					return p.Commit(patient(t), positions(group, topic, 4))
				}
				var left atomic.Int32
				left.Store(2)
				cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					if left.Add(-1) < 0 {
						return nil, nil, false
					}
					return refuse(r, c.code), nil, true
				})
				err := try()
				if c.want == nil && err != nil {
					t.Fatal(err)
				}
				if c.want != nil {
					mustBe(t, err, c.want...)
					if errors.Is(err, producer.ErrUnknownOutcome) {
						t.Errorf("the outcome of a refused request is known: %v", err)
					}
					left.Store(0)
					if err := try(); err != nil {
						t.Fatalf("after a reset: %v", err)
					}
				}
				for i := range int32(4) {
					if d := difference(values(read(t, addrs, topic, i)), []string{"v"}); d != "" {
						t.Error(d)
					}
				}
				if at, _ := committed(t, addrs, group, topic); at != 4 {
					t.Errorf("got offset %d, want 4", at)
				}
			})
		}
	}
}

// A refusal of the end that comes after a request without an answer leaves the outcome open.
func TestRefusalInDoubt(t *testing.T) {
	cluster, topic := newCluster(t, 1)
	p := newProducer(t, newClient(t, cluster.ListenAddrs(), clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
	answers := []sarama.KError{sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrProducerFenced}
	cluster.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		code := answers[0]
		answers = answers[1:]
		return refuse(r, code), nil, true
	})
	p.Add(record(topic, 0, "v"))
	mustBe(t, p.Commit(patient(t), producer.Offsets{}), producer.ErrUnknownOutcome, producer.ErrFenced)
}

// Leaders and coordinators that move between three brokers all the time lose nothing and change no order.
func TestLeadersThatMove(t *testing.T) {
	const rounds = 200
	cluster, topic := newCluster(t, 3)
	addrs := cluster.ListenAddrs()
	group := kafkatest.Name("group")
	p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn"), BatchBytes: 1000})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				if err := cluster.MoveTopicPartition(topic, int32(i%4), int32(i/4%3)); err != nil {
					t.Error(err)
					return
				}
				if i%5 == 0 {
					cluster.RehashCoordinators()
				}
			case <-stop:
				return
			}
		}
	}()
	var want [4][]string
	for round := range rounds {
		for i := range 40 {
			value := fmt.Sprint(round, "-", i)
			want[i%4] = append(want[i%4], value)
			p.Add(record(topic, int32(i%4), value))
		}
		commit(t, p, positions(group, topic, int64(round)))
	}
	close(stop)
	<-stopped
	for i := range want {
		if d := difference(values(read(t, addrs, topic, int32(i))), want[i]); d != "" {
			t.Errorf("partition %d: %s", i, d)
		}
	}
}
