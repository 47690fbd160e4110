package tables

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// maxFileErrors is how many errors of one file are reported: enough to see what is wrong with all of it.
const maxFileErrors = 20

// maxRowBytes bounds a line of a JSON-lines file.
const maxRowBytes = codecs.DefaultMaxBytes

var utf8BOM = []byte("\xef\xbb\xbf")

// LoadDimension reads a table from a file: .csv with a header row (RFC 4180; columns are found by name, others are
// ignored, an empty cell is the empty text or, in a column of another type, absent), or .jsonl or .ndjson with an
// object on each line. Every column of the spec must be in a CSV header; a JSON row may leave out all but the key. Keys
// are unique. The error lists what is wrong with the file, line by line, up to a bound.
func LoadDimension(path string, spec DimensionSpec) (*Dimension, error) {
	read := readCSV
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".csv":
	case ".jsonl", ".ndjson":
		read = readJSONLines
	default:
		return nil, fmt.Errorf("%s: table %q: unknown file type %q: use .csv, .jsonl or .ndjson", path, spec.Name, ext)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: table %q: there is no such file: create it, or correct the table's file in the rules (a relative path starts at the working directory)", path, spec.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("table %q: %w", spec.Name, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	l := &dimensionLoader{path: path, table: NewDimension(spec), lines: map[codecs.Value]int{}}
	r := bufio.NewReader(f)
	if head, _ := r.Peek(len(utf8BOM)); bytes.Equal(head, utf8BOM) {
		_, _ = r.Discard(len(utf8BOM))
	}
	read(l, r)
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return l.table, nil
}

// dimensionLoader collects the rows of a file, and what is wrong with it.
type dimensionLoader struct {
	path  string
	table *Dimension
	lines map[codecs.Value]int // where a key stands
	errs  []error
}

// fail notes an error and tells whether there is still room for more.
func (l *dimensionLoader) fail(line int, format string, args ...any) (more bool) {
	if len(l.errs) == maxFileErrors {
		l.errs = append(l.errs, fmt.Errorf("%s: more errors follow", l.path))
	}
	if len(l.errs) > maxFileErrors {
		return false
	}
	l.errs = append(l.errs, fmt.Errorf("%s:%d: %w", l.path, line, fmt.Errorf(format, args...)))
	return true
}

func (l *dimensionLoader) add(line int, values []codecs.Value) (more bool) {
	spec := &l.table.spec
	key := values[spec.Key]
	if key.IsNull() || key.Kind == codecs.String && key.Str == "" {
		return l.fail(line, "empty key %q", spec.Columns[spec.Key].Name)
	}
	if first, ok := l.lines[key]; ok {
		return l.fail(line, "duplicate key %q (first on line %d)", codecs.AppendText(nil, key), first)
	}
	l.lines[key] = line
	l.table.rows[key] = []rowVersion{{from: ofFile, values: values}}
	return true
}

func readCSV(l *dimensionLoader, r io.Reader) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	switch {
	case errors.Is(err, io.EOF):
		l.fail(1, "the file is empty: the first line must name the columns")
		return
	case err != nil:
		l.failCSV(err)
		return
	}
	at, ok := l.columns(header)
	if !ok {
		return
	}
	columns := l.table.spec.Columns
	for more := true; more; {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			if more = l.failCSV(err); !errors.Is(err, csv.ErrFieldCount) {
				return // behind a stray quote nothing can be told apart
			}
			continue
		}
		values := make([]codecs.Value, len(columns))
		whole := true
		for i, column := range columns {
			if cells[at[i]] == "" && column.Type != codecs.String {
				continue
			}
			if values[i], err = parseCell(cells[at[i]], column); err != nil {
				line, _ := c.FieldPos(at[i])
				more = l.fail(line, "%w", err)
				whole = false
			}
		}
		if whole {
			line, _ := c.FieldPos(at[l.table.spec.Key])
			more = l.add(line, values)
		}
	}
}

// columns returns where in the header the columns stand.
func (l *dimensionLoader) columns(header []string) (at []int, ok bool) {
	place := map[string]int{}
	ok = true
	for i, name := range header {
		if !utf8.ValidString(name) {
			l.fail(1, "the header is not UTF-8")
			return nil, false
		}
		if first, twice := place[name]; twice {
			l.fail(1, "columns %d and %d are both named %q", first+1, i+1, name)
			ok = false
		}
		place[name] = i
	}
	for _, column := range l.table.spec.Columns {
		i, found := place[column.Name]
		if !found {
			l.fail(1, "there is no column %q: the header has %s", column.Name, strings.Join(header, ", "))
			ok = false
		}
		at = append(at, i)
	}
	return at, ok
}

func (l *dimensionLoader) failCSV(err error) (more bool) {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return l.fail(parse.Line, "%w", parse.Err)
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %w", l.path, err))
	return false
}

func readJSONLines(l *dimensionLoader, r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxRowBytes)
	line := 0
	for more := true; more && s.Scan(); {
		line++
		row := bytes.TrimSpace(s.Bytes())
		if len(row) == 0 {
			continue
		}
		values, err := l.table.parseRow(row)
		if err != nil {
			more = l.fail(line, "%w", err)
			continue
		}
		more = l.add(line, values)
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		l.fail(line+1, "the line is longer than %d bytes", maxRowBytes)
	case err != nil:
		l.errs = append(l.errs, fmt.Errorf("%s: %w", l.path, err))
	}
}

// rejectMessage drops the reason from a reject: it is a word for metrics, and people have the message.
func rejectMessage(err error) error {
	var r *codecs.Reject
	if errors.As(err, &r) {
		return errors.New(r.Message)
	}
	return err
}
