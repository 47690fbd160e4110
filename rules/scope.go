package rules

import (
	"math"
	"reflect"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// envLayout lists a plan's expressions that run in the VM; an Expr's frame is its index in it.
type envLayout []*Expr

// Scope is what running expressions changes: the VM and the typed values that expressions read. The zero Scope is of no
// use; see NewScope. One goroutine uses it at a time.
type Scope struct {
	vm     vm.VM
	frames []frame
	values []codecs.Value // what a native condition reads
}

// frame is the environment of one expression: a struct with one field for each thing that it reads.
type frame struct {
	env   any   // pointer to the struct
	cells []any // pointers to its fields
}

// NewScope returns a Scope for the plan's expressions.
func (p *Plan) NewScope() *Scope {
	s := &Scope{frames: make([]frame, len(p.env)), values: make([]codecs.Value, p.natives)}
	for i, e := range p.env {
		env := reflect.New(e.env)
		s.frames[i] = frame{env.Interface(), make([]any, len(e.reads))}
		for j := range e.reads {
			cell := env.Elem().Field(j).Addr()
			if r := &e.reads[j]; r.of != nil {
				s.frames[i].cells[j] = &nestedCell{shaper: newShaper(r.typ()), cell: cell}
			} else {
				s.frames[i].cells[j] = cell.Interface()
			}
		}
	}
	return s
}

// envType returns the struct type of an expression's environment.
func envType(reads []read) reflect.Type {
	fields := make([]reflect.StructField, len(reads))
	for i, r := range reads {
		fields[i] = reflect.StructField{
			Name: "F" + placeholder(i)[len(opPrefix):],
			Type: newShaper(r.typ()).goType,
			Tag:  reflect.StructTag(`expr:"` + placeholder(i) + `"`),
		}
	}
	return reflect.StructOf(fields)
}

// goType returns the Go type under which expressions see a field.
func goType(k codecs.Kind) reflect.Type {
	switch k {
	case codecs.Bool:
		return reflect.TypeFor[bool]()
	case codecs.Int:
		return reflect.TypeFor[int]()
	case codecs.Float:
		return reflect.TypeFor[float64]()
	case codecs.Decimal:
		return reflect.TypeFor[Decimal]()
	case codecs.Time:
		return reflect.TypeFor[time.Time]()
	}
	return reflect.TypeFor[string]()
}

// kindOfType returns the kind that a result becomes, or Null where it cannot be a field.
func kindOfType(t reflect.Type) codecs.Kind {
	switch {
	case t == nil:
		return codecs.Null
	case t == reflect.TypeFor[Decimal]():
		return codecs.Decimal
	case t == reflect.TypeFor[time.Time]():
		return codecs.Time
	case t == reflect.TypeFor[time.Duration]():
		return codecs.Null
	}
	switch t.Kind() {
	case reflect.String:
		return codecs.String
	case reflect.Bool:
		return codecs.Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return codecs.Int
	case reflect.Float64:
		return codecs.Float
	}
	return codecs.Null
}

// set stores a value where an expression reads it. Null is the type's zero; of a time, 1970.
func set(cell any, v codecs.Value) {
	switch p := cell.(type) {
	case *string:
		*p = v.Str
	case *bool:
		*p = v.Num != 0
	case *int:
		*p = int(v.Num)
	case *float64:
		*p = v.Float()
	case *Decimal:
		*p = Decimal{v.Num, v.Scale}
	case *time.Time:
		*p = v.Time()
	case *nestedCell:
		p.set(v)
	}
}

// toValue returns an expression's result as a value. A float that JSON cannot write (NaN, an infinity) is Null.
func toValue(result any) codecs.Value {
	switch x := result.(type) {
	case string:
		return codecs.StringValue(x)
	case bool:
		return codecs.BoolValue(x)
	case int:
		return codecs.IntValue(int64(x))
	case float64:
		if math.IsInf(x, 0) {
			return codecs.Value{}
		}
		return codecs.FloatValue(x)
	case Decimal:
		return codecs.DecimalValue(x.Coef, x.Scale)
	case time.Time:
		return codecs.TimeValue(x.UnixMicro())
	}
	if v := reflect.ValueOf(result); v.IsValid() && v.CanInt() {
		return codecs.IntValue(v.Int())
	}
	return codecs.Value{}
}

func newEnv(t reflect.Type) any { return reflect.New(t).Interface() }
