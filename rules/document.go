package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	maxFileBytes = 1 << 20
	maxDepth     = 100
)

// format is what a document is, for messages, and how long it may be.
type format struct {
	name     string // "a rules file"
	keys     string // that it has at its top
	maxBytes int
}

var rulesFile = format{"a rules file", "app, streams and rules", maxFileBytes}

// parseDocument reads the one YAML document of a file. It returns nil and reports why where the text is no such
// document or uses what it may not use (anchors, aliases, merge keys, tags).
func parseDocument(f *faults, as format, src []byte) *yaml.Node {
	if at, msg := checkText(as, src); msg != "" {
		f.add(at, msg)
		return nil
	}
	root, at, err := decode(as, src)
	if err != nil {
		at.line = min(at.line, len(f.lines)) // what ends too early is found behind the end
		f.add(at, err.Error())
		return nil
	}
	if !checkNodes(f, root, 0) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		f.add(positionOf(root), fmt.Sprintf("%s is a mapping with %s, not %s", as.name, as.keys, kindOf(root)))
		return nil
	}
	return root
}

// checkText finds what makes the bytes no text at all.
func checkText(as format, src []byte) (position, string) {
	start := position{1, 1}
	switch {
	case len(src) > as.maxBytes:
		return start, fmt.Sprintf("the file has %d bytes; %s has at most %d", len(src), as.name, as.maxBytes)
	case bytes.HasPrefix(src, []byte("\xef\xbb\xbf")):
		return start, "the file starts with a byte order mark; save it as UTF-8 without one"
	case bytes.HasPrefix(src, []byte("\xff\xfe")), bytes.HasPrefix(src, []byte("\xfe\xff")):
		return start, "the file is UTF-16; save it as UTF-8"
	case len(bytes.TrimSpace(src)) == 0:
		return start, "the file is empty"
	}
	if utf8.Valid(src) {
		return start, ""
	}
	at := start
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return at, fmt.Sprintf("the byte 0x%02x is not UTF-8", src[i])
		}
		if at.col++; r == '\n' {
			at = position{at.line + 1, 1}
		}
		i += n
	}
	return start, ""
}

// decode parses the bytes into nodes, without resolving anything.
func decode(as format, src []byte) (root *yaml.Node, at position, err error) {
	// The parser reports some malformed inputs by panicking.
	defer func() {
		if r := recover(); r != nil {
			root, at, err = nil, position{1, 1}, fmt.Errorf("not YAML: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, position{1, 1}, errors.New("the file has no content but comments")
	case err != nil:
		return nil, yamlPosition(err), yamlError(err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, positionOf(&second), errors.New("a second YAML document; " + as.name + " has one")
	case !errors.Is(err, io.EOF):
		return nil, yamlPosition(err), yamlError(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, position{1, 1}, errors.New("the file has no content but comments")
	}
	return doc.Content[0], position{}, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parserProblems are the errors of yaml's parser, which counts lines from 0 in them; its scanner counts from 1.
var parserProblems = regexp.MustCompile(`did not find expected (<|node content|'-'|key|',')|^yaml: line \d+: found (duplicate %|incompatible|undefined tag)`)

func yamlPosition(err error) position {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return position{1, 1}
	}
	line, _ := strconv.Atoi(m[1])
	if parserProblems.MatchString(err.Error()) {
		line++
	}
	return position{max(line, 1), 1}
}

func yamlError(err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	return errors.New("not YAML: " + yamlLine.ReplaceAllString(msg, ""))
}

// checkNodes refuses what would let a small file mean a large one, or nest so deep that nobody can read it.
func checkNodes(f *faults, n *yaml.Node, depth int) bool {
	at := positionOf(n)
	switch {
	case depth > maxDepth:
		f.add(at, fmt.Sprintf("nested more than %d levels deep", maxDepth))
		return false
	case n.Kind == yaml.AliasNode:
		f.add(at, "aliases are not supported; write the value out")
		return false
	case n.Anchor != "":
		f.add(at, "anchors are not supported; write the value out where it is used")
		return false
	case n.Tag == "!!merge":
		f.add(at, "merge keys are not supported; write the keys out")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		f.add(at, "YAML tags are not supported")
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = checkNodes(f, c, depth+1) && ok
	}
	return ok
}

func positionOf(n *yaml.Node) position { return position{max(n.Line, 1), max(n.Column, 1)} }

// kindOf names a node's kind for messages.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return "a single value"
}
