package rules

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected errors in testdata/bad")

// testEnv is the environment that testdata is compiled in.
func testEnv(name string) (string, bool) {
	v, ok := map[string]string{"TOPIC": "impressions", "SECRET": "hunter2 hunter2", "EMPTY": ""}[name]
	return v, ok
}

func TestGoodFilesCompile(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range append(files, "../rules.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(filepath.Base(file), src, testEnv)
			if err != nil {
				t.Fatal(err)
			}
			checkPlan(t, p)
		})
	}
}

// checkPlan checks what must hold in every plan.
func checkPlan(t *testing.T, p *Plan) {
	t.Helper()
	for _, s := range p.Streams {
		if s.Kept > len(s.Slots) {
			t.Errorf("stream %s keeps %d of %d slots", s.Name, s.Kept, len(s.Slots))
		}
		for i, slot := range s.Slots {
			if (slot.Stamp == nil && i != s.From) != (slot.Field >= 0) || slot.Field == s.ID || slot.Field == s.Time {
				t.Errorf("stream %s: slot %d is %+v", s.Name, i, slot)
			}
			if slot.Stamp != nil && slot.Stamp.Key >= 0 && s.Slots[slot.Stamp.Key].Stamp != nil {
				t.Errorf("stream %s: the key of stamp %d is a stamp", s.Name, i)
			}
		}
	}
	for _, r := range p.Rules {
		for _, x := range append(append([]Column(nil), r.Select...), r.Measure...) {
			for _, read := range x.Expr.reads {
				for rank, slot := range read.slots {
					if slot >= p.Streams[rank].Kept && (read.touch || rank == read.stream) {
						t.Errorf("rule %s: %s reads slot %d of %s, which is not kept", r.Name, x.Name, slot, p.Streams[rank].Name)
					}
				}
			}
		}
	}
	for _, k := range p.Keys {
		for _, rank := range k.Streams {
			s := p.Streams[rank]
			if len(k.Paths[rank]) == 0 || len(k.Slots[rank]) != len(k.Fields) {
				t.Errorf("key %s: paths %v and slots %v of %s", k.Name, k.Paths[rank], k.Slots[rank], s.Name)
			}
			for _, path := range k.Paths[rank] {
				for _, slot := range path {
					if slot >= s.Kept {
						t.Errorf("key %s: path %v of %s reads a slot that is not kept", k.Name, path, s.Name)
					}
				}
			}
		}
	}
}

// TestBadFilesAreExplained compares the whole error text; run with -update after changing a message, and read the diff.
func TestBadFilesAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Compile(filepath.Base(file), src, testEnv)
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("got %v, want Errors", err)
			}
			for i := 1; i < len(list); i++ {
				if a, b := list[i-1], list[i]; a.Line > b.Line || a.Line == b.Line && a.Col > b.Col {
					t.Errorf("%d:%d is before %d:%d", a.Line, a.Col, b.Line, b.Col)
				}
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("an environment variable's value is in the message:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestFaultsOfTextAreExplained covers what is no rules file at all, and too large or too odd for testdata.
func TestFaultsOfTextAreExplained(t *testing.T) {
	flow := func(n int) string { return "app: " + strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, c := range map[string]struct{ src, want string }{
		"empty":             {"", "1:1: the file is empty"},
		"blank":             {" \n\t\n", "1:1: the file is empty"},
		"comments only":     {"# nothing\n", "1:1: the file has no content but comments"},
		"scanner, too":      {"a: 1\nb: 2\n c: 3\n", "3:1: not YAML: mapping values"},
		"parser, too":       {"a: 1\nb: {x: [}\n", "2:1: not YAML: did not find"},
		"scanner's line":    {"a: 1\nb: @\n", "2:1: not YAML: found character"},
		"truncated":         {adStreams[:strings.Index(adStreams, "campaign_id")], "not YAML: "},
		"not UTF-8":         {"app: ads\nx: \xff\n", "2:4: the byte 0xff is not UTF-8"},
		"UTF-16":            {"\xff\xfea\x00", "1:1: the file is UTF-16"},
		"byte order mark":   {"\xef\xbb\xbfapp: ads\n", "1:1: the file starts with a byte order mark"},
		"too large":         {strings.Repeat("#", 50<<20), "1:1: the file has 52428800 bytes"},
		"nested":            {flow(500), "1:106: nested more than 100 levels deep"},
		"nested very deep":  {flow(400_000), "not YAML: "},
		"indented deep":     {strings.Repeat("- ", 400_000), "not YAML: "},
		"two documents":     {"app: ads\n---\napp: ads\n", "2:1: a second YAML document"},
		"a list":            {"- app: ads\n", "1:1: a rules file is a mapping"},
		"a scalar":          {"ads\n", "1:1: a rules file is a mapping"},
		"anchor bomb":       {"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "1:4: anchors are not supported"},
		"merge key":         {"app:\n  <<: {a: b}\n", "2:3: merge keys are not supported"},
		"tag":               {"app: !!binary aGk=\n", "1:6: YAML tags are not supported"},
		"control character": {"app: a\x01b\n", "not YAML: control characters are not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile("rules.yaml", []byte(c.src), noEnv)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestErrorsAreBounded(t *testing.T) {
	var src strings.Builder
	src.WriteString("{")
	for range 100_000 {
		src.WriteString("x,")
	}
	src.WriteString("}")
	_, err := Compile("rules.yaml", []byte(src.String()), noEnv)
	var list Errors
	if !errors.As(err, &list) || len(list) != maxErrors+1 {
		t.Fatalf("got %d errors", len(list))
	}
	for _, e := range list {
		if len(e.Snippet) > 400 {
			t.Errorf("a snippet of %d bytes", len(e.Snippet))
		}
	}
}

// FuzzCompile states that no text makes the compiler panic, and that what it refuses it explains.
func FuzzCompile(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../rules.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Compile("rules.yaml", src, testEnv)
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		checkPlan(t, p)
		again, err := Compile("rules.yaml", src, testEnv)
		if err != nil || again.Hash != p.Hash {
			t.Fatalf("compiled twice: %v", err)
		}
	})
}
