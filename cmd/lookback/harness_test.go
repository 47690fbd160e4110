package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in testdata")

// asCommand makes the test binary behave as lookback itself, for tests that need a process of their own.
const asCommand = "LOOKBACK_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a command line to its end.
func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return commandWith(t, t.Context(), strings.NewReader(stdin), args...)
}

func commandWith(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := execute(ctx, args, stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// want checks the exit code and that standard error holds texts, in this order.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	rest := r.stderr
	for _, text := range texts {
		i := strings.Index(rest, text)
		if i < 0 {
			t.Errorf("standard error lacks, here or in this order, %q:\n%s", text, shorten(r.stderr))
			return
		}
		rest = rest[i+len(text):]
	}
}

func shorten(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// record is a line of replay's output.
type record struct {
	Topic   string            `json:"topic"`
	Key     *string           `json:"key"`
	Value   json.RawMessage   `json:"value"`
	Headers map[string]string `json:"headers"`
}

func (r record) reason() string  { return r.Headers[codecs.HeaderException] }
func (r record) message() string { return r.Headers[codecs.HeaderMessage] }

// field returns a member of the value, as its JSON.
func (r record) field(t *testing.T, name string) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Value, &members); err != nil {
		t.Fatalf("value %s: %v", r.Value, err)
	}
	return string(members[name])
}

// records returns the lines of replay's output, each of which must be one JSON object.
func (r result) records(t *testing.T) (all []record) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(r.stdout))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var rec record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatalf("line %d of the output: %v: %s", len(all)+1, err, shorten(lines.Text()))
		}
		all = append(all, rec)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// of returns the records of a topic.
func of(all []record, topic string) (some []record) {
	for _, r := range all {
		if r.Topic == topic {
			some = append(some, r)
		}
	}
	return some
}

// file writes a file of its own and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeFile(t, path, text)
	return path
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edited returns text with old, which must be there once, replaced.
func edited(t *testing.T, text, old, new string) string {
	t.Helper()
	if n := strings.Count(text, old); n != 1 {
		t.Fatalf("%q is there %d times, want once", old, n)
	}
	return strings.Replace(text, old, new, 1)
}

// wantGolden holds what a command says against a file, which -update rewrites.
func wantGolden(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		writeFile(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
