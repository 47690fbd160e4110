package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/internal/ruletest"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// defaultTests is the tests file where none is named.
const defaultTests = "rules_test.yaml"

type testFlags struct {
	run, format string
	coverage    bool
}

func newTest() *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use:   "test [TESTS.yaml...]",
		Short: "Test rules: which rows follow from which events",
		Long: `Run tests of rules (default rules_test.yaml; of a folder, all *_test.yaml in it): events arrive at the times that a test
says, and the rows that are written are compared with those that it expects. No Kafka is needed. Whatever a test expects, the
rows that remain must also be those of a batch recount and, where it lets events arrive in several orders, the same in each.

--coverage also says what no test reaches: classes, corrections and refusals that never occur, and everything in the rules
file that could be taken out without a test failing.

The exit code is 1 where a test fails and where there is none.`,
		Example: "  lookback test\n  lookback test --run 'late click' --coverage examples",
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "junit"}, f.format) {
				return usagef("--format %s: use text, json or junit", f.format)
			}
			if f.coverage && f.format == "junit" {
				return usagef("--coverage: junit has no place for it; use text or json")
			}
			names, err := regexp.Compile(f.run)
			if err != nil {
				return usagef("--run %s: %w", f.run, err)
			}
			if len(args) == 0 {
				args = []string{defaultTests}
			}
			return test(c, f, names, args)
		},
	}
	c.Flags().StringVar(&f.run, "run", "", "run the tests whose names match this regular expression")
	c.Flags().StringVar(&f.format, "format", "text", "text, json or junit")
	c.Flags().BoolVar(&f.coverage, "coverage", false, "also say what no test reaches")
	return c
}

// tested is what became of one tests file.
type tested struct {
	file    string
	err     error // of the file itself; then nothing was run
	results []ruletest.Result
	covered []ruletest.Covered
}

func (t *tested) failed() (n int) {
	for _, r := range t.results {
		if len(r.Failures) > 0 {
			n++
		}
	}
	return n
}

func test(c *cobra.Command, f testFlags, names *regexp.Regexp, args []string) error {
	files, err := testFiles(args)
	if err != nil {
		return err
	}
	report := newTestReport(f.format, c.OutOrStdout(), c.ErrOrStderr())
	failed, ran := false, 0
	for _, file := range files {
		t := testFile(c.Context(), f, names, file)
		if err := c.Context().Err(); err != nil {
			return errors.New("interrupted")
		}
		failed = failed || t.err != nil || t.failed() > 0
		ran += len(t.results)
		if err := report.file(t); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	if err := report.end(); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	switch {
	case failed:
		return &exitError{code: exitFailed}
	case ran == 0 && f.run != "":
		return fmt.Errorf("no test matches --run %s", f.run)
	case ran == 0:
		return fmt.Errorf("no tests in %s", strings.Join(files, ", "))
	}
	return nil
}

// testFiles returns the tests files that arguments name: themselves, or all of a folder.
func testFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%s: there is no such tests file; docs/testing.md says how to write one", arg)
		case err != nil:
			return nil, err
		case !info.IsDir():
			files = append(files, arg)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && (strings.HasSuffix(path, "_test.yaml") || strings.HasSuffix(path, "_test.yml")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s: no *_test.yaml in this folder", arg)
		}
	}
	return files, nil
}

// testFile runs the tests of one file whose names match.
func testFile(ctx context.Context, f testFlags, names *regexp.Regexp, path string) *tested {
	t := &tested{file: path}
	file, err := rules.LoadTests(path)
	if err != nil {
		t.err = err
		return t
	}
	dims, err := testTables(file)
	if err != nil {
		t.err = err
		return t
	}
	runner := ruletest.NewRunner(file, dims)
	var chosen []*rules.Test
	for _, one := range file.Tests {
		if !names.MatchString(one.Name) {
			continue
		}
		result, err := runner.Run(ctx, one)
		if err != nil {
			t.err = err
			return t
		}
		t.results = append(t.results, result)
		if len(result.Failures) == 0 {
			chosen = append(chosen, one)
		}
	}
	if f.coverage && len(t.results) > 0 {
		t.covered, t.err = runner.Coverage(ctx, chosen, testTables)
	}
	return t
}

// testTables opens the tables of the rules that tests are of.
func testTables(file *rules.TestFile) ([]*tables.Dimension, error) {
	dims, err := openDimensions(file.Plan, file.Tables)
	if err != nil {
		return nil, err
	}
	for i, d := range dims {
		if name := file.Plan.Tables[i].Name; d == nil {
			return nil, fmt.Errorf("%s: table %q comes from a topic; the tests need a file for it: tables: {%s: FILE}", file.File, name, name)
		}
	}
	return dims, nil
}
