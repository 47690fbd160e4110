// Package deploy_test checks what ships for Docker with parsers, since a Docker engine is not needed to build Lookback.
package deploy_test

import (
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       *build            `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Restart     string            `yaml:"restart"`
	User        string            `yaml:"user"`
	ReadOnly    bool              `yaml:"read_only"`
	SecurityOpt []string          `yaml:"security_opt"`
	Ports       []string          `yaml:"ports"`
	Profiles    []string          `yaml:"profiles"`
	NetworkMode string            `yaml:"network_mode"`
	HealthCheck *struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

type build struct {
	Context    string `yaml:"context"`
	Dockerfile string `yaml:"dockerfile"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServicesStartInOrder(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		for on, dep := range s.DependsOn {
			target, known := c.Services[on]
			switch {
			case !known:
				t.Errorf("%s depends on %s, which is not a service", name, on)
			case dep.Condition == "service_healthy" && target.HealthCheck == nil:
				t.Errorf("%s waits for %s to be healthy, which has no health check", name, on)
			case dep.Condition == "service_completed_successfully" && target.Restart != "no":
				t.Errorf("%s waits for %s to end, which restarts (%q)", name, on, target.Restart)
			}
		}
	}
	want := map[string]map[string]string{
		"topics":   {"kafka": "service_healthy"},
		"lookback": {"kafka": "service_healthy", "topics": "service_completed_successfully"},
	}
	for name, deps := range want {
		for on, condition := range deps {
			if got := c.Services[name].DependsOn[on].Condition; got != condition {
				t.Errorf("%s depends on %s with condition %q, want %q", name, on, got, condition)
			}
		}
	}
}

func TestVolumesAreDeclared(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, declared := c.Volumes[source]; !declared && !strings.HasPrefix(source, "./") {
				t.Errorf("%s mounts %s, which is not declared", name, source)
			}
		}
	}
}

// listeners parses "NAME://host:port,..." into addresses by name.
func listeners(t *testing.T, text string) map[string]string {
	t.Helper()
	byName := map[string]string{}
	for l := range strings.SplitSeq(text, ",") {
		name, addr, ok := strings.Cut(l, "://")
		if !ok {
			t.Fatalf("listener %q has no name", l)
		}
		byName[name] = addr
	}
	return byName
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKafkaListenersAgree(t *testing.T) {
	c := readCompose(t)
	kafka := c.Services["kafka"]
	env := kafka.Environment
	bound, advertised := listeners(t, env["KAFKA_LISTENERS"]), listeners(t, env["KAFKA_ADVERTISED_LISTENERS"])
	controller := env["KAFKA_CONTROLLER_LISTENER_NAMES"]
	for name, addr := range bound {
		if !strings.Contains(env["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"], name+":PLAINTEXT") {
			t.Errorf("listener %s has no security protocol", name)
		}
		if name == controller {
			if _, told := advertised[name]; told {
				t.Errorf("the controller's listener %s must not be advertised to clients", name)
			}
			if _, voter, _ := strings.Cut(env["KAFKA_CONTROLLER_QUORUM_VOTERS"], "@"); port(t, voter) != port(t, addr) {
				t.Errorf("the quorum voter %s is not at the controller's listener %s", voter, addr)
			}
			continue
		}
		if port(t, advertised[name]) != port(t, addr) {
			t.Errorf("listener %s is bound to %q and advertised as %q", name, addr, advertised[name])
		}
	}
	internal := advertised[env["KAFKA_INTER_BROKER_LISTENER_NAME"]]
	if got := c.Services["lookback"].Environment["LOOKBACK_BROKERS"]; got != internal {
		t.Errorf("lookback connects to %q, Kafka tells containers %q", got, internal)
	}
	if test := kafka.HealthCheck.Test; !slices.Contains(test, internal) {
		t.Errorf("health check %q does not ask %s", test, internal)
	}
	if !strings.Contains(strings.Join(c.Services["topics"].Command, " "), "--bootstrap-server "+internal) {
		t.Errorf("the topics are not created at %s", internal)
	}
	hostPort := port(t, advertised["HOST"])
	if want := "127.0.0.1:" + hostPort + ":" + hostPort; !slices.Contains(kafka.Ports, want) {
		t.Errorf("ports %q: want %s, as advertised and on loopback only", kafka.Ports, want)
	}
}

// A single node cannot hold the replicas that Kafka's defaults ask for.
func TestSingleNodeReplication(t *testing.T) {
	env := readCompose(t).Services["kafka"].Environment
	for _, key := range []string{
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
		"KAFKA_MIN_INSYNC_REPLICAS",
	} {
		if env[key] != "1" {
			t.Errorf("%s is %q, want 1", key, env[key])
		}
	}
}

func TestLookbackIsConfined(t *testing.T) {
	s := readCompose(t).Services["lookback"]
	if !s.ReadOnly || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("read_only %t, security_opt %q: want a read-only root and no new privileges", s.ReadOnly, s.SecurityOpt)
	}
	if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
		t.Errorf("user %q: want an unprivileged one", s.User)
	}
	if !slices.Contains(s.Volumes, "./rules.yaml:/etc/lookback/rules.yaml:ro") {
		t.Errorf("volumes %q: want rules.yaml read-only", s.Volumes)
	}
	if !slices.Contains(s.Volumes, "state:"+s.Environment["LOOKBACK_STATE_DIR"]) {
		t.Errorf("volumes %q: the state directory %q is not on a volume", s.Volumes, s.Environment["LOOKBACK_STATE_DIR"])
	}
	if want := []string{"CMD", "/lookback", "health"}; s.HealthCheck == nil || !slices.Equal(s.HealthCheck.Test, want) {
		t.Errorf("health check: got %+v, want %q", s.HealthCheck, want)
	}
	if s.Restart != "unless-stopped" {
		t.Errorf("restart %q, want unless-stopped", s.Restart)
	}
}

func TestDockerfile(t *testing.T) {
	s := readCompose(t).Services["lookback"]
	if s.Build == nil || s.Build.Context != "." {
		t.Fatalf("build %+v: want the repository as context", s.Build)
	}
	text, err := os.ReadFile("../" + s.Build.Dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	if goVersion == nil {
		t.Fatal("go.mod names no Go version")
	}
	for what, pattern := range map[string]string{
		"the module's Go version":     `(?m)^FROM golang:` + regexp.QuoteMeta(string(goVersion[1])) + ` AS build$`,
		"a static, trimmed binary":    `CGO_ENABLED=0 go build -trimpath .*-X main\.version=\$\{VERSION\}`,
		"an image of its own":         `(?m)^FROM scratch$`,
		"certificates":                `(?m)^COPY --from=build /etc/ssl/certs/ca-certificates\.crt `,
		"compose's unprivileged user": `(?m)^USER ` + regexp.QuoteMeta(s.User) + `$`,
		"a state directory it owns":   `(?m)^COPY --from=build --chown=` + regexp.QuoteMeta(s.User) + ` \S+ ` + regexp.QuoteMeta(s.Environment["LOOKBACK_STATE_DIR"]) + `$`,
		"the binary as entry point":   `(?m)^ENTRYPOINT \["/lookback"\]$`,
	} {
		if !regexp.MustCompile(pattern).Match(text) {
			t.Errorf("Dockerfile lacks %s (%s)", what, pattern)
		}
	}
	if strings.LastIndex(string(text), "\nUSER ") < strings.LastIndex(string(text), "\nFROM ") {
		t.Error("the last stage does not set its user")
	}
}
