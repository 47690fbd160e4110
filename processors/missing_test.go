package processors

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func TestATopicCountsAsDeletedWhenItStaysMissing(t *testing.T) {
	var m missing
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	unknown := fmt.Errorf("fetch: %w", sarama.ErrUnknownTopicOrPartition)
	for _, step := range []struct {
		topic string
		at    time.Duration
		err   error
		gone  bool
	}{
		{"a", 0, unknown, false},
		{"a", 10 * time.Second, unknown, false},
		{"b", 20 * time.Second, unknown, false},
		{"a", 20 * time.Second, errors.New("connection refused"), false},
		{"a", 24 * time.Second, unknown, false},
		{"a", 30 * time.Second, unknown, true},
		{"b", 49 * time.Second, unknown, false}, // was found in between: nothing was heard for longer than missingGap
		{"b", 60 * time.Second, unknown, false},
		{"b", 70 * time.Second, unknown, false},
		{"b", 79 * time.Second, unknown, true},
	} {
		err := m.note(step.topic, step.err, start.Add(step.at))
		if (err != nil) != step.gone {
			t.Errorf("%s after %s with %v: %v", step.topic, step.at, step.err, err)
		}
		if err != nil && (!isFatal(err) || !errors.Is(err, sarama.ErrUnknownTopicOrPartition)) {
			t.Errorf("%v is not fatal, or has lost its cause", err)
		}
	}
}
