package deploy_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// decode reads a YAML file of this folder. Fields that v does not have are errors.
func decode(t *testing.T, path string, v any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// What the files say of each other must fit: addresses, mounts, data sources.
func TestMonitoringFindsItsParts(t *testing.T) {
	services := readCompose(t).Services
	for _, name := range []string{"prometheus", "grafana"} {
		s := services[name]
		if !slices.Equal(s.Profiles, []string{"monitoring"}) {
			t.Errorf("%s is of profiles %q: monitoring is optional", name, s.Profiles)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s listens at %s, not on loopback only", name, port)
			}
		}
		for _, v := range s.Volumes {
			if source, _, _ := strings.Cut(v, ":"); strings.HasPrefix(source, "./") {
				if _, err := os.Stat(filepath.Join("..", source)); err != nil {
					t.Errorf("%s mounts %s: %v", name, source, err)
				}
			}
		}
	}

	var prometheus struct {
		Global struct {
			ScrapeInterval     string `yaml:"scrape_interval"`
			EvaluationInterval string `yaml:"evaluation_interval"`
		} `yaml:"global"`
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus/prometheus.yml", &prometheus)
	if !slices.Equal(prometheus.RuleFiles, []string{"alerts.yml"}) {
		t.Errorf("rule files %q", prometheus.RuleFiles)
	}
	if mode := services["prometheus"].NetworkMode; mode != "service:lookback" {
		t.Errorf("network mode %q: Prometheus does not reach Lookback's loopback", mode)
	}
	served := services["lookback"].Environment["LOOKBACK_HTTP"]
	if host, _, err := net.SplitHostPort(served); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("Lookback serves at %q, where it needs a token", served)
	}
	if scrapes := prometheus.ScrapeConfigs; len(scrapes) != 1 || scrapes[0].JobName != "lookback" || !slices.Equal(scrapes[0].StaticConfigs[0].Targets, []string{served}) {
		t.Errorf("Prometheus asks %+v, Lookback serves at %s", scrapes, served)
	}

	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, URL string
			IsDefault            bool `yaml:"isDefault"`
		} `yaml:"datasources"`
	}
	decode(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	if s := sources.Datasources; len(s) != 1 || s[0].Type != "prometheus" || s[0].URL != "http://lookback:9090" || !s[0].IsDefault {
		t.Errorf("data sources %+v", s)
	}
	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name    string
			Options struct{ Path string }
		} `yaml:"providers"`
	}
	decode(t, "grafana/provisioning/dashboards/lookback.yml", &dashboards)
	if !slices.Contains(services["grafana"].Volumes, "./deploy/grafana/dashboards:"+dashboards.Providers[0].Options.Path+":ro") {
		t.Errorf("no dashboards are mounted at %s", dashboards.Providers[0].Options.Path)
	}
}

func TestAlertsAreWhole(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decode(t, "prometheus/alerts.yml", &file)
	docs, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			if r.Expr == "" || r.For == "" || r.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
				t.Errorf("alert %+v", r)
			}
			if !strings.Contains(string(docs), "`"+r.Alert+"`") {
				t.Errorf("docs/operations.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if n == 0 {
		t.Error("no alerts")
	}
}

func TestDashboardIsWhole(t *testing.T) {
	text, err := os.ReadFile("grafana/dashboards/lookback.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q is there twice, or has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("panel %s lies over %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	if board.UID != "lookback" || len(board.Panels) == 0 {
		t.Errorf("dashboard %q with %d panels", board.UID, len(board.Panels))
	}
}
