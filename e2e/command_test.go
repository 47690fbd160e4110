package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the program to its end.
func command(t *testing.T, binary string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command(binary, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want checks the exit code and that texts are in what was printed.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d:\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("it does not say %q:\n%s%s", text, r.stdout, r.stderr)
		}
	}
}

// writeRules writes a rules file and returns its path.
func writeRules(t *testing.T, src string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeHistory writes inputs as files of events, one per stream, one of them packed, and returns their paths.
func writeHistory(t *testing.T, inputs []input) []string {
	t.Helper()
	files := make([]bytes.Buffer, len(adStreams))
	for _, in := range inputs {
		if !in.kind.Broken() { // not each of them is a line
			fmt.Fprintf(&files[in.stream], `{"_ts":%d,%q:%s}`+"\n", in.at.UnixMilli(), adStreams[in.stream], in.value)
		}
	}
	var paths []string
	for i := range files {
		content, name := files[i].Bytes(), adStreams[i]+".jsonl"
		if i == 0 {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			content, name = packed.Bytes(), name+".gz"
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}
