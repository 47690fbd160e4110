package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestWrongCommandLinesAreUsageErrors(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	for line, want := range map[string][]string{
		"chekc":                                      {`unknown command "chekc" (did you mean "check"?)`, "Run 'lookback --help' for usage."},
		"frobnicate":                                 {`unknown command "frobnicate"`, "Run 'lookback --help'"},
		"--frobnicate":                               {"unknown flag: --frobnicate"},
		"help frobnicate":                            {`unknown command "frobnicate"`},
		"help check me":                              {`help: unexpected argument "me"`},
		"check --frobnicate":                         {"unknown flag: --frobnicate", "Run 'lookback check --help' for usage."},
		"check --format":                             {"flag needs an argument: --format"},
		"check --lint-fatal=perhaps":                 {`invalid argument "perhaps"`},
		"replay":                                     {"replay: arguments are missing: lookback replay RULES.yaml EVENTS.jsonl..."},
		"replay $":                                   {"replay: arguments are missing", "Run 'lookback replay --help' for usage."},
		"replay $ - --emit all":                      {"--emit all: use deltas, upserts, both or final"},
		"replay $ - --rule other":                    {"--rule other: no such rule"},
		"replay $ - --table catalog":                 {`invalid argument "catalog" for "--table" flag`},
		"replay $ - --table catalog=c.csv":           {"--table catalog: no such table in the rules"},
		"run $ $":                                    {"run: unexpected argument ", ": lookback run [RULES.yaml]"},
		"run $ --rules $":                            {"run: the rules file is given twice"},
		"run $ --brokers kafka":                      {`brokers "kafka": a broker is host:port`},
		"run $ --brokers kafka:9092,":                {`brokers "kafka:9092,": a broker is host:port`},
		"run $ --brokers kafka:99999":                {`a broker is host:port`},
		"run $ --store tape":                         {`store "tape": use memory or disk`},
		"run $ --log-level loud":                     {`log level "loud": use debug, info, warn or error`},
		"run $ --log-format xml":                     {`log format "xml": use text or json`},
		"dev $ $":                                    {"dev: unexpected argument "},
		"dev $ --partitions 0":                       {"--partitions 0: use at least 1"},
		"dev $ --partitions many":                    {`invalid argument "many"`},
		"demo $":                                     {"demo: unexpected argument "},
		"demo --for never":                           {`invalid argument "never"`},
		"demo --rate -1":                             {"rate: -1 records per second"},
		"explain $ $":                                {"explain: unexpected argument "},
		"explain $ --format svg":                     {"--format svg: use text, json, dot or mermaid"},
		"explain $ --acls --format dot":              {"--format dot: with --acls, --budget and --lateness use text or json"},
		"explain $ --principal User:a":               {"--principal: it is for --acls, as text"},
		"explain $ --acls --principal lookback":      {`--principal "lookback": a principal is type:name`},
		"explain $ --acls --principal User:`id`":     {"a principal is type:name"},
		"verify $ $":                                 {"verify: unexpected argument "},
		"verify $ --format xml":                      {"--format xml: use text, json or html"},
		"verify $ --from noon":                       {`--from: "noon" is not a time such as`},
		"verify $ --to noon":                         {`--to: "noon" is not a time`},
		"verify $ --from 2026-01-02 --to 2026-01-01": {"--from 2026-01-02T00:00:00Z is not before --to 2026-01-01T00:00:00Z"},
		"verify $ --from 2026-01-02 --last 1h":       {"--last: a duration above 0, and without --from"},
		"verify $ --last -1h":                        {"--last: a duration above 0"},
		"verify $ --examples -1":                     {"--examples -1: use at least 0"},
		"verify $ --every 1m":                        {"--every: there is no --watch"},
		"verify $ --http off":                        {"--http: there is no --watch"},
		"verify $ --watch --every 0s":                {"--every 0s: use a duration above 0"},
		"verify $ --watch --to 2026-01-01":           {"--watch: it looks at the last hours"},
		"verify $ --watch --format html":             {"--format html: with --watch it is for --output"},
		"verify $ --watch --http 0.0.0.0:9465":       {"an address other than loopback needs a token"},
		"version 2":                                  {`version: unexpected argument "2": lookback version`},
		"gen events.jsonl":                           {`gen: unexpected argument "events.jsonl": lookback gen`},
		"gen --clicks 1.5":                           {"clicks: 1.5 is not a share between 0 and 1"},
		"gen --clicks 0.6 --conversions 0.6":         {"impressions: ", "is not a share between 0 and 1"},
		"gen --broken 2":                             {"broken: 2 is not a share"},
		"gen --duplicates -1":                        {"duplicates: -1 is not a share"},
		"gen --disorder NaN":                         {"disorder: NaN is not a share"},
		"gen --users 0":                              {"users: 0 is not between"},
		"gen --zipf 9":                               {"zipf: 9 is not between 0 and 4"},
		"gen --events 0":                             {"a stream without end needs a rate"},
		"gen --events -1":                            {`invalid argument "-1"`},
		"gen --spread 0s":                            {"spread: 0s must be positive where there is no rate"},
		"gen --start noon":                           {"--start: "},
		"gen --brokers kafka":                        {`brokers "kafka": a broker is host:port`},
		"gen --brokers k:1 --topic view=v":           {`--topic: no stream "view", there are impression, click and conversion`},
		"check --connect --brokers kafka:port $":     {`brokers "kafka:port": a broker is host:port`},
	} {
		t.Run(line, func(t *testing.T) {
			r := command(t, "", strings.Fields(strings.ReplaceAll(line, "$", rules))...)
			r.want(t, exitUsage, want...)
			if !strings.HasPrefix(r.stderr, "lookback: ") || !strings.HasSuffix(r.stderr, " --help' for usage.\n") || r.stdout != "" {
				t.Errorf("standard error %q, standard output %q", r.stderr, r.stdout)
			}
		})
	}
}

func TestWhatCannotBeReadOrWrittenFails(t *testing.T) {
	rules, dir := file(t, "rules.yaml", shopRules), t.TempDir()
	missing := filepath.Join(dir, "missing")
	for line, want := range map[string]string{
		"replay " + missing + " -":               "read the rules file: open " + missing,
		"replay " + dir + " -":                   "is a directory",
		"replay " + rules + " " + missing:        "reading events: open " + missing,
		"replay " + rules + " - " + missing:      "reading events: open " + missing,
		"replay " + rules + " " + dir:            "is a directory",
		"run " + missing:                         "read the rules file: open " + missing,
		"dev " + missing:                         "read the rules file: open " + missing,
		"dev " + rules + " --addr nowhere":       `address "nowhere"`,
		"gen --events 9 --out " + missing + "/x": "writing events: open " + missing + "/x",
	} {
		r := command(t, "", strings.Fields(line)...)
		r.want(t, exitFailed, "lookback: ", want)
		if strings.Contains(r.stderr, "--help") {
			t.Errorf("%s: a usage hint where the usage is right:\n%s", line, r.stderr)
		}
	}
}

func TestHelpOfEveryCommandNamesItsFlags(t *testing.T) {
	root := newRoot()
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "completion" {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			r := command(t, "", c.Name(), "--help")
			if r.code != exitOK || r.stderr != "" {
				t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
			}
			if again := command(t, "", "help", c.Name()); again != r {
				t.Errorf("help %s says something else than %s --help:\n%s", c.Name(), c.Name(), again.stdout)
			}
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if !strings.Contains(r.stdout, "--"+f.Name) || f.Usage == "" {
					t.Errorf("--%s is not explained", f.Name)
				}
			})
			if all := command(t, "", "--help"); !strings.Contains(all.stdout, c.Name()+" ") || !strings.Contains(all.stdout, c.Short) {
				t.Errorf("lookback --help does not mention %s:\n%s", c.Name(), all.stdout)
			}
		})
	}
	if bare, help := command(t, ""), command(t, "", "--help"); bare != help || bare.code != exitOK {
		t.Errorf("without arguments: exit code %d and\n%s", bare.code, bare.stdout)
	}
}

// Examples in the help must be command lines that are understood.
func TestExamplesInHelpParse(t *testing.T) {
	n := 0
	for _, c := range newRoot().Commands() {
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), "&"), ">")
			args := strings.Fields(line)
			if len(args) == 0 {
				continue
			}
			n++
			named, rest, err := newRoot().Find(args[1:])
			if err == nil {
				err = named.ParseFlags(rest)
			}
			if err == nil && named.Args != nil {
				err = named.Args(named, named.Flags().Args())
			}
			if err != nil || args[0] != "lookback" || !named.HasParent() {
				t.Errorf("example %q of %s: %v", line, c.Name(), err)
			}
		}
	}
	if n == 0 {
		t.Error("no command has an example")
	}
}

func TestVersionIsPrinted(t *testing.T) {
	r := command(t, "", "version")
	if r.code != exitOK || !strings.HasPrefix(r.stdout, "lookback "+version) || !strings.HasSuffix(r.stdout, "\n") {
		t.Errorf("exit code %d, output %q", r.code, r.stdout)
	}
}

func TestGenGivesTheSameBytesForTheSameSeed(t *testing.T) {
	args := []string{"gen", "--events", "2000", "--users", "50", "--broken", "0.05", "--duplicates", "0.05", "--seed"}
	first := command(t, "", append(args, "7")...)
	first.want(t, exitOK, "wrote 2000 records: ")
	if n := strings.Count(first.stdout, "\n"); n != 2000 {
		t.Errorf("%d lines, want 2000", n)
	}
	if again := command(t, "", append(args, "7")...); again != first {
		t.Error("the same seed gives other bytes")
	}
	if other := command(t, "", append(args, "8")...); other.stdout == first.stdout {
		t.Error("another seed gives the same bytes")
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	command(t, "", append(args, "7", "--out", path)...).want(t, exitOK, "wrote 2000 records: ")
	written, err := os.ReadFile(path)
	if err != nil || string(written) != first.stdout {
		t.Errorf("the file differs from what goes to standard output (%v)", err)
	}
}

// What gen breaks is rejected or late, and everything else accepted or a duplicate.
func TestReplayAccountsForWhatGenBreaks(t *testing.T) {
	events := command(t, "", "gen", "--events", "20000", "--users", "500", "--broken", "0.05", "--duplicates", "0.05").stdout
	r := command(t, events, "replay", "../../rules.yaml", "-")
	r.want(t, exitOK, "events      20000 in ", "rejected ", "malformed_json")
	wantAccounted(t, r, "ads", 20000)
}

// closedPipe fails like a pipe whose reader has gone, after a number of bytes.
type closedPipe struct{ left int }

var errClosed = errors.New("broken pipe")

func (p *closedPipe) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, errClosed
	}
	return len(b), nil
}

func TestOutputToAClosedPipeFails(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	// Without end: only the failure of the output ends it.
	endless := func() io.Reader { return &repeat{text: []byte("no JSON\n")} }
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"replay":          {[]string{"replay", rules, "-"}, "lookback: writing the output: broken pipe\n"},
		"gen":             {[]string{"gen", "--events", "10000000"}, "lookback: writing events: broken pipe\n"},
		"gen, at its end": {[]string{"gen", "--events", "10"}, "lookback: writing events: broken pipe\n"},
		"check":           {[]string{"check", rules}, "lookback: broken pipe\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr strings.Builder
			code := execute(t.Context(), test.args, endless(), &closedPipe{}, &stderr)
			result{code: code, stderr: stderr.String()}.want(t, exitFailed, test.want)
		})
	}
	var stderr strings.Builder
	code := execute(t.Context(), []string{"replay", rules, "-"}, endless(), &closedPipe{left: 1 << 20}, &stderr)
	result{code: code, stderr: stderr.String()}.want(t, exitFailed, "lookback: writing the output: broken pipe\n")
}

// repeat reads as a text over and over.
type repeat struct {
	text []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

func TestReplayIsInterrupted(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	t.Run("between records", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := io.MultiReader(strings.NewReader(ad("a1", "u")+"\n"), readFunc(cancel), &repeat{text: []byte(ad("a1", "u") + "\n")})
		commandWith(t, ctx, in, "replay", rules, "-").want(t, exitFailed, "lookback: interrupted at -:")
	})
	t.Run("while the input blocks", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in, writer := io.Pipe()
		defer writer.Close()
		commandWith(t, ctx, io.MultiReader(strings.NewReader(ad("a1", "u")+"\n"), readFunc(cancel), in), "replay", rules, "-").
			want(t, exitFailed, "lookback: interrupted at -:")
	})
	t.Run("before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		commandWith(t, ctx, strings.NewReader(ad("a1", "u")), "replay", rules, "-").want(t, exitFailed, "lookback: interrupted at -:1")
	})
}

// readFunc is a reader that calls a function and is at its end.
type readFunc func()

func (f readFunc) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// A command without a check of its arguments would take any.
func TestEveryCommandChecksItsArguments(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if takesMany := strings.Contains(c.Use, "..."); !takesMany && (c.Args == nil || c.Args(c, make([]string, 10)) == nil) {
			t.Errorf("%s takes more arguments than its usage says: %s", c.Name(), c.Use)
		}
	}
}
