package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The README's story gives what the README says.
func TestTheStoryOfTheREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LATENESS", "1h")
	var shown []string // the lines of a terminal, without their indentation
	for line := range strings.Lines(string(text)) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			shown = append(shown, code)
		}
	}
	dir := t.TempDir()
	replays := 0
	for i := 0; i < len(shown); i++ {
		line, ok := strings.CutPrefix(shown[i], "$ ")
		if !ok {
			continue
		}
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, " <<'END'\n"), "cat > "); ok {
			body := ""
			for i++; i < len(shown) && shown[i] != "END\n"; i++ {
				body += shown[i]
			}
			writeFile(t, filepath.Join(dir, name), body)
			continue
		}
		args := strings.Fields(line)
		if len(args) < 4 || args[0] != "bin/lookback" || args[1] != "replay" || args[3] != "story.jsonl" {
			continue
		}
		replays++
		want := ""
		for i+1 < len(shown) && strings.HasPrefix(shown[i+1], "{") {
			i++
			want += shown[i]
		}
		args[2], args[3] = filepath.Join("../..", args[2]), filepath.Join(dir, args[3])
		r := command(t, "", args[1:]...)
		r.want(t, exitOK)
		if r.stdout != want {
			t.Errorf("%sgives\n%s\nbut the README shows\n%s", line, r.stdout, want)
		}
	}
	if replays == 0 {
		t.Error("the README replays no story")
	}
}
