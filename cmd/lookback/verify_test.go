package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
)

// A watching verify finds that all is well, and sees when it no longer is; its metrics, its log and its report say so, and that brokers
// are gone ends nothing.
func TestVerifyWatches(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	rules := file(t, "rules.yaml", shopRules)
	startCommand(t, "run", rules, "--brokers", b.Addr())
	produce(t, b.Addr(), story(20)...)
	wantCredits(t, b.Addr(), 20)

	at, page := freeAddr(t), filepath.Join(t.TempDir(), "report.html")
	watch := startCommand(t, "verify", rules, "--watch", "--every", "50ms", "--last", "100000h", "--brokers", b.Addr(), "--http", at, "--output", page, "--format", "html")
	has := func(metric string) func() bool {
		return func() bool {
			_, body := get(t, at, "/metrics", "")
			return strings.Contains(body, metric+"\n")
		}
	}
	eventually(t, "20 conversions are verified", has(`lookback_verify_conversions{rule="credit"} 20`))
	eventually(t, "none differs", has(`lookback_verify_discrepancy_ratio{rule="credit"} 0`))
	if code, body := get(t, at, "/readyz", ""); code != http.StatusOK {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get(t, at, "/report", ""); code != http.StatusOK || !strings.Contains(body, "<svg") {
		t.Errorf("the report: %d %.200s", code, body)
	}

	ghost := consume(t, b.Addr(), "shop.credit.deltas")[0].Value
	ghost = []byte(strings.NewReplacer(`"conversion_id":"`, `"conversion_id":"ghost-`, `"delta_id":"`, `"delta_id":"ghost-`).Replace(string(ghost)))
	send(t, b.Addr(), &sarama.ProducerMessage{Topic: "shop.credit.deltas", Value: sarama.ByteEncoder(ghost)})
	eventually(t, "the ghost is seen", has(`lookback_verify_different_conversions{cause="no_such_event",rule="credit"} 1`))
	watch.waitFor("level=ERROR msg=verified", 1)
	eventually(t, "the file says so", func() bool {
		text, err := os.ReadFile(page)
		return err == nil && strings.Contains(string(text), "no_such_event")
	})
	command(t, "", "verify", rules, "--brokers", b.Addr()).want(t, exitFailed, "1 of 21 conversions differ from the batch answer")

	b.Close()
	watch.waitFor("nothing was verified, trying again", 1)
	watch.stop().want(t, exitOK)
}

func TestVerifyNamesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	rules := file(t, "rules.yaml", shopRules)
	command(t, "", "verify", rules, "--brokers", freeAddr(t)).want(t, exitFailed, "connect to")
	b := startBroker(t, broker.Config{})
	command(t, "", "verify", rules, "--brokers", b.Addr()).want(t, exitFailed, "topic shop.ads does not exist; create it")
	createTopics(t, b.Addr(), sources...)
	command(t, "", "verify", rules, "--brokers", b.Addr()).want(t, exitFailed, "app shop has never run here")

	startCommand(t, "run", rules, "--brokers", b.Addr())
	produce(t, b.Addr(), story(3)...)
	wantCredits(t, b.Addr(), 3)
	command(t, "", "verify", rules, "--brokers", b.Addr(), "--output", "/nowhere/report.txt").want(t, exitFailed, "write the report: ")
	command(t, "", "verify", rules, "--brokers", b.Addr(), "--tmp", "/nowhere").want(t, exitFailed, "make a temporary file: ")
	send(t, b.Addr(), &sarama.ProducerMessage{Topic: "shop.credit", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("{}")})
	command(t, "", "verify", rules, "--brokers", b.Addr()).want(t, exitFailed, "shop.credit/", "offset", "it has no conversion_id")
}
