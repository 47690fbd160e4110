package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/ruletest"
)

// testReport writes what became of tests, in one of the formats.
type testReport struct {
	format   string
	out, err io.Writer
	files    []*tested
	began    time.Time
}

func newTestReport(format string, out, err io.Writer) *testReport {
	return &testReport{format: format, out: out, err: err, began: time.Now()}
}

// file takes the results of one tests file. Text is written at once, the others at the end.
func (r *testReport) file(t *tested) error {
	r.files = append(r.files, t)
	if t.err != nil {
		if _, err := fmt.Fprintln(r.err, t.err); err != nil {
			return err
		}
	}
	if r.format != "text" {
		return nil
	}
	var b strings.Builder
	for i := range t.results {
		textOfResult(&b, t.file, &t.results[i])
	}
	if t.err == nil {
		fmt.Fprintf(&b, "%s: %d passed, %d failed\n", t.file, len(t.results)-t.failed(), t.failed())
	}
	textOfCoverage(&b, t)
	_, err := io.WriteString(r.out, b.String())
	return err
}

func textOfResult(b *strings.Builder, file string, r *ruletest.Result) {
	verdict := "PASS"
	if len(r.Failures) > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(b, "%s  %s", verdict, r.Test.Name)
	if r.Orders > 1 {
		fmt.Fprintf(b, "  (%d orders)", r.Orders)
	}
	b.WriteByte('\n')
	for _, f := range r.Failures {
		fmt.Fprintf(b, "  %s:%d: %s\n", file, f.Line, f.What)
		for _, line := range f.Diff {
			fmt.Fprintf(b, "      %s\n", line)
		}
	}
}

func textOfCoverage(b *strings.Builder, t *tested) {
	if len(t.covered) == 0 {
		return
	}
	reached := 0
	for _, c := range t.covered {
		if c.Reached {
			reached++
		}
	}
	fmt.Fprintf(b, "coverage: %d of %d\n", reached, len(t.covered))
	for _, c := range t.covered {
		if c.Reached {
			continue
		}
		at := ""
		if c.File != "" {
			at = fmt.Sprintf("%s:%d: ", c.File, c.Line)
		}
		fmt.Fprintf(b, "  %s%s: %s\n", at, c.What, c.Missing)
	}
}

// end writes what belongs behind all files.
func (r *testReport) end() error {
	switch r.format {
	case "json":
		return r.json()
	case "junit":
		return r.junit()
	}
	return nil
}

type jsonTests struct {
	File     string             `json:"file"`
	Error    string             `json:"error,omitempty"`
	Tests    []jsonTest         `json:"tests"`
	Coverage []ruletest.Covered `json:"coverage,omitempty"`
}

type jsonTest struct {
	Name     string        `json:"name"`
	Line     int           `json:"line"`
	OK       bool          `json:"ok"`
	Orders   int           `json:"orders"`
	Seconds  float64       `json:"seconds"`
	Failures []jsonFailure `json:"failures,omitempty"`
}

type jsonFailure struct {
	Line int      `json:"line"`
	What string   `json:"what"`
	Diff []string `json:"diff"`
}

// json writes a line for each file.
func (r *testReport) json() error {
	out := json.NewEncoder(r.out)
	out.SetEscapeHTML(false)
	for _, t := range r.files {
		j := jsonTests{File: t.file, Tests: []jsonTest{}, Coverage: t.covered}
		if t.err != nil {
			j.Error = t.err.Error()
		}
		for _, one := range t.results {
			jt := jsonTest{Name: one.Test.Name, Line: one.Test.Line, OK: len(one.Failures) == 0, Orders: one.Orders, Seconds: one.Took.Seconds()}
			for _, f := range one.Failures {
				jt.Failures = append(jt.Failures, jsonFailure(f))
			}
			j.Tests = append(j.Tests, jt)
		}
		if err := out.Encode(j); err != nil {
			return err
		}
	}
	return nil
}

// The elements of a JUnit report, as CI servers read it.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr,omitempty"`
		Time    string        `xml:"time,attr"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (r *testReport) junit() error {
	var all junitSuites
	for _, t := range r.files {
		s := junitSuite{Name: t.file, Tests: len(t.results), Failures: t.failed()}
		var took time.Duration
		for i := range t.results {
			one := &t.results[i]
			took += one.Took
			jc := junitCase{Name: one.Test.Name, Class: t.file, File: t.file, Line: one.Test.Line, Time: seconds(one.Took)}
			if len(one.Failures) > 0 {
				var text strings.Builder
				textOfResult(&text, t.file, one)
				jc.Failure = &junitProblem{one.Failures[0].What, text.String()}
			}
			s.Cases = append(s.Cases, jc)
		}
		if t.err != nil {
			s.Errors++
			s.Cases = append(s.Cases, junitCase{Name: "the file", Class: t.file, File: t.file, Time: seconds(0), Error: &junitProblem{"cannot be run", t.err.Error()}})
		}
		s.Time = seconds(took)
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(r.out, xml.Header); err != nil {
		return err
	}
	out := xml.NewEncoder(r.out)
	out.Indent("", "  ")
	if err := out.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(r.out, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
