package processors

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/rules"
)

// silentBroker takes connections and never answers.
func silentBroker(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestRunEndsThoughItsBrokerDoesNotAnswer(t *testing.T) {
	plan := &rules.Plan{App: "app", Settings: rules.Settings{Brokers: []string{silentBroker(t)}}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, plan, Config{}) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run returned %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("it still runs after %s", patience)
	}
}
