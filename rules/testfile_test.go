package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testedRules = `app: t
streams:
  view: {topic: v, fields: {id: string, at: time, u: string, n: int}, time: at, id: id, lateness: "${LATENESS}"}
  sale: {topic: s, fields: {id: string, at: time, u: string, n: int}, time: at, id: id, where: n > 0}
rules:
  - name: r
    attribute: sale
    key: u
    lookback: 2d
    classes: {seen: {touch: view, within: 1d, min: 0}}
    model: last
    into: out
`

func loadTests(t *testing.T, text string) (*TestFile, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"rules.yaml": testedRules, "a_test.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return LoadTests(filepath.Join(dir, "a_test.yaml"))
}

// Times and records come out as a topic would have them.
func TestGivenRecords(t *testing.T) {
	f, err := loadTests(t, `
env: {LATENESS: 5m}
start: 2026-03-01T00:00:00+01:00
tests:
  - name: "  two   words "
    given:
      - {at: -5m, view: {id: v1, n: null}}
      - {at: 1h, view: {id: 5, u: "5", n: 5}}
      - {at: 30m, view: {u: "true"}}
      - {at: 2h, arrives: 3h, sale: {id: s}}
      - {arrives: 4h, sale: {at: 1772323200, id: s2, n: -1.50}}
      - {arrives: 2026-03-01T10:00:00Z, sale: "{\"id\": ${X}"}
      - {arrives: 12h, sale: }
      - {watermark: 1d}
    expect: {final: []}
`)
	if err != nil {
		t.Fatal(err)
	}
	if f.Plan.Streams[0].Lateness != 300e6 || f.Tests[0].Name != "two words" {
		t.Errorf("lateness %d, name %q", f.Plan.Streams[0].Lateness, f.Tests[0].Name)
	}
	const hour = 3600e6
	for i, want := range []struct {
		label, record string
		since         int64
	}{
		{"view v1", `{"id":"v1","n":null,"at":"2026-02-28T22:55:00Z"}`, 0},
		{"view 5", `{"id":5,"u":"5","n":5,"at":"2026-03-01T00:00:00Z"}`, hour},
		{"view", `{"u":"true","at":"2026-02-28T23:30:00Z"}`, hour},
		{"sale s", `{"id":"s","at":"2026-03-01T01:00:00Z"}`, 3 * hour},
		{"sale s2", `{"at":1772323200,"id":"s2","n":-1.50}`, 4 * hour},
		{"sale", `{"id": ${X}`, 11 * hour},
		{"sale", ``, 12 * hour},
		{"watermark", ``, 24 * hour},
	} {
		a := f.Tests[0].Given[i]
		if a.Label != want.label || string(a.Value) != want.record || a.Since != want.since || a.Arrives != f.Start+want.since {
			t.Errorf("line %d: %q %s at %d, want %q %s at %d", i, a.Label, a.Value, a.Since, want.label, want.record, want.since)
		}
	}
}

func TestOptionsOfRules(t *testing.T) {
	f, err := loadTests(t, "env: {LATENESS: 5m}\ntests: [{name: a, given: [{watermark: 1d}], expect: {final: [{class: seen}]}}]\n")
	if err != nil {
		t.Fatal(err)
	}
	options, err := f.Options()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
		without, err := f.Without(o)
		switch o.Name {
		case `stream "view": lateness`:
			if err != nil || without.Plan.Streams[0].Lateness != 0 {
				t.Errorf("without %s: %v", o.Name, err)
			}
		case `rule "r": classes.seen.within`:
			if err != nil || without.Plan.Rules[0].Classes[0].Within != without.Plan.Rules[0].MaxGap {
				t.Errorf("without %s: %v", o.Name, err)
			}
		case `rule "r": classes.seen`:
			if err == nil {
				t.Errorf("without %s there is no class to expect", o.Name)
			}
		}
	}
	// What says the default is no option.
	want := `stream "view": lateness, stream "sale": where, rule "r": classes.seen, rule "r": classes.seen.within`
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("options %s, want %s", got, want)
	}
}

func TestATestsFileTakesNothingFromTheEnvironment(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	_, err := loadTests(t, "tests: [{name: '${USER}', given: [], expect: {final: []}}]\n")
	if err == nil || !strings.Contains(err.Error(), "a tests file takes nothing from the environment") || !strings.Contains(err.Error(), "given: the list is empty") {
		t.Errorf("error %v", err)
	}
}
