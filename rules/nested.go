package rules

import (
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// errAbsent ends an expression that came to something that is not there, where an absent field would make a join false
// or a column null.
var errAbsent = errors.New("absent")

// presentTag names what a record's struct knows of which fields it has. No expression can spell it.
const presentTag = opPrefix + "present"

// shaper turns values of a list, a map or a record into Go's, which expressions see, and back. A list is a slice, a map a
// map, a record a struct whose first field tells by a bit each which fields are there.
type shaper struct {
	typ     codecs.Field
	goType  reflect.Type
	elem    *shaper
	members []*shaper
}

func newShaper(typ codecs.Field) *shaper {
	s := &shaper{typ: typ}
	switch typ.Type {
	case codecs.List:
		s.elem = newShaper(typ.Of.Elem)
		s.goType = reflect.SliceOf(s.elem.goType)
	case codecs.Map:
		s.elem = newShaper(typ.Of.Elem)
		s.goType = reflect.MapOf(reflect.TypeFor[string](), s.elem.goType)
	case codecs.Struct:
		fields := []reflect.StructField{{Name: "P", Type: reflect.TypeFor[uint64](), Tag: `expr:"` + presentTag + `"`}}
		for i, f := range typ.Of.Fields {
			m := newShaper(f)
			s.members = append(s.members, m)
			fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: m.goType, Tag: reflect.StructTag(`expr:"` + f.Name + `"`)})
		}
		s.goType = reflect.StructOf(fields)
	default:
		s.goType = goType(typ.Type)
	}
	return s
}

// zero is what an expression sees of an absent value.
func (s *shaper) zero() reflect.Value {
	cell := reflect.New(s.goType)
	s.set(cell, codecs.Value{})
	return cell.Elem()
}

// set stores a value at a pointer. What is not of the type reads as absent.
func (s *shaper) set(cell reflect.Value, v codecs.Value) {
	if v.Kind != s.typ.Type {
		v = codecs.Value{}
	}
	to := cell.Elem()
	switch s.typ.Type {
	case codecs.List:
		if p, ok := cell.Interface().(*[]string); ok {
			list := []string{}
			for e := range v.Elements() {
				list = append(list, e.Str)
			}
			*p = list
			return
		}
		to.Set(reflect.MakeSlice(s.goType, 0, 4))
		element := reflect.New(s.elem.goType)
		for e := range v.Elements() {
			s.elem.set(element, e)
			to.Set(reflect.Append(to, element.Elem()))
		}
	case codecs.Map:
		to.Set(reflect.MakeMap(s.goType))
		element := reflect.New(s.elem.goType)
		for name, m := range v.Members() {
			s.elem.set(element, m)
			to.SetMapIndex(reflect.ValueOf(name), element.Elem())
		}
	case codecs.Struct:
		var present uint64
		for i, m := range s.members {
			m.set(to.Field(i+1).Addr(), codecs.Value{})
		}
		for name, value := range v.Members() {
			if _, i, ok := s.typ.Of.Field(name); ok {
				s.members[i].set(to.Field(i+1).Addr(), value)
				present |= 1 << i
			}
		}
		to.Field(0).SetUint(present)
	default:
		set(cell.Interface(), v)
	}
}

// value returns what an expression made as a value. It is Null where something in it has no place in JSON.
func (s *shaper) value(x any) codecs.Value {
	v := reflect.ValueOf(x)
	if !v.IsValid() {
		return codecs.Value{}
	}
	switch s.typ.Type {
	case codecs.List:
		if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
			return codecs.Value{}
		}
		elems := make([]codecs.Value, v.Len())
		for i := range elems {
			if elems[i] = s.elem.value(v.Index(i).Interface()); elems[i].IsNull() {
				return codecs.Value{}
			}
		}
		return codecs.ListValue(elems...)
	case codecs.Map:
		var members []codecs.Member
		for _, key := range v.MapKeys() {
			members = append(members, codecs.Member{Name: key.String(), Value: s.elem.value(v.MapIndex(key).Interface())})
		}
		return codecs.MapValue(members...)
	case codecs.Struct:
		var members []codecs.Member
		for i, m := range s.members {
			if v.Field(0).Uint()&(1<<i) != 0 {
				members = append(members, codecs.Member{Name: m.typ.Name, Value: m.value(v.Field(i + 1).Interface())})
			}
		}
		return codecs.RecordValue(members...)
	case codecs.Bytes:
		return codecs.BytesValue(v.String())
	case codecs.Decimal:
		if d, err := toDecimal(x); err == nil {
			return codecs.DecimalValue(d.Coef, d.Scale)
		}
		return codecs.Value{}
	}
	return toValue(x)
}

// nestedCell is where an expression reads a list, a map or a record. It knows what is there, as most pairs of a conversion
// have the same.
type nestedCell struct {
	shaper *shaper
	cell   reflect.Value
	last   codecs.Value
	filled bool
}

func (c *nestedCell) set(v codecs.Value) {
	if !c.filled || c.last != v {
		c.shaper.set(c.cell, v)
		c.last, c.filled = v, true
	}
}

// equalTo returns a comparison of Go values of the type.
func (s *shaper) equalTo() func(a, b any) bool {
	switch s.typ.Type {
	case codecs.Decimal:
		return func(a, b any) bool {
			x, err := toDecimal(a)
			y, err2 := toDecimal(b)
			return err == nil && err2 == nil && x.Cmp(y) == 0
		}
	case codecs.Time:
		return func(a, b any) bool {
			x, ok := a.(time.Time)
			y, ok2 := b.(time.Time)
			return ok && ok2 && x.Equal(y)
		}
	case codecs.List, codecs.Map, codecs.Struct:
		return func(a, b any) bool { return s.value(a) == s.value(b) }
	}
	return func(a, b any) bool { return a == b }
}
