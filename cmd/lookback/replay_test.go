package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestReplayOfTheTour compares standard output with testdata; run with -update after a change, and read the diff.
func TestReplayOfTheTour(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	t.Setenv("KAFKA_BROKERS", "localhost:9092")
	for _, emit := range []string{"default", "deltas", "upserts", "both", "final"} {
		t.Run(emit, func(t *testing.T) {
			args := []string{"replay", "../../rules.yaml", "testdata/tour/events.jsonl"}
			if emit != "default" {
				args = append(args, "--emit", emit)
			}
			r := command(t, "", args...)
			r.want(t, exitOK, "events      15 in ", "accepted    9\n", "duplicates  1\n", "late        1\n", "rejected    4\n")
			golden := "testdata/tour/" + emit + ".golden.jsonl"
			wantGolden(t, golden, r.stdout)
			wantContract(t, r, emit == "final")
		})
	}
}

// wantContract checks what every line of replay's output has, whatever the rules.
func wantContract(t *testing.T, r result, final bool) {
	t.Helper()
	all := r.records(t)
	for i, line := range strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n") {
		var members []string
		dec := json.NewDecoder(strings.NewReader(line))
		for depth := 0; ; {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				depth++
			case json.Delim('}'), json.Delim(']'):
				depth--
			}
			if name, ok := token.(string); ok && depth == 1 && slices.Contains([]string{"topic", "key", "value", "headers"}, name) {
				members = append(members, name)
			}
		}
		refused := strings.HasSuffix(all[i].Topic, ".rejected") || strings.HasSuffix(all[i].Topic, ".late")
		want := []string{"topic", "key", "value"}
		if refused {
			want = append(want, "headers")
		}
		if !slices.Equal(members, want) {
			t.Errorf("line %d has the members %v, want %v: %s", i+1, members, want, line)
		}
		if final && refused {
			t.Errorf("a refused record among the net rows: %s", line)
		}
	}
	if final && !slices.IsSortedFunc(all, func(a, b record) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(*a.Key, *b.Key)) }) {
		t.Errorf("the net rows are not in the order of topic and key:\n%s", r.stdout)
	}
}

// Where the events come from makes no difference.
func TestReplayReadsFilesAndStandardInput(t *testing.T) {
	const rules = "../../rules.yaml"
	text, err := os.ReadFile("testdata/tour/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	half := len(lines) / 2
	first, second := string(bytes.Join(lines[:half], nil)), string(bytes.Join(lines[half:], nil))
	a, b := file(t, "a.jsonl", first), file(t, "b.jsonl", second)
	rows := func(stdin string, files ...string) string {
		t.Helper()
		r := command(t, stdin, append([]string{"replay", rules, "--emit", "final"}, files...)...)
		r.want(t, exitOK, "events      15 in ", "rejected    4\n")
		return r.stdout
	}
	want := rows(string(text), "-")
	if want == "" {
		t.Fatal("no rows: the test shows nothing")
	}
	for name, got := range map[string]string{
		"one file":                    rows("", "testdata/tour/events.jsonl"),
		"two files":                   rows("", a, b),
		"standard input, then a file": rows(first, "-", b),
		"a file, then standard input": rows(second, a, "-"),
		"an empty file between":       rows("", a, file(t, "empty.jsonl", ""), b),
	} {
		if got != want {
			t.Errorf("%s gives\n%s\nwant\n%s", name, got, want)
		}
	}
}

// --rule leaves one rule's rows, as they are without it.
func TestReplayOfOneRule(t *testing.T) {
	second := strings.ReplaceAll(shopRules[strings.Index(shopRules, "  - name"):], "credit", "other")
	rules := file(t, "rules.yaml", shopRules+second)
	events := ad("a1", "u") + "\n" + sale("s1", "u") + "\nbroken\n"
	both := command(t, events, "replay", rules, "-", "--emit", "final")
	both.want(t, exitOK, "events      3 in ")
	var joined string
	for _, rule := range []string{"credit", "other"} {
		one := command(t, events, "replay", rules, "-", "--emit", "final", "--rule", rule)
		one.want(t, exitOK, "events      3 in ", "accepted    2\n", "rejected    1\n")
		if all := one.records(t); len(all) != 1 || all[0].Topic != "shop."+rule {
			t.Errorf("--rule %s gives\n%s", rule, one.stdout)
		}
		joined += one.stdout
	}
	if joined != both.stdout {
		t.Errorf("one by one\n%s\nboth\n%s", joined, both.stdout)
	}
}

func TestReplayOfNothing(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	empty := file(t, "empty.jsonl", "")
	for _, emit := range []string{"both", "final"} {
		r := command(t, "", "replay", rules, empty, "-", "--emit", emit)
		r.want(t, exitOK, "events      0 in ", "accepted    0\n")
		if r.stdout != "" {
			t.Errorf("output without input: %s", r.stdout)
		}
	}
}
