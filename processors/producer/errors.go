package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// refusal turns an error code that ends the term into an error. A transaction that is in no state for what the producer asks
// is one that somebody else has ended.
func refusal(code sarama.KError) error {
	switch code {
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch, sarama.ErrInvalidProducerIDMapping, sarama.ErrInvalidTxnState:
		return fmt.Errorf("%w: %w", ErrFenced, code)
	}
	return code
}

// passes tells whether trying again can help. Whatever is no error code of Kafka's is trouble with a connection.
func passes(err error) bool {
	var code sarama.KError
	if errors.As(err, &code) {
		return codePasses(code)
	}
	var unencodable sarama.PacketEncodingError
	var misconfigured sarama.ConfigurationError
	return !errors.Is(err, sarama.ErrClosedClient) && !errors.As(err, &unencodable) && !errors.As(err, &misconfigured)
}

// codePasses lists what may pass by itself. A missing topic is among it because a topic is known late to some brokers after
// its creation; see overdue. The coordinator's codes are answers to batches as well, since brokers ask it whether a partition
// has joined the transaction.
func codePasses(code sarama.KError) bool {
	switch code {
	case sarama.ErrUnknownTopicOrPartition,
		sarama.ErrLeaderNotAvailable,
		sarama.ErrNotLeaderForPartition,
		sarama.ErrFencedLeaderEpoch,
		sarama.ErrUnknownLeaderEpoch,
		sarama.ErrReplicaNotAvailable,
		sarama.ErrBrokerNotAvailable,
		sarama.ErrNotEnoughReplicas,
		sarama.ErrNotEnoughReplicasAfterAppend,
		sarama.ErrKafkaStorageError,
		sarama.ErrRequestTimedOut,
		sarama.ErrNetworkException,
		sarama.ErrThrottlingQuotaExceeded,
		sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrNotCoordinatorForConsumer:
		return true
	}
	return passesSoon(code)
}

// passesSoon lists what takes the right coordinator some milliseconds, as the end of the previous transaction does.
func passesSoon(code sarama.KError) bool {
	switch code {
	case sarama.ErrConcurrentTransactions, sarama.ErrOffsetsLoadInProgress, sarama.ErrUnstableOffsetCommit:
		return true
	}
	return false
}

// backoff is how long to wait before the next attempt.
func backoff(soon bool, attempt int) time.Duration {
	if soon {
		return min(time.Millisecond<<min(attempt, 10), 20*time.Millisecond)
	}
	return min(10*time.Millisecond<<min(attempt, 10), time.Second)
}

// overdue tells whether a topic has been missing for too long, in which case it was deleted rather than created just now.
// since is when it was first missed, which overdue notes and takes back when err is another one.
func overdue(err error, since *time.Time, limit time.Duration) bool {
	if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		*since = time.Time{}
		return false
	}
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) >= limit
}
