package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"gopkg.in/yaml.v3"
)

// Compile compiles the text of a rules file. The file's name is for messages only. What env answers replaces ${V} in
// single values. All faults are found at once: an error is an Errors, sorted by position.
func Compile(file string, src []byte, env func(name string) (value string, set bool)) (*Plan, error) {
	return compile(file, src, func(name string) (string, bool, error) {
		v, set := env(name)
		return v, set, nil
	})
}

// Load compiles a rules file with the environment of the process. Where the environment has V_FILE, ${V} is the content of
// the file that it names, without a newline at the end. The error is an Errors, or one of reading the rules file.
func Load(path string) (*Plan, error) { return load(path, environment) }

func load(path string, env lookup) (*Plan, error) {
	src, err := readAtMost(path, maxFileBytes+1)
	if err != nil {
		return nil, fmt.Errorf("read the rules file: %w", err)
	}
	return compile(path, src, env)
}

// environment is that of the process.
func environment(name string) (string, bool, error) {
	secret, set := os.LookupEnv(name + "_FILE")
	if !set {
		v, set := os.LookupEnv(name)
		return v, set, nil
	}
	b, err := readAtMost(secret, maxFileBytes)
	if err != nil {
		return "", true, fmt.Errorf("named by %s_FILE: %w", name, err)
	}
	return strings.TrimRight(string(b), "\r\n"), true, nil
}

// readAtMost returns the first bytes of a file, all of them where there are no more than n.
func readAtMost(path string, n int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, n))
}

// compiler holds what one compilation knows. It is thrown away with it.
type compiler struct {
	faults
	env       lookup
	plan      *Plan
	streams   map[string]*streamInfo // by name
	tables    map[string]*tableInfo  // by name
	topics    map[string]string      // what each topic is used for
	keys      map[string]*keyInfo    // by fields
	exprs     []*Expr
	operators map[string]*builtin.Function
	takes     []*takingInfo
	touches   int                         // state.max_touches
	told      func(v value, what allowed) // of what the file may say in a place; nil: nobody asks
}

func compile(file string, src []byte, env lookup) (*Plan, error) {
	return newCompiler(file, env).compile(src)
}

func newCompiler(file string, env lookup) *compiler {
	return &compiler{
		faults:    faults{file: file},
		env:       env,
		plan:      &Plan{},
		streams:   map[string]*streamInfo{},
		tables:    map[string]*tableInfo{},
		topics:    map[string]string{},
		keys:      map[string]*keyInfo{},
		operators: operatorTable(),
	}
}

func (c *compiler) compile(src []byte) (*Plan, error) {
	if root := c.read(rulesFile, src); root != nil {
		c.document(value{c: c, node: root})
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.plan, nil
}

// read parses the text of a file, which messages quote from then on.
func (f *faults) read(as format, src []byte) *yaml.Node {
	if len(src) <= as.maxBytes {
		for line := range bytes.Lines(src) {
			f.lines = append(f.lines, strings.TrimRight(string(line), "\r\n"))
		}
	}
	return parseDocument(f, as, src)
}

// document compiles the top level. Sections come in the order in which they refer to each other, whatever their order in the
// file.
func (c *compiler) document(root value) {
	got := root.section([]string{"app", "kafka", "delivery", "commit_interval", "commit_records", "instance_id", "watermark_interval", "idle_timeout", "topics", "state", "http",
		"catch_up", "streams", "tables", "rules"}, "late")
	c.settings(root, got)
	for _, name := range []string{"streams", "rules"} {
		if _, ok := got[name]; !ok {
			root.errorf("%s is missing", name)
		}
	}
	if v, ok := got["streams"]; ok {
		c.declareStreams(v)
	}
	if v, ok := got["tables"]; ok {
		c.declareTables(v)
	}
	c.streamConditions()
	c.takings()
	if v, ok := got["rules"]; ok {
		c.rules(v)
	}
	c.latePolicies()
	if c.err() != nil {
		return
	}
	c.layOut()
	c.hash()
}

// claim notes what a topic is used for, and reports a second use.
func (c *compiler) claim(at scalar, topic, use string) bool {
	if other, taken := c.topics[topic]; taken {
		at.errorf("topic %q is already %s", at.shown, other)
		return false
	}
	c.topics[topic] = use
	return true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
