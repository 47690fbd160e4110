package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	exprcompiler "github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// maxExpression bounds an expression's text, and with it how deep the parser recurses.
const maxExpression = 4096

// condition compiles an expression that must be boolean. It returns nil where a fault was reported, or where the
// expression reads something that is at fault elsewhere.
func (c *compiler) condition(s scalar, n *names) *Expr {
	e := c.expression(s, n, nil)
	if e != nil && e.kind != codecs.Bool {
		s.errorf("must be true or false, but %q is %s", s.shown, e.kind)
		return nil
	}
	return e
}

// expression compiles an expression. With pick, only that subtree of it.
func (c *compiler) expression(s scalar, n *names, pick func(root ast.Node) ast.Node) *Expr {
	tree := c.parse(s)
	if tree == nil {
		return nil
	}
	if pick != nil {
		tree.Node = pick(tree.Node)
	}
	outside, ok := c.inline(s, &tree.Node, n.lets)
	if !ok {
		return nil
	}
	r := &rewriter{c: c, names: n, at: s}
	e := &Expr{text: s.shown, norm: tree.Node.String(), secret: s.outside || outside, purpose: n.purpose}
	if pick != nil && !e.secret {
		e.text = e.norm
	}
	result := r.rewrite(&tree.Node)
	if r.failed {
		return nil
	}
	if e.reads = r.reads; result.Of != nil {
		e.shaper = newShaper(result)
	}
	e.native = nativeOf(tree.Node, e.reads)
	if e.native != nil {
		c.plan.natives = max(c.plan.natives, len(e.reads))
	}
	if id, ok := tree.Node.(*ast.IdentifierNode); ok && len(e.reads) == 1 && id.Value == placeholder(0) {
		e.plain, e.kind = true, e.reads[0].kind
	} else if err := c.program(e, tree, r.calls); err != nil {
		offset, msg := 0, err.Error()
		var at *file.Error
		if errors.As(err, &at) {
			offset, msg = at.From, at.Message
		}
		for i, text := range r.texts {
			msg = strings.ReplaceAll(msg, placeholder(i), text)
		}
		s.refuseAt(offset, typeNames.Replace(msg))
		return nil
	}
	c.exprs = append(c.exprs, e)
	return e
}

// typeNames says in the words of a rules file what expr-lang says in Go's.
var typeNames = strings.NewReplacer("rules.Decimal", "decimal", "time.Time", "time", "time.Duration", "duration", "float64", "float",
	"<nil>", "nil", opDecimal, "", opPrefix, "")

// parse parses the text of an expression, or reports why it is none.
func (c *compiler) parse(s scalar) *parser.Tree {
	if len(s.text) > maxExpression {
		s.errorf("the expression has %d bytes; the limit is %d", len(s.text), maxExpression)
		return nil
	}
	tree, err := parser.ParseWithConfig(s.text, conf.CreateNew())
	if err == nil {
		return tree
	}
	offset, msg := 0, err.Error()
	var at *file.Error
	if errors.As(err, &at) {
		offset, msg = at.From, at.Message
	}
	if s.node.Style == 0 && s.node.LineComment != "" {
		msg += "; what follows a blank and # is a comment in YAML: put the expression in quotes"
	}
	s.refuseAt(offset, msg)
	return nil
}

// program checks the types of a rewritten expression and compiles it.
func (c *compiler) program(e *Expr, tree *parser.Tree, calls []*builtin.Function) (err error) {
	// The checker and the optimizer run parts of an expression; a panic there is a fault of the expression.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the expression does not compile: %v", r)
		}
	}()
	e.env = envType(e.reads)
	config := conf.CreateNew()
	config.WithEnv(newEnv(e.env))
	for name, fn := range c.operators {
		config.Functions[name] = fn
	}
	for _, fn := range calls {
		config.Functions[fn.Name] = fn
	}
	t, err := checker.Check(tree, config)
	if err != nil {
		return err
	}
	if e.shaper != nil {
		e.kind = e.shaper.typ.Type
	} else if e.kind = kindOfType(t); e.kind == codecs.Null {
		if t.String() == "interface {}" {
			return fmt.Errorf("the type of the result is not known before it runs; convert it with string(), int() or float()")
		}
		return fmt.Errorf("the result is %s; it must be string, bool, int, float, decimal or time, or a list, map or record of a stream", t)
	}
	if err := optimizer.Optimize(&tree.Node, config); err != nil {
		return err
	}
	e.program, err = exprcompiler.Compile(tree, config)
	if err == nil {
		e.frame = len(c.plan.env)
		c.plan.env = append(c.plan.env, e)
	}
	return err
}

// inside returns the position of a character of the scalar's text. Where the file does not show the text as it is
// (environment variables, escapes, folded lines) it is the position of the scalar.
func (s scalar) inside(offset int) position {
	at := positionOf(s.node)
	runes := []rune(s.text)
	if s.outside || offset < 0 || offset > len(runes) {
		return at
	}
	before := string(runes[:offset])
	row := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	text := strings.Split(s.text, "\n")[row]
	line := at.line + row
	switch s.node.Style {
	case yaml.LiteralStyle:
		line++
	case yaml.FoldedStyle:
		if line++; row > 0 {
			return at
		}
	default:
		if row > 0 {
			return at
		}
	}
	if line > len(s.c.lines) {
		return at
	}
	source, start := []rune(s.c.lines[line-1]), 0
	if line == at.line {
		start = min(at.col-1, len(source))
	}
	i := strings.Index(string(source[start:]), text)
	if i < 0 {
		return at
	}
	return position{line, start + utf8.RuneCountInString(string(source[start:])[:i]) + column + 1}
}

// conjuncts splits a condition at its top-level ands.
func conjuncts(n ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "&&" || b.Operator == "and") {
		return append(conjuncts(b.Left), conjuncts(b.Right)...)
	}
	return []ast.Node{n}
}

// plainField returns the stream and the field that a node reads, where it does nothing else.
func (c *compiler) plainField(n ast.Node) (source, bool) {
	m, ok := n.(*ast.MemberNode)
	if !ok || m.Optional {
		return source{}, false
	}
	base, isStream := m.Node.(*ast.IdentifierNode)
	property, isName := m.Property.(*ast.StringNode)
	if !isStream || !isName {
		return source{}, false
	}
	s := c.streams[base.Value]
	if s == nil {
		return source{}, false
	}
	i, ok := s.fields[property.Value]
	return source{s, fieldRef(i)}, ok
}
