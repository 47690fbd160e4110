package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/broker"
	"github.com/seed-2058fbc3/lookback/rules"
)

// get asks an instance. Code 0 says that nobody answers.
func get(t *testing.T, addr, path, authorization string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// awaitCode waits until an instance answers with a code.
func awaitCode(t *testing.T, addr, path string, want int) {
	t.Helper()
	eventually(t, path+" answers "+strconv.Itoa(want), func() bool {
		code, _ := get(t, addr, path, "")
		return code == want
	})
}

// scrape returns the values of all series, by name and labels as they are printed.
func scrape(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	code, body := get(t, addr, "/metrics", "")
	if code != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", code, body)
	}
	series := map[string]float64{}
	for line := range strings.Lines(body) {
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		series[line[:at]] = v
	}
	return series
}

// answerOfReady is what /readyz says.
type answerOfReady struct {
	Ready      bool
	Reasons    []string
	Processors []struct {
		Name     string
		Ready    bool
		Assigned int `json:"assigned_partitions"`
		Serving  int `json:"serving_partitions"`
		Reasons  []string
	}
}

func readyz(t *testing.T, addr string) (code int, answer answerOfReady) {
	t.Helper()
	code, body := get(t, addr, "/readyz", "")
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("/readyz: %v: %s", err, body)
	}
	return code, answer
}

// An instance says what it waits for, then that it is ready, then what it has done; and a restart begins anew.
func TestRunTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	at, brokerAddr := freeAddr(t), freeAddr(t)
	path := file(t, "rules.yaml", shopRules)
	run := startCommand(t, "run", path, "--brokers", brokerAddr, "--http", at, "--log-format", "json")
	awaitCode(t, at, "/healthz", http.StatusOK)
	if code, answer := readyz(t, at); code != http.StatusServiceUnavailable || answer.Ready || !slices.Equal(answer.Reasons, []string{"connecting to the brokers"}) {
		t.Errorf("without a broker it answers %d: %+v", code, answer)
	}
	if got := scrape(t, at); got["lookback_ready"] != 0 || got[`lookback_corrections_total{rule="credit"}`] != 0 || len(got) < 50 {
		t.Errorf("without a broker the metrics are %v", got)
	}

	dir := t.TempDir() // with its topics before Lookback is there to look
	prepared := startBroker(t, broker.Config{DataDir: dir})
	createTopics(t, prepared.Addr(), sources...)
	prepared.Close()
	b := startBroker(t, broker.Config{DataDir: dir, Addr: brokerAddr})
	awaitCode(t, at, "/readyz", http.StatusOK)
	_, answer := readyz(t, at)
	if !answer.Ready || len(answer.Processors) != 3 || len(answer.Reasons) > 0 {
		t.Errorf("ready is %+v", answer)
	}
	for _, p := range answer.Processors {
		if !p.Ready || p.Assigned != 3 || p.Serving != 3 || len(p.Reasons) > 0 {
			t.Errorf("ready is %+v", p)
		}
	}

	const users = 20
	produce(t, b.Addr(), story(users)...)
	produce(t, b.Addr(), story(users)...) // again
	send(t, b.Addr(), &sarama.ProducerMessage{Topic: "shop.ads", Value: sarama.StringEncoder("{")})
	wantCredits(t, b.Addr(), users)
	want := map[string]float64{
		"lookback_ready": 1,
		`lookback_accepted_records_total{stream="ad"}`:                                             users,
		`lookback_accepted_records_total{stream="sale"}`:                                           users,
		`lookback_duplicate_records_total{stream="ad"}`:                                            users,
		`lookback_duplicate_records_total{stream="sale"}`:                                          users,
		`lookback_records_in_total{processor="shop.intake.ad",topic="shop.ads"}`:                   2*users + 1,
		`lookback_records_in_total{processor="shop.intake.sale",topic="shop.sales"}`:               2 * users,
		`lookback_rejected_records_total{reason="malformed_json"}`:                                 1,
		`lookback_late_records_total{action="diverted",stream="ad"}`:                               0,
		`lookback_credit_rows_total{class="seen",model="last",rule="credit",sign="+1"}`:            users,
		`lookback_credit_rows_total{class="seen",model="last",rule="credit",sign="-1"}`:            0,
		`lookback_records_out_total{op="delete",rule="credit"}`:                                    0,
		`lookback_assigned_partitions{processor="shop.user"}`:                                      3,
		`lookback_restore_remaining_records{partition="0",processor="shop.user"}`:                  0,
		`lookback_consumer_lag_records{partition="0",processor="shop.intake.ad",topic="shop.ads"}`: 0,
		`lookback_sessions_total{end="other",processor="shop.user"}`:                               0,
		`lookback_txn_aborts_total{cause="fenced",processor="shop.user"}`:                          0,
		`lookback_event_lag_seconds_count`:                                                         4 * users,
		`lookback_event_lateness_seconds_count{stream="ad"}`:                                       2 * users,
		`lookback_event_lateness_seconds_bucket{stream="sale",le="+Inf"}`:                          2 * users,
		`lookback_build_info{version="` + version + `"}`:                                           1,
		`lookback_rules_info{app="shop",hash="` + compiled(t, path).Hash + `"}`:                    1,
		`lookback_watermark_timestamp_seconds{partition="1",processor="shop.user"}`:                -1,
		`lookback_txn_commit_duration_seconds_bucket{processor="shop.user",le="+Inf"}`:             -1,
		`lookback_state_keys{partition="1",processor="shop.user"}`:                                 -1,
		`lookback_state_bytes{partition="1",processor="shop.user"}`:                                -1,
		`lookback_state_disk_bytes{partition="1",processor="shop.user"}`:                           0,
		`go_goroutines`:              -1,
		`process_start_time_seconds`: -1,
	}
	var got map[string]float64
	differs := func() (names []string) {
		got = scrape(t, at)
		for name, v := range want {
			if have, ok := got[name]; !ok || v >= 0 && have != v || v < 0 && have <= 0 {
				names = append(names, name)
			}
		}
		// A correction changes an upsert's row and its delta alike, and how many there are depends on the order of arrival.
		seen := got[`lookback_credit_rows_total{class="seen",model="last",rule="credit",sign="+1"}`] - got[`lookback_credit_rows_total{class="seen",model="last",rule="credit",sign="-1"}`]
		none := got[`lookback_credit_rows_total{class="none",model="last",rule="credit",sign="+1"}`] - got[`lookback_credit_rows_total{class="none",model="last",rule="credit",sign="-1"}`]
		if seen != users || none != 0 {
			names = append(names, "net of the rows")
		}
		if got[`lookback_records_out_total{op="upsert",rule="credit"}`] < users {
			names = append(names, "upserts")
		}
		return names
	}
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for began := time.Now(); len(differs()) > 0; <-ticks.C {
		if time.Since(began) > patience {
			for _, name := range differs() {
				t.Errorf("%s is %v, want %v (-1: above 0)", name, got[name], want[name])
			}
			t.FailNow()
		}
	}
	ended := run.stop()
	ended.want(t, exitOK, `"msg":"http server listens"`, `"msg":"stopped"`)
	if code, _ := get(t, at, "/healthz", ""); code != 0 {
		t.Errorf("after the end it answers %d", code)
	}
	wantStructured(t, ended.stderr, regexp.MustCompile(`\bu\d+\b`))
}

// wantStructured checks that a log consists of JSON objects that say when, how grave and what, and that none says whom it
// was about.
func wantStructured(t *testing.T, log string, users *regexp.Regexp) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct {
			Time  time.Time
			Level slog.Level
			Msg   string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time.IsZero() || entry.Msg == "" {
			t.Errorf("no entry of a log (%v): %s", err, line)
		}
		if users.MatchString(line) {
			t.Errorf("the log names a user: %s", line)
		}
	}
}

func compiled(t *testing.T, path string) *rules.Plan {
	t.Helper()
	plan, err := loadPlan(path)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Whoever can reach an open address needs the token for all but the probes.
func TestAnOpenAddressNeedsAToken(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	open, at := "0.0.0.0:"+port, "127.0.0.1:"+port
	startCommand(t, "run", rules, "--brokers", freeAddr(t), "--http", open).end().want(t, exitUsage,
		"lookback: http address "+open+": an address other than loopback needs a token: set LOOKBACK_HTTP_TOKEN or http.token")

	const token = "a long secret"
	t.Setenv("LOOKBACK_HTTP_TOKEN_FILE", file(t, "token", token+"\n"))
	for name, pprof := range map[string]bool{"with profiles": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			run := startCommand(t, "run", rules, "--brokers", freeAddr(t), "--http", open, "--pprof="+strconv.FormatBool(pprof))
			awaitCode(t, at, "/healthz", http.StatusOK)
			awaitCode(t, at, "/readyz", http.StatusServiceUnavailable)
			profiles := http.StatusNotFound
			if pprof {
				profiles = http.StatusOK
			}
			for path, want := range map[string]int{
				"/": http.StatusOK, "/metrics": http.StatusOK,
				"/debug/pprof/": profiles, "/debug/pprof/cmdline": profiles, "/debug/pprof/heap": profiles,
				"/nothing": http.StatusNotFound,
			} {
				if code, body := get(t, at, path, "Bearer "+token); code != want {
					t.Errorf("%s with the token answers %d, want %d: %.200q", path, code, want, body)
				}
				if want == http.StatusNotFound {
					continue
				}
				for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer x", "Bearer " + token + "x", "Basic " + token, token} {
					if code, body := get(t, at, path, wrong); code != http.StatusUnauthorized || strings.Contains(body, "lookback_") {
						t.Errorf("%s with %q answers %d: %.200q", path, wrong, code, body)
					}
				}
			}
			if log := run.stop().stderr; strings.Contains(log, token) {
				t.Errorf("the log has the token:\n%s", log)
			}
		})
	}
	t.Setenv("LOOKBACK_HTTP_TOKEN_FILE", file(t, "gone", "")+"x")
	startCommand(t, "run", rules, "--http", open).end().want(t, exitUsage, "lookback: LOOKBACK_HTTP_TOKEN_FILE: open ")
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	rules := file(t, "rules.yaml", shopRules)
	startCommand(t, "run", rules, "--http", at).end().want(t, exitFailed, "lookback: serve http: listen tcp "+at+": ", "address already in use", "--http")
}

// Two instances on one machine are no mistake where nobody has asked for the address.
func TestTheDefaultAddressMayBeTaken(t *testing.T) {
	if taken, err := net.Listen("tcp", rules.DefaultHTTPAddr); err == nil { // else it is taken already
		defer taken.Close()
	}
	t.Setenv("LOOKBACK_HTTP", "")
	run := startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", freeAddr(t), "--http", rules.DefaultHTTPAddr)
	run.waitFor("the default address is taken", 1)
	run.waitFor("broker is not reachable", 1)
	run.stop().want(t, exitOK)
}

func TestSettingsOfRunAreChecked(t *testing.T) {
	t.Parallel()
	path := file(t, "rules.yaml", shopRules)
	for flag, want := range map[string]string{
		"--http=9464":             `http "9464": an address is host:port, or off`,
		"--http=:9464":            `http ":9464": an address is host:port, or off`,
		"--http=localhost:0":      `an address is host:port, or off`,
		"--pprof=perhaps":         `pprof "perhaps": use true or false`,
		"--delivery=at_most_once": `delivery "at_most_once": use exactly_once or at_least_once`,
		"--max-memory=2":          `max memory: "2" is not a size`,
		"--standby=-1":            `standby "-1": use a number from 0 to 10`,
		"--instance-id=a b":       `instance id "a b": use up to 100 of`,
		"--state-dir":             `flag needs an argument: --state-dir`,
	} {
		command(t, "", "run", path, flag).want(t, exitUsage, want)
	}
}

// A flag wins over its variable, which wins over the rules file, which wins over the default.
func TestPrecedenceOfSettings(t *testing.T) {
	settled := func(text string, args ...string) rules.Settings {
		t.Helper()
		plan := compiled(t, file(t, "rules.yaml", text))
		c := newRun()
		if err := c.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := applyOverrides(c, &plan.Settings, overrides...); err != nil {
			t.Fatal(err)
		}
		return plan.Settings
	}
	inFile := shopRules + "http: {addr: \"127.0.0.1:1111\", pprof: true}\ndelivery: at_least_once\ninstance_id: of-file\nstate: {max_memory: 1GB}\n"
	if s := settled(shopRules); s.HTTPAddr != rules.DefaultHTTPAddr || s.Pprof || s.Delivery != rules.ExactlyOnce || s.InstanceID != "" || s.MaxMemory != 0 {
		t.Errorf("by default: %+v", s)
	}
	if s := settled(shopRules + "http: {addr: off}\n"); s.HTTPAddr != "" {
		t.Errorf("off in the file: %+v", s)
	}
	if s := settled(inFile); s.HTTPAddr != "127.0.0.1:1111" || !s.Pprof || s.Delivery != rules.AtLeastOnce || s.InstanceID != "of-file" || s.MaxMemory != 1e9 {
		t.Errorf("of the file: %+v", s)
	}
	for name, value := range map[string]string{
		"LOOKBACK_HTTP": "127.0.0.1:2222", "LOOKBACK_PPROF": "false", "LOOKBACK_DELIVERY": "exactly_once",
		"LOOKBACK_INSTANCE_ID": "of-env", "LOOKBACK_MAX_MEMORY": "2GB", "LOOKBACK_STANDBY": "1",
	} {
		t.Setenv(name, value)
	}
	if s := settled(inFile); s.HTTPAddr != "127.0.0.1:2222" || s.Pprof || s.Delivery != rules.ExactlyOnce || s.InstanceID != "of-env" || s.MaxMemory != 2e9 || s.Standby != 1 {
		t.Errorf("of the environment: %+v", s)
	}
	s := settled(inFile, "--http", "off", "--pprof", "--delivery", "at_least_once", "--instance-id", "of-flag", "--max-memory", "3GB", "--standby", "2")
	if s.HTTPAddr != "" || !s.Pprof || s.Delivery != rules.AtLeastOnce || s.InstanceID != "of-flag" || s.MaxMemory != 3e9 || s.Standby != 2 {
		t.Errorf("of the flags: %+v", s)
	}
	if s := settled(inFile, "--http", "", "--store", ""); s.HTTPAddr != "" || s.Store != "memory" {
		t.Errorf("of empty flags: %+v", s)
	}
}

func TestHealthAsksTheInstance(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	at := freeAddr(t)
	command(t, "", "health", "--http", at).want(t, exitFailed, "lookback: no answer: ", "connection refused")
	command(t, "", "health", "--http", "off").want(t, exitUsage, "no HTTP server")
	waiting := startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", freeAddr(t), "--http", at)
	awaitCode(t, at, "/healthz", http.StatusOK)
	r := command(t, "", "health", "--http", at)
	r.want(t, exitFailed, "503 Service Unavailable")
	if !strings.Contains(r.stdout, "connecting to the brokers") {
		t.Errorf("it prints %s", r.stdout)
	}
	command(t, "", "health", "--http", at, "--live").want(t, exitOK)
	waiting.stop()
	run := startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", b.Addr(), "--http", at)
	awaitCode(t, at, "/readyz", http.StatusOK)
	command(t, "", "health", "--http", at).want(t, exitOK)
	run.stop().want(t, exitOK)
}

// metricNames returns the names of our metrics in a text.
func metricNames(text string) []string {
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(`\blookback_[a-z_]+`).FindAllString(text, -1) {
		for _, part := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, part)
		}
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// The dashboard and the alerts ask for what there is, and the documentation lists all of it.
func TestMetricsDashboardsAndDocumentationAgree(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Config{})
	createTopics(t, b.Addr(), sources...)
	at := freeAddr(t)
	startCommand(t, "run", file(t, "rules.yaml", shopRules), "--brokers", b.Addr(), "--http", at)
	produce(t, b.Addr(), story(20)...)
	send(t, b.Addr(), &sarama.ProducerMessage{Topic: "shop.ads", Value: sarama.StringEncoder("{")})
	wantCredits(t, b.Addr(), 20)
	verifying := freeAddr(t)
	startCommand(t, "verify", file(t, "rules.yaml", shopRules), "--watch", "--every", "50ms", "--brokers", b.Addr(), "--http", verifying)
	read := func(path string) string {
		text, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	documented := metricNames(read("docs/operations.md"))
	var there []string
	eventually(t, "everything that is documented is there", func() bool {
		_, body := get(t, at, "/metrics", "")
		_, verified := get(t, verifying, "/metrics", "")
		there = metricNames(body + verified)
		for _, name := range documented {
			if !slices.Contains(there, name) {
				return false
			}
		}
		return true
	})
	for _, name := range there {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/operations.md does not list %s", name)
		}
	}
	for _, path := range []string{"deploy/grafana/dashboards/lookback.json", "deploy/prometheus/alerts.yml"} {
		names := metricNames(read(path))
		if len(names) < 5 {
			t.Errorf("%s names only %v", path, names)
		}
		for _, name := range names {
			if !slices.Contains(there, name) {
				t.Errorf("%s asks for %s, which there is not", path, name)
			}
		}
	}
}
