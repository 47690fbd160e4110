package processors

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/processors/producer"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Clean is what sessions are counted by that have ended without a failure.
const Clean = "clean"

// The classes that failures are counted by. They are values of a label, so there are few of them and each is here.
const (
	causeRebalance = "rebalance"
	causeFenced    = "fenced"
	causeUnknown   = "unknown_outcome"
	causeTimeout   = "timeout"
	causeNetwork   = "network"
	causeTopic     = "topic"
	causeRights    = "rights"
	causeState     = "state"
	causeOther     = "other"
)

// Causes returns the classes of failures, in no particular order.
func Causes() []string {
	return []string{causeRebalance, causeFenced, causeUnknown, causeTimeout, causeNetwork, causeTopic, causeRights, causeState, causeOther}
}

// causes are the errors that each class is known by, the telling ones first: an error may wrap several.
var causes = []struct {
	class  string
	errors []error
}{
	{causeUnknown, []error{producer.ErrUnknownOutcome}},
	{causeRebalance, []error{sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId, sarama.ErrRebalanceInProgress, errSessionOver}},
	{causeFenced, []error{producer.ErrFenced, sarama.ErrFencedInstancedId, sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch}},
	{causeRights, []error{
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrSASLAuthenticationFailed,
	}},
	{causeTopic, []error{sarama.ErrUnknownTopicOrPartition, sarama.ErrInvalidTopic, sarama.ErrMessageSizeTooLarge, sarama.ErrOffsetOutOfRange}},
	{causeTimeout, []error{context.DeadlineExceeded, sarama.ErrRequestTimedOut}},
	{causeNetwork, []error{sarama.ErrOutOfBrokers, sarama.ErrNotConnected, sarama.ErrClosedClient, sarama.ErrIncompleteResponse, io.EOF, io.ErrUnexpectedEOF}},
}

// classOf returns the class of an error; nil is Clean.
func classOf(err error) string {
	if err == nil {
		return Clean
	}
	for _, c := range causes {
		for _, known := range c.errors {
			if errors.Is(err, known) {
				return c.class
			}
		}
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) {
		if timeout.Timeout() {
			return causeTimeout
		}
		return causeNetwork
	}
	if network := (errNetwork{}); errors.As(err, &network) {
		return causeNetwork
	}
	if folder := (*tables.FolderError)(nil); errors.As(err, &folder) {
		return causeState
	}
	if layout := (*tables.LayoutError)(nil); errors.As(err, &layout) {
		return causeState
	}
	return causeOther
}
