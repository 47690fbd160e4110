package rules

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Tuple is what a pair expression sees. A nil row is absent.
type Tuple struct {
	Conversion, Touch, Parent codecs.Row
}

// row returns the row of a stream, nil where the tuple has none.
func (t *Tuple) row(stream int) codecs.Row {
	for _, r := range [...]codecs.Row{t.Conversion, t.Touch, t.Parent} {
		if r != nil && r.Stream() == stream {
			return r
		}
	}
	return nil
}

// Expr is a compiled expression. It is immutable and shared between goroutines; each brings a Scope of its own.
type Expr struct {
	text    string
	norm    string // the same, without the freedoms of writing; for hashes
	secret  bool   // norm holds text from outside the file, so errors say nothing of what the program met
	purpose purpose
	kind    codecs.Kind
	shaper  *shaper // of a list, a map or a record; nil: the result is a single value
	reads   []read
	plain   bool    // the result is reads[0] itself: no program
	native  *native // nil: the program decides
	program *vm.Program
	env     reflect.Type
	frame   int
}

// String returns the expression as it stands in the rules file.
func (e *Expr) String() string { return e.text }

// Kind returns the type of the result. It is never Null, though a Value may be.
func (e *Expr) Kind() codecs.Kind { return e.kind }

// typ is the type of the result.
func (e *Expr) typ() codecs.Field {
	if e.shaper != nil {
		return e.shaper.typ
	}
	return codecs.Field{Type: e.kind}
}

// Bool evaluates a condition over a pair. In a `join` an absent field makes it false; in a class's `where` an absent
// field reads as the zero of its type, and an absent record makes the condition false.
func (e *Expr) Bool(s *Scope, t *Tuple) (bool, error) {
	for i := range e.reads {
		r := &e.reads[i]
		row := r.row(t)
		if row == nil {
			return false, nil
		}
		slot := r.slots[row.Stream()]
		if e.purpose == forJoin && slot >= 0 && codecs.IsNullValue(row.Field(slot)) {
			return false, nil
		}
		v := row.At(slot, r.path)
		if e.purpose == forJoin && v.IsNull() {
			return false, nil
		}
		e.load(s, i, v)
	}
	return e.runBool(s)
}

// Value evaluates a field of an output row. It is Null where something that it reads is absent.
func (e *Expr) Value(s *Scope, t *Tuple) (codecs.Value, error) {
	for i := range e.reads {
		r := &e.reads[i]
		row := r.row(t)
		if row == nil {
			return codecs.Value{}, nil
		}
		v := row.At(r.slots[row.Stream()], r.path)
		if e.plain || v.IsNull() {
			return v, nil
		}
		set(s.frames[e.frame].cells[i], v)
	}
	result, err := e.run(s)
	switch {
	case errors.Is(err, errAbsent):
		return codecs.Value{}, nil
	case err != nil:
		return codecs.Value{}, err
	case e.shaper != nil:
		return e.shaper.value(result), nil
	}
	return toValue(result), nil
}

// BoolEvent evaluates a stream's `where`. An absent field reads as the zero of its type.
func (e *Expr) BoolEvent(s *Scope, ev *codecs.Event) (bool, error) {
	for i := range e.reads {
		r := &e.reads[i]
		v := ev.Value(r.slots[ev.Stream])
		if r.path != nil {
			v = v.At(r.path)
		}
		e.load(s, i, v)
	}
	return e.runBool(s)
}

func (r *read) row(t *Tuple) codecs.Row {
	if r.touch {
		return t.Touch
	}
	return t.row(r.stream)
}

// load puts the value of reads[i] where a condition finds it.
func (e *Expr) load(s *Scope, i int, v codecs.Value) {
	if e.native != nil {
		s.values[i] = v
	} else {
		set(s.frames[e.frame].cells[i], v)
	}
}

func (e *Expr) runBool(s *Scope) (bool, error) {
	if e.native != nil {
		return e.native.eval(s.values), nil
	}
	result, err := e.run(s)
	switch {
	case errors.Is(err, errAbsent):
		return false, nil
	case err != nil:
		return false, err
	}
	b, _ := result.(bool)
	return b, nil
}

// run runs the program over what has been set in the expression's frame.
func (e *Expr) run(s *Scope) (any, error) {
	result, err := s.vm.Run(e.program, s.frames[e.frame].env)
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, errAbsent):
		return nil, errAbsent
	}
	if e.secret {
		return nil, fmt.Errorf("expression %q failed", e.text)
	}
	var at *file.Error
	if errors.As(err, &at) {
		// Its own text shows the rewritten source; the message alone says what failed.
		return nil, fmt.Errorf("expression %q: %s", e.text, at.Message)
	}
	return nil, fmt.Errorf("expression %q: %w", e.text, err)
}
