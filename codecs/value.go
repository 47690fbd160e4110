// Package codecs is the station between topic bytes and the rest of the route: it turns records into Events, and
// rows into output records. It knows formats (JSON in and out, a compact binary form for state and repartition
// topics) and nothing of rules, Kafka clients or state.
package codecs

import (
	"math"
	"time"
)

// Kind is the type of a field. The zero Kind is Null: an absent field, or a JSON null.
type Kind uint8

// The field types that a stream can declare.
const (
	Null Kind = iota
	String
	Bool
	Int
	Float
	Decimal
	Time
	Bytes
	List   // of elements of one type
	Map    // from strings to values of one scalar type
	Struct // a record: named fields, each of its type
)

var kindNames = [...]string{Null: "null", String: "string", Bool: "bool", Int: "int", Float: "float", Decimal: "decimal", Time: "time", Bytes: "bytes",
	List: "list", Map: "map", Struct: "record"}

// String returns the name that rules files use for the type.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// Value is one typed field. Which members count depends on Kind:
//
//	String, Bytes  Str (Bytes holds the raw bytes, not base64)
//	Bool           Num, 0 or 1
//	Int            Num
//	Float          Num, the IEEE 754 bits; never NaN, never -0
//	Decimal        Num * 10^-Scale, without trailing zeros (Scale is the smallest possible)
//	Time           Num, microseconds since 1970 UTC
//	List, Map, Struct  Str, the canonical encoding of what is in it (see nested.go)
//
// So two values are equal exactly when the structs are equal.
type Value struct {
	Str   string
	Num   int64
	Kind  Kind
	Scale uint8
}

// StringValue returns a String value.
func StringValue(s string) Value { return Value{Kind: String, Str: s} }

// IntValue returns an Int value.
func IntValue(n int64) Value { return Value{Kind: Int, Num: n} }

// BoolValue returns a Bool value.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, Num: 1}
	}
	return Value{Kind: Bool}
}

// FloatValue returns a Float value; -0 becomes 0 and NaN becomes Null, so that equal values have equal bits.
func FloatValue(f float64) Value {
	if f != f {
		return Value{}
	}
	if f == 0 {
		f = 0
	}
	return Value{Kind: Float, Num: int64(math.Float64bits(f))}
}

// TimeValue returns a Time value from microseconds since 1970 UTC.
func TimeValue(us int64) Value { return Value{Kind: Time, Num: us} }

// BytesValue returns a Bytes value that holds b's bytes.
func BytesValue(b string) Value { return Value{Kind: Bytes, Str: b} }

// DecimalValue returns coef * 10^-scale in its shortest form.
func DecimalValue(coef int64, scale uint8) Value {
	for scale > 0 && coef%10 == 0 {
		coef /= 10
		scale--
	}
	return Value{Kind: Decimal, Num: coef, Scale: scale}
}

// IsNull tells whether the value is absent.
func (v Value) IsNull() bool { return v.Kind == Null }

// Float returns the number of a Float value.
func (v Value) Float() float64 { return math.Float64frombits(uint64(v.Num)) }

// Time returns a Time value in UTC.
func (v Value) Time() time.Time { return time.UnixMicro(v.Num).UTC() }

// TimeUnit says how the numbers of a Time field are read; texts are RFC 3339 under each of them.
type TimeUnit uint8

// The units of numeric times.
const (
	AutoUnit TimeUnit = iota // by magnitude: below 10^11 seconds, below 10^14 milliseconds, else microseconds
	Seconds                  // may have a fraction
	Milliseconds
	Microseconds
)

// Field is a declared field of a stream or a table.
type Field struct {
	Name string
	Type Kind
	Unit TimeUnit // how the numbers of a Time field are read
	Of   *Shape   // what is in a List, a Map or a Record; nil of other types
}
