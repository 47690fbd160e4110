package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error is one fault of a rules file. Line and Col count from 1, Col in characters.
type Error struct {
	File      string
	Line, Col int
	Msg       string
	Snippet   string // the source line and a caret below the column; empty where there is no such line
}

// Error returns "file:line:col: message", then the snippet on lines of its own.
func (e Error) Error() string {
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
	if e.Snippet == "" {
		return head
	}
	return head + "\n" + e.Snippet
}

// Errors are all faults of a rules file, in the order of their positions.
type Errors []Error

// Error returns the faults, one after the other.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i := range e {
		texts[i] = e[i].Error()
	}
	return strings.Join(texts, "\n")
}

// maxErrors bounds what one file is told: a generated file can be wrong in a hundred thousand places.
const maxErrors = 100

// position is a place in the file, both counted from 1.
type position struct{ line, col int }

// faults collects the errors of one compilation.
type faults struct {
	file  string
	lines []string
	list  Errors
	more  int
}

func (f *faults) add(at position, msg string) {
	for _, e := range f.list {
		if e.Line == at.line && e.Col == at.col && e.Msg == msg {
			return
		}
	}
	if len(f.list) == maxErrors {
		f.more++
		return
	}
	f.list = append(f.list, Error{File: f.file, Line: at.line, Col: at.col, Msg: msg, Snippet: snippet(f.lines, at)})
}

// err returns nil where nothing was found wrong.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	list := slices.Clone(f.list)
	slices.SortStableFunc(list, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), strings.Compare(a.Msg, b.Msg))
	})
	if f.more > 0 {
		last := list[len(list)-1]
		list = append(list, Error{File: f.file, Line: last.Line, Col: last.Col, Msg: fmt.Sprintf("%d more errors are not shown", f.more)})
	}
	return list
}

// snippet shows the source line with a caret below the position. Of a long line it shows the surroundings.
func snippet(lines []string, at position) string {
	const before, width = 60, 120
	if at.line < 1 || at.line > len(lines) {
		return ""
	}
	line, caret := []rune(lines[at.line-1]), max(at.col-1, 0)
	if caret > len(line) {
		caret = len(line)
	}
	if len(line) > width && caret > before {
		line, caret = line[caret-before:], before
	}
	if len(line) > width {
		line = line[:width]
	}
	// A tab or a control character would move what the caret points at.
	for i, r := range line {
		if !unicode.IsPrint(r) {
			line[i] = ' '
		}
	}
	return "  " + strings.TrimRight(string(line), " ") + "\n  " + strings.Repeat(" ", caret) + "^"
}
