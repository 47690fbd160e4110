package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback"
	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// document is what the tests look at of an OpenAPI document.
type document struct {
	Info struct {
		Version string `json:"version"`
	} `json:"info"`
	Paths map[string]map[string]struct {
		Security   *[]any `json:"security"`
		Parameters []struct {
			Name string `json:"name"`
		} `json:"parameters"`
		Responses map[string]struct {
			Ref     string         `json:"$ref"`
			Content map[string]any `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Items      *schema           `json:"items"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
}

// servers are all of ours.
func servers(t *testing.T) map[string]http.Handler {
	t.Helper()
	plan, err := rules.Compile("rules.yaml", lookback.Rules, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	all := map[string]http.Handler{}
	for name, pprof := range map[string]bool{"app": false, "app with profiles": true} {
		if all[name], err = newHandler(Config{Token: "secret", Pprof: pprof, Plan: plan, Stats: processors.NewStats(plan), Lookups: processors.NewLookups(plan), Version: "v9", Logger: log}); err != nil {
			t.Fatal(err)
		}
	}
	if all["verify"], err = newVerifyHandler(VerifyConfig{Token: "secret", Plan: plan, Status: &VerifyStatus{}, Version: "v9", Logger: log}); err != nil {
		t.Fatal(err)
	}
	return all
}

func ask(t *testing.T, h http.Handler, path, token string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func readDocument(t *testing.T, text []byte) (d document) {
	t.Helper()
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Each server describes what it serves, all of it and nothing else: the document's answers are those of the handlers.
func TestTheDocumentIsWhatIsServed(t *testing.T) {
	described := map[string]bool{}
	for name, h := range servers(t) {
		body, err := io.ReadAll(ask(t, h, describedAt, "secret").Body)
		if err != nil {
			t.Fatal(err)
		}
		d := readDocument(t, body)
		if d.Info.Version != "v9" {
			t.Errorf("%s: version %q", name, d.Info.Version)
		}
		index, err := io.ReadAll(ask(t, h, "/", "secret").Body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(index)) {
			if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, "/") && d.Paths[path] == nil {
				t.Errorf("%s: %s is served and not described", name, path)
			}
		}
		for path, operations := range d.Paths {
			described[path] = true
			if strings.HasPrefix(path, "/debug/pprof/") {
				if code := ask(t, h, path, "").StatusCode; code != http.StatusUnauthorized {
					t.Errorf("%s: %s answers %d without a token", name, path, code)
				}
				continue // a profile takes its time
			}
			if got := slices.Sorted(maps.Keys(operations)); !slices.Equal(got, []string{"get"}) {
				t.Errorf("%s: %s has %v", name, path, got)
			}
			op := operations["get"]
			open := op.Security != nil && len(*op.Security) == 0
			for _, token := range []string{"", "secret"} {
				for _, query := range []string{"", "?conversion=e1&rule=none"} {
					resp := ask(t, h, path+query, token)
					code := strconv.Itoa(resp.StatusCode)
					answer, ok := op.Responses[code]
					if !ok || code == "404" {
						t.Errorf("%s: %s answers %s, which is not described", name, path, code)
						continue
					}
					if (token == "" && !open) != (code == "401") {
						t.Errorf("%s: %s answers %s, with token %q", name, path, code, token)
					}
					media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
					if answer.Ref == "" && answer.Content[media] == nil {
						t.Errorf("%s: %s answers %s with %s, which is not described", name, path, code, media)
					}
				}
			}
		}
		for _, path := range []string{"/report", "/v1/why", "/debug/pprof/"} {
			served := ask(t, h, path, "").StatusCode != http.StatusNotFound
			if _, is := d.Paths[path]; is != served {
				t.Errorf("%s: %s is served: %t, described: %t", name, path, served, is)
			}
		}
	}
	for path := range readDocument(t, description).Paths {
		if !described[path] {
			t.Errorf("%s is described, and nobody serves it", path)
		}
	}
}

// The answers have the members that the document says, and no others.
func TestTheDocumentHasTheMembersOfTheAnswers(t *testing.T) {
	d := readDocument(t, description)
	for _, answer := range []any{why.Found{}, why.NotFound{}, readiness{}} {
		compareMembers(t, d.Components.Schemas, reflect.TypeOf(answer))
	}
	var params []string
	for _, p := range d.Paths["/v1/why"]["get"].Parameters {
		params = append(params, p.Name)
	}
	if want := []string{"conversion", "rule", "limit", "key"}; !slices.Equal(params, want) {
		t.Errorf("parameters %v, want %v", params, want)
	}
}

// schemaNames are those whose schema has another name than the type.
var schemaNames = map[string]string{"readiness": "Readiness", "processorReadiness": "ProcessorReadiness"}

func compareMembers(t *testing.T, schemas map[string]schema, of reflect.Type) {
	t.Helper()
	name := of.Name()
	if other := schemaNames[name]; other != "" {
		name = other
	}
	s, ok := schemas[name]
	if !ok {
		t.Errorf("there is no schema %s", name)
		return
	}
	var members, required []string
	for _, f := range reflect.VisibleFields(of) {
		tag, more, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			continue
		}
		if members = append(members, tag); more != "omitempty" {
			required = append(required, tag)
		}
		element, list := f.Type, f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[json.RawMessage]()
		if list {
			element = element.Elem()
		}
		if p := s.Properties[tag]; list != (p.Items != nil) {
			t.Errorf("%s.%s is a list: %t, described as one: %t", name, tag, list, p.Items != nil)
		}
		if element.Kind() == reflect.Struct {
			compareMembers(t, schemas, element)
		}
	}
	described := slices.Sorted(maps.Keys(s.Properties))
	slices.Sort(members)
	slices.Sort(required)
	if slices.Sort(s.Required); !slices.Equal(described, members) || !slices.Equal(s.Required, required) {
		t.Errorf("%s has\n%v, of which required\n%v, described are\n%v, of which required\n%v", name, members, required, described, s.Required)
	}
}
