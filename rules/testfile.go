package rules

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// TestFile is a file of rule tests, checked against the rules file that they are of.
type TestFile struct {
	File   string
	Plan   *Plan
	Start  int64             // time 0 of the tests, in microseconds
	Tables map[string]string // by table name, the file that stands for the table
	Tests  []*Test

	src   []byte // of the tests file
	rules string // path of the rules file
	env   lookup // that it was compiled with
}

// Test says which rows must follow from events that arrive at given times.
type Test struct {
	Name  string
	Line  int
	Rule  string // rows of this rule only; "": of all
	Model string // likewise

	Given  []Arrival // in order of arrival
	Order  Order
	Expect Expect
}

// Arrival is one thing that happens: a record arrives, or the watermark moves.
type Arrival struct {
	Line    int
	Label   string // "click c1", "watermark"
	Stream  int    // rank; -1: the watermark moves
	Value   []byte // the record; nil: a tombstone
	Arrives int64  // the record's Kafka timestamp, in microseconds; of the watermark: what it becomes
	Since   int64  // Arrives, since the test's start
}

// Order is the order in which a test's events arrive.
type Order struct {
	Every      bool   // every permutation
	Shuffled   int    // as many random permutations; 0: none
	Seed       uint64 // of these
	Duplicated bool   // each event arrives twice
}

// Permuted tells whether events arrive in other orders than the written one. Nothing is late then.
func (o Order) Permuted() bool { return o.Every || o.Shuffled > 0 }

// maxEveryOrder is how many events every_order takes: 8! are 40,320 orders.
const maxEveryOrder = 8

var testsFile = format{"a tests file", "rules and tests", 16 << 20}

// LoadTests reads a file of rule tests and compiles the rules file that it names. Faults of either are Errors; a file that cannot be
// read is another error.
func LoadTests(path string) (*TestFile, error) {
	src, err := readAtMost(path, int64(testsFile.maxBytes)+1)
	if err != nil {
		return nil, fmt.Errorf("read the tests file: %w", err)
	}
	return compileTests(path, src, load)
}

// compileTests compiles the text of a tests file. The rules file that it names is compiled by load.
func compileTests(path string, src []byte, load func(path string, env lookup) (*Plan, error)) (*TestFile, error) {
	return newTestCompiler(path, src, load).compile(src)
}

func newTestCompiler(path string, src []byte, load func(path string, env lookup) (*Plan, error)) *testCompiler {
	return &testCompiler{
		compiler: &compiler{faults: faults{file: path}, env: func(name string) (string, bool, error) {
			return "", false, fmt.Errorf("${%s}: a tests file takes nothing from the environment; env: has what the rules take from there", name)
		}},
		file: &TestFile{File: path, Tables: map[string]string{}, src: src},
		load: load,
	}
}

func (c *testCompiler) compile(src []byte) (*TestFile, error) {
	if root := c.read(testsFile, src); root != nil {
		if err := c.tests(value{c: c.compiler, node: root}); err != nil {
			return nil, err
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.file, nil
}

// testCompiler holds what the compilation of a tests file knows.
type testCompiler struct {
	*compiler
	file *TestFile
	load func(path string, env lookup) (*Plan, error)
}

// defaultStart is the time 0 of tests.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// tests reads the top level. An error is one of the rules file.
func (c *testCompiler) tests(root value) error {
	got := root.section([]string{"rules", "env", "start", "tables", "tests"})
	c.file.rules = filepath.Join(filepath.Dir(c.file.File), "rules.yaml")
	if v, ok := got["rules"]; ok {
		if s, ok := v.text(); ok {
			c.file.rules = c.path(s.text)
		}
	}
	c.file.env = environment
	if v, ok := got["env"]; ok {
		c.environment(v)
	}
	plan, err := c.load(c.file.rules, c.file.env)
	if err != nil {
		return err
	}
	c.file.Plan = plan
	c.file.Start = defaultStart
	if v, ok := got["start"]; ok {
		if s, ok := v.text(); ok {
			if at, err := time.Parse(time.RFC3339, s.text); err != nil {
				s.errorf("%q is not a time; write one like 2026-01-01T00:00:00Z", s.shown)
			} else {
				c.file.Start = at.UnixMicro()
			}
		}
	}
	if v, ok := got["tables"]; ok {
		c.tables(v)
	}
	v, ok := got["tests"]
	if !ok {
		root.errorf("tests is missing")
		return nil
	}
	names := map[string]int{}
	for i, item := range v.list() {
		c.test(item.at(fmt.Sprintf("test %d", i+1)), names)
	}
	return nil
}

// path is that of a file that the tests file names.
func (c *testCompiler) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file.File), name)
}

// environment reads what stands for environment variables in the rules file; others are those of the process.
func (c *testCompiler) environment(v value) {
	values := map[string]string{}
	for _, e := range v.entries() {
		if s, ok := e.scalar(); ok {
			values[e.name] = s.text
		}
	}
	c.file.env = func(name string) (string, bool, error) {
		if text, ok := values[name]; ok {
			return text, true, nil
		}
		return environment(name)
	}
}

func (c *testCompiler) tables(v value) {
	known := map[string]bool{}
	for _, t := range c.file.Plan.Tables {
		known[t.Name] = true
	}
	for _, e := range v.entries() {
		if !known[e.name] {
			e.errorAt(positionOf(e.key), "the rules have no such table%s", suggestion(e.name, sortedKeys(known)))
		} else if s, ok := e.text(); ok {
			c.file.Tables[e.name] = c.path(s.text)
		}
	}
}

func (c *testCompiler) test(v value, names map[string]int) {
	t := &Test{Line: v.node.Line}
	got := v.section([]string{"name", "rule", "model", "given", "arrival", "expect"})
	if n, ok := got["name"]; ok {
		if s, ok := n.text(); ok {
			t.Name = strings.Join(strings.Fields(s.text), " ")
			v = v.at(fmt.Sprintf("test %q", t.Name))
			for key := range got {
				got[key] = got[key].as(v.owner)
			}
			if line, taken := names[t.Name]; taken {
				got["name"].errorf("another test of this name is in line %d", line)
			}
			names[t.Name] = s.node.Line
		}
	}
	for _, required := range []string{"name", "given", "expect"} {
		if _, ok := got[required]; !ok && len(got) > 0 {
			v.errorf("%s is missing", required)
		}
	}
	r := c.rowsOf(t, got)
	if a, ok := got["arrival"]; ok {
		c.order(t, a)
	}
	if g, ok := got["given"]; ok {
		c.given(t, g)
		if n := len(t.Given); t.Order.Every && n > maxEveryOrder {
			g.errorf("%d events have too many orders to try every one; at most %d can be, or use arrival: {shuffled: 1000}", n, maxEveryOrder)
		}
	}
	if e, ok := got["expect"]; ok {
		r.expect(t, e)
	}
	c.file.Tests = append(c.file.Tests, t)
}

// rowsOf reads which rows a test is about.
func (c *testCompiler) rowsOf(t *Test, got map[string]value) *expectation {
	r := &expectation{c: c, rules: c.file.Plan.Rules}
	if v, ok := got["rule"]; ok {
		if s, ok := v.text(); ok {
			t.Rule = s.text
			r.rules = nil
			names := map[string]bool{}
			for _, rule := range c.file.Plan.Rules {
				if names[rule.Name] = true; rule.Name == t.Rule {
					r.rules = []*Rule{rule}
				}
			}
			if r.rules == nil {
				s.errorf("the rules have no rule %q%s", s.shown, suggestion(s.shown, sortedKeys(names)))
				r.rules = c.file.Plan.Rules
			}
		}
	}
	if v, ok := got["model"]; ok {
		if s, ok := v.text(); ok {
			t.Model = s.text
			models := r.values("model")
			if !models[t.Model] {
				s.errorf("no rule here has a model %q%s", s.shown, suggestion(s.shown, sortedKeys(models)))
			}
		}
	}
	return r
}

// order reads `arrival`.
func (c *testCompiler) order(t *Test, v value) {
	if len(v.node.Content) == 0 {
		switch v.oneOf([]string{"as_written", "every_order", "duplicated"}) {
		case 1:
			t.Order.Every = true
		case 2:
			t.Order.Duplicated = true
		}
		return
	}
	got := v.section([]string{"every_order", "shuffled", "seed", "duplicated"})
	flag := func(name string) bool {
		v, ok := got[name]
		return ok && v.oneOf([]string{"true", "false"}) == 0
	}
	t.Order.Every, t.Order.Duplicated, t.Order.Seed = flag("every_order"), flag("duplicated"), 1
	if n, ok := got["shuffled"]; ok {
		times, _ := n.whole(1, 1_000_000)
		t.Order.Shuffled = int(times)
		if t.Order.Every {
			n.errorf("every_order has all orders; choose one of the two")
		}
	}
	if s, ok := got["seed"]; ok {
		seed, _ := s.whole(0, 1<<62)
		t.Order.Seed = uint64(seed)
		if t.Order.Shuffled == 0 {
			s.errorf("only shuffled has a seed")
		}
	}
}
