package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTheShippedRulesAndExamplesAreCovered(t *testing.T) {
	t.Parallel()
	rules, err := filepath.Glob("../../examples/*/rules.yaml")
	if err != nil || len(rules) < 5 {
		t.Fatalf("examples %v: %v", rules, err)
	}
	r := command(t, "", "test", "../../rules_test.yaml", "../../examples", "--coverage")
	r.want(t, exitOK)
	covered := regexp.MustCompile(`coverage: (\d+) of (\d+)\n`).FindAllStringSubmatch(r.stdout, -1)
	for _, found := range covered {
		if found[1] != found[2] {
			t.Errorf("not everything is covered:\n%s", r.stdout)
		}
	}
	if len(covered) != 1+len(rules) {
		t.Errorf("%d files are tested, not those of %v", len(covered), rules)
	}
}

// Options of rules have known answers, a millisecond on either side of their borders.
func TestOptionsHaveKnownAnswers(t *testing.T) {
	t.Parallel()
	r := command(t, "", "test", "testdata/options")
	r.want(t, exitOK)
	for _, file := range []string{"options_test.yaml: 16 passed, 0 failed", "counting_test.yaml: 12 passed, 0 failed", "late_test.yaml: 3 passed, 0 failed",
		"versions_test.yaml: 5 passed, 0 failed", "lists_test.yaml: 7 passed, 0 failed"} {
		if !strings.Contains(r.stdout, file) {
			t.Errorf("no %q in\n%s", file, r.stdout)
		}
	}
}

// The example of the documentation is a test that passes, and its output is what the page shows.
func TestTheExampleOfTheTestingPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, rest, ok := strings.Cut(rest, "```\n")
	_, shown, ok2 := strings.Cut(rest, "$ lookback test --run 'late click' rules_test.yaml\n")
	if !ok || !ok2 {
		t.Fatal("the page has no example")
	}
	rules, err := filepath.Abs("../../rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := file(t, "rules_test.yaml", strings.Replace(example, "rules: rules.yaml", "rules: "+rules+"\nenv: {LATENESS: 1h}", 1))
	r := command(t, "", "test", "--run", "late click", tests)
	r.want(t, exitOK)
	for line := range strings.Lines(strings.ReplaceAll(r.stdout, tests, "rules_test.yaml")) {
		if want, rest, _ := strings.Cut(shown, "\n"); strings.TrimSpace(want) != strings.TrimSpace(line) {
			t.Errorf("it says %q, the page %q", line, want)
		} else {
			shown = rest
		}
	}
}

func TestRuleTestsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"failing": exitFailed, "broken": exitFailed} {
		t.Run(name, func(t *testing.T) {
			r := command(t, "", "test", "testdata/ruletests/"+name+"_test.yaml")
			r.want(t, code)
			wantGolden(t, "testdata/ruletests/"+name+".txt", r.stdout+r.stderr)
		})
	}
}

func TestRuleTestsForMachines(t *testing.T) {
	t.Parallel()
	r := command(t, "", "test", "testdata/ruletests", "--format", "json")
	r.want(t, exitFailed, "broken_test.yaml:5:11: ")
	var files []jsonTests
	for line := range strings.Lines(r.stdout) {
		var f jsonTests
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		files = append(files, f)
	}
	if len(files) != 2 || files[0].Error == "" || len(files[1].Tests) != 4 || files[1].Tests[0].OK || len(files[1].Tests[0].Failures) != 3 || !files[1].Tests[3].OK {
		t.Errorf("JSON has %+v", files)
	}
	r = command(t, "", "test", "testdata/ruletests", "--format", "junit")
	r.want(t, exitFailed)
	var report junitSuites
	if err := xml.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%q: %v", r.stdout, err)
	}
	if s := report.Suites; len(s) != 2 || s[0].Errors != 1 || s[0].Cases[0].Error == nil || s[1].Tests != 4 || s[1].Failures != 3 || s[1].Cases[3].Failure != nil {
		t.Errorf("JUnit has %+v", report)
	}
}

func TestThereMustBeTestsToPass(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	command(t, "", "test", empty).want(t, exitFailed, "no *_test.yaml in this folder")
	command(t, "", "test", filepath.Join(empty, "none_test.yaml")).want(t, exitFailed, "there is no such tests file")
	command(t, "", "test", "../../rules_test.yaml", "--run", "unheard of").want(t, exitFailed, "no test matches --run unheard of")
	command(t, "", "test", "--run", "(").want(t, exitUsage, "--run (: ")
	command(t, "", "test", "--format", "xml").want(t, exitUsage, "use text, json or junit")
	command(t, "", "test", "--format", "junit", "--coverage").want(t, exitUsage, "junit has no place for it")
	command(t, "", "test", file(t, "a_test.yaml", "rules: nowhere.yaml\ntests: []\n")).want(t, exitFailed, "read the rules file: ")
	command(t, "", "test", file(t, "b_test.yaml", "")).want(t, exitFailed, "b_test.yaml:1:1: the file is empty")
	rules := file(t, "rules.yaml", shopRules)
	command(t, "", "test", file(t, "c_test.yaml", "rules: "+rules+"\ntests: []\n")).want(t, exitFailed, "c_test.yaml:2:8: tests: the list is empty")
	faulty := file(t, "rules.yaml", strings.Replace(shopRules, "within: 1d", "within: 9d", 1))
	command(t, "", "test", file(t, "d_test.yaml", "rules: "+faulty+"\ntests: []\n")).want(t, exitFailed, faulty+":", "longer than the rule's lookback")
}

func TestRuleTestsReadTables(t *testing.T) {
	t.Parallel()
	tabled := strings.Replace(shopRules, "streams:", "tables:\n  catalog: {topic: shop.catalog, key: product, fields: {product: string, title: string}}\nstreams:", 1)
	tabled = strings.Replace(tabled, "product: ad.product\n    measure", "product: ad.product\n      title: catalog[ad.product].title\n    measure", 1)
	rules := file(t, "rules.yaml", tabled)
	catalog := file(t, "catalog.csv", "product,title\nball,Red ball\n")
	tests := `
tests:
  - name: a row has the title
    given:
      - {at: 0s, ad: {ad_id: a1, user: u, product: ball, weight: 1}}
      - {at: 1h, sale: {sale_id: s1, user: u, product: ball, price: 5}}
    expect: {final: [{title: Red ball, revenue: 5.0}]}
`
	command(t, "", "test", file(t, "a_test.yaml", "rules: "+rules+"\ntables: {catalog: "+catalog+"}"+tests)).want(t, exitOK)
	command(t, "", "test", file(t, "b_test.yaml", "rules: "+rules+tests)).want(t, exitFailed, `table "catalog" comes from a topic; the tests need a file for it`)
	command(t, "", "test", file(t, "c_test.yaml", "rules: "+rules+"\ntables: {catalogue: "+catalog+"}"+tests)).want(t, exitFailed, `no such table (did you mean "catalog"?)`)
}

// What may be taken out of rules without a test failing is said.
func TestCoverageFindsWhatNoTestMisses(t *testing.T) {
	t.Parallel()
	rules := file(t, "rules.yaml", shopRules)
	r := command(t, "", "test", "--coverage", file(t, "a_test.yaml", "rules: "+rules+`
tests:
  - name: an ad is seen
    given:
      - {at: 0s, ad: {ad_id: a1, user: u, product: ball, weight: 1}}
      - {at: 1h, sale: {sale_id: s1, user: u, product: ball, price: 5}}
    expect: {final: [{class: seen, revenue: 5}]}
`))
	r.want(t, exitOK)
	for _, missing := range []string{
		rules + `:12: stream "ad": where: no test fails without it`,
		`stream "ad": filtered: no test has such a record`,
		`stream "sale": late: no test has a late event of it`,
		`rule "credit": class none: no test has a row of it`,
		`rule "credit": correction: no test has a row taken back`,
		`rule "credit": join.ad: no test fails without it`,
		`rule "credit": classes.seen.within: no test fails without it`,
		`rule "credit": select.product: no test fails without it`,
		`an event that arrives twice: no test has one`,
	} {
		if !strings.Contains(r.stdout, missing) {
			t.Errorf("it does not say %q:\n%s", missing, r.stdout)
		}
	}
	for _, covered := range []string{"class seen", "measure.revenue"} {
		if strings.Contains(r.stdout, covered) {
			t.Errorf("it says that %q is missing:\n%s", covered, r.stdout)
		}
	}
}
