package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// exprPlan is a plan with one field of every type, and the given lines of `select`, `where` and so on.
func exprPlan(t testing.TB, where, join, classWhere string, selected ...string) *Plan {
	t.Helper()
	src := `
app: ads
streams:
  view:
    topic: views
    fields: {id: string, ts: time, user: string, s: string, b: bool, i: int, f: float, d: decimal, t: time, y: bytes}
    time: ts
    id: id
    where: ` + quote(where) + `
  click:
    topic: clicks
    fields: {id: string, ts: time, user: string, s: string, i: int}
    time: ts
    id: id
  sale:
    topic: sales
    fields: {id: int, ts: time, user: string, s: string, b: bool, i: int, d: decimal}
    time: ts
    id: id
rules:
  - name: r
    attribute: sale
    key: user
    lookback: 1d
    join:
      view: ` + quote(join) + `
      click: click.s == view.s
    classes:
      clicked: {touch: click, where: ` + quote(classWhere) + `}
      seen: {touch: [view, click], where: ` + quote(classWhere) + `}
    into: out
    select:
`
	for i, x := range selected {
		src += fmt.Sprintf("      x%d: %s\n", i, quote(x))
	}
	if len(selected) == 0 {
		src += "      {}\n"
	}
	return mustCompile(t, src)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// event builds an event of a stream; fields that are not given are Null.
func event(t testing.TB, p *Plan, stream string, id codecs.Value, at int64, fields map[string]codecs.Value) *codecs.Event {
	t.Helper()
	for _, s := range p.Streams {
		if s.Name != stream {
			continue
		}
		ev := &codecs.Event{Stream: s.Rank, Time: at, ID: id, Fields: make([]codecs.Value, len(s.Slots))}
		for i, slot := range s.Slots {
			if slot.Stamp == nil {
				ev.Fields[i] = fields[s.Declared[slot.Field].Name]
			}
		}
		return ev
	}
	t.Fatalf("no stream %s", stream)
	return nil
}

func row(t testing.TB, p *Plan, stream string, id codecs.Value, at int64, fields map[string]codecs.Value) codecs.Row {
	t.Helper()
	ev := event(t, p, stream, id, at, fields)
	return codecs.AppendRow(nil, ev, p.Streams[ev.Stream].Kept)
}

var (
	someID   = codecs.StringValue("v1")
	allViews = map[string]codecs.Value{
		"s": codecs.StringValue("text"), "b": codecs.BoolValue(true), "i": codecs.IntValue(7), "f": codecs.FloatValue(2.5),
		"d": codecs.DecimalValue(1250, 2), "t": codecs.TimeValue(1_500_000), "y": codecs.BytesValue("\x00\xff"),
	}
	allSales = map[string]codecs.Value{
		"s": codecs.StringValue("text"), "b": codecs.BoolValue(true), "i": codecs.IntValue(9), "d": codecs.DecimalValue(5, 0),
	}
)

func TestValues(t *testing.T) {
	for expr, want := range map[string]codecs.Value{
		"view.s":                               codecs.StringValue("text"),
		"view.b":                               codecs.BoolValue(true),
		"view.i":                               codecs.IntValue(7),
		"view.f":                               codecs.FloatValue(2.5),
		"view.d":                               codecs.DecimalValue(125, 1),
		"view.t":                               codecs.TimeValue(1_500_000),
		"view.y":                               codecs.BytesValue("\x00\xff"),
		"view.id":                              codecs.StringValue("v1"),
		"view.ts":                              codecs.TimeValue(1_000_000),
		"sale.id":                              codecs.IntValue(1),
		"touch.s":                              codecs.StringValue("text"),
		"touch.id + view.s":                    codecs.StringValue("v1text"),
		"len(view.y)":                          codecs.IntValue(2),
		"view.i + sale.i * 2 - 1":              codecs.IntValue(24),
		"view.i / 2":                           codecs.FloatValue(3.5),
		"view.i % 4":                           codecs.IntValue(3),
		"view.f / 0.0 > 1.0":                   codecs.BoolValue(true),
		"view.f / 0.0":                         {},
		"(view.f - 2.5) / (view.f - 2.5)":      {},
		"-view.d":                              codecs.DecimalValue(-125, 1),
		"view.d + sale.d":                      codecs.DecimalValue(175, 1),
		"view.d - 0.1":                         codecs.DecimalValue(124, 1),
		"-0.1 + view.d":                        codecs.DecimalValue(124, 1),
		"view.d * 3":                           codecs.DecimalValue(375, 1),
		"2 * view.d * sale.d":                  codecs.DecimalValue(125, 0),
		"view.d > 12.499999999":                codecs.BoolValue(true),
		"view.d == 12.5":                       codecs.BoolValue(true),
		"12.5 != view.d":                       codecs.BoolValue(false),
		"view.d < sale.d":                      codecs.BoolValue(false),
		"view.d >= 12":                         codecs.BoolValue(true),
		"float(view.d)":                        codecs.FloatValue(12.5),
		"int(view.d)":                          codecs.IntValue(12),
		"string(view.d)":                       codecs.StringValue("12.5"),
		"string(-view.d * 0.0001)":             codecs.StringValue("-0.00125"),
		"view.b ? view.d : sale.d":             codecs.DecimalValue(125, 1),
		"let x = view.d; x + x":                codecs.DecimalValue(25, 0),
		"view.ts.Hour()":                       codecs.IntValue(0),
		"view.ts.Unix()":                       codecs.IntValue(1),
		"view.t > view.ts":                     codecs.BoolValue(true),
		`view.ts + duration("1m")`:             codecs.TimeValue(61_000_000),
		`view.s matches "^t.*t$"`:              codecs.BoolValue(true),
		`view.s in ["text", "x"]`:              codecs.BoolValue(true),
		`count(split("a,b,a", ","), # == "a")`: codecs.IntValue(2),
	} {
		t.Run(expr, func(t *testing.T) {
			p := exprPlan(t, "true", "sale.s == view.s", "true", expr)
			touch := row(t, p, "view", someID, 1_000_000, allViews)
			conv := row(t, p, "sale", codecs.IntValue(1), 2_000_000, allSales)
			x := p.Rules[0].Select[0].Expr
			got, err := x.Value(p.NewScope(), &Tuple{Conversion: conv, Touch: touch})
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			if !want.IsNull() && x.Kind() != want.Kind {
				t.Errorf("kind: got %s, want %s", x.Kind(), want.Kind)
			}
		})
	}
}

func TestFailuresAtRunTimeAreErrors(t *testing.T) {
	for expr, want := range map[string]string{
		"view.i % (view.i - 7)":                 "divide by zero",
		`split(view.s, ",")[3]`:                 "index out of range",
		"int(view.s)":                           "invalid operation",
		"view.i * 9223372036854775807":          "int overflow",
		"view.i + 9223372036854775807":          "int overflow",
		"-view.i - 9223372036854775807":         "int overflow",
		"view.d * 9223372036854775807 + view.d": "decimal overflow",
		"view.d * 1000000000000000.1 * view.d":  "decimal overflow",
		`repeat(view.s, 1000000000) == ""`:      "memory budget exceeded",
	} {
		t.Run(expr, func(t *testing.T) {
			p := exprPlan(t, "true", "sale.s == view.s", "true", expr, "view.i + 1")
			tuple := &Tuple{Conversion: row(t, p, "sale", codecs.IntValue(1), 2, allSales), Touch: row(t, p, "view", someID, 1, allViews)}
			scope := p.NewScope()
			v, err := p.Rules[0].Select[0].Expr.Value(scope, tuple)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "expression ") {
				t.Errorf("got %+v, %v, want %q", v, err, want)
			}
			// A failure leaves the scope usable.
			if v, err := p.Rules[0].Select[1].Expr.Value(scope, tuple); err != nil || v != codecs.IntValue(8) {
				t.Errorf("after the failure: got %+v, %v", v, err)
			}
		})
	}
}

func TestAbsentFields(t *testing.T) {
	p := exprPlan(t, `s == "" and not b and i == 0 and f == 0.0 and d == 0 and y == "" and t.Unix() == 0`,
		`sale.s == view.s or sale.i != view.i`, `view.i == 0`, "view.s", "view.i + 1", "touch.i", "click.i", `touch.i + 1`)
	rule, scope := p.Rules[0], p.NewScope()

	where := p.Streams[0].Where
	if ok, err := where.BoolEvent(scope, event(t, p, "view", someID, 1, nil)); err != nil || !ok {
		t.Errorf("where: an absent field does not read as zero: %v, %v", ok, err)
	}
	if ok, err := where.BoolEvent(scope, event(t, p, "view", someID, 1, allViews)); err != nil || ok {
		t.Errorf("where: got %v, %v for fields that are not zero", ok, err)
	}

	conv := row(t, p, "sale", codecs.IntValue(1), 3, allSales)
	full, empty := row(t, p, "view", someID, 1, allViews), row(t, p, "view", someID, 1, nil)
	noInt := row(t, p, "view", someID, 1, map[string]codecs.Value{"s": codecs.StringValue("text")})
	for name, c := range map[string]struct {
		expr  *Expr
		tuple Tuple
		want  bool
	}{
		"join of whole records":            {rule.Joins[0], Tuple{Conversion: conv, Touch: full}, true},
		"join with an absent field":        {rule.Joins[0], Tuple{Conversion: conv, Touch: noInt}, false},
		"join without the record":          {rule.Joins[0], Tuple{Conversion: conv}, false},
		"join of the parent":               {rule.Joins[0], Tuple{Conversion: conv, Parent: full}, true},
		"class where with an absent field": {rule.Classes[0].Where, Tuple{Conversion: conv, Touch: empty}, true},
		"class where with another value":   {rule.Classes[0].Where, Tuple{Conversion: conv, Touch: full}, false},
		"class where without the record":   {rule.Classes[0].Where, Tuple{Conversion: conv}, false},
	} {
		if got, err := c.expr.Bool(scope, &c.tuple); err != nil || got != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}

	click := row(t, p, "click", someID, 2, map[string]codecs.Value{"i": codecs.IntValue(3)})
	for name, c := range map[string]struct {
		expr  int
		tuple Tuple
		want  codecs.Value
	}{
		"absent field":                    {0, Tuple{Conversion: conv, Touch: empty}, codecs.Value{}},
		"absent field in arithmetic":      {1, Tuple{Conversion: conv, Touch: empty}, codecs.Value{}},
		"absent record":                   {0, Tuple{Conversion: conv, Touch: click}, codecs.Value{}},
		"field of the parent":             {0, Tuple{Conversion: conv, Touch: click, Parent: full}, codecs.StringValue("text")},
		"touch is the click":              {2, Tuple{Conversion: conv, Touch: click, Parent: full}, codecs.IntValue(3)},
		"touch is the view":               {2, Tuple{Conversion: conv, Touch: full}, codecs.IntValue(7)},
		"touch in arithmetic":             {4, Tuple{Conversion: conv, Touch: full}, codecs.IntValue(8)},
		"click of a view without a click": {3, Tuple{Conversion: conv, Touch: full}, codecs.Value{}},
		"no touch at all":                 {2, Tuple{Conversion: conv}, codecs.Value{}},
	} {
		if got, err := rule.Select[c.expr].Expr.Value(scope, &c.tuple); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestPlainBooleanFields(t *testing.T) {
	p := exprPlan(t, "b", "view.b and sale.s == view.s", "view.b")
	scope := p.NewScope()
	for _, want := range []bool{true, false} {
		fields := map[string]codecs.Value{"b": codecs.BoolValue(want), "s": codecs.StringValue("text")}
		if got, err := p.Streams[0].Where.BoolEvent(scope, event(t, p, "view", someID, 1, fields)); err != nil || got != want {
			t.Errorf("where: got %v, %v, want %v", got, err, want)
		}
		tuple := &Tuple{Conversion: row(t, p, "sale", codecs.IntValue(1), 2, allSales), Touch: row(t, p, "view", someID, 1, fields)}
		for name, x := range map[string]*Expr{"class": p.Rules[0].Classes[1].Where, "residual": p.Rules[0].Classes[1].Vias[0].Residual[0]} {
			if got, err := x.Bool(scope, tuple); err != nil || got != want {
				t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
			}
		}
	}
}

// TestJoinIsItsEqualitiesAndResiduals states that splitting a join changes nothing.
func TestJoinIsItsEqualitiesAndResiduals(t *testing.T) {
	p := exprPlan(t, "true", "sale.s == view.s and (sale.i == view.i or view.b) && view.d == sale.d and view.i < 8", "true")
	via, whole, scope := p.Rules[0].Classes[1].Vias[0], p.Rules[0].Joins[0], p.NewScope()
	if len(via.ConvTouch) != 2 || len(via.Residual) != 2 {
		t.Fatalf("pairs %v, residuals %v", via.ConvTouch, via.Residual)
	}
	values := []map[string]codecs.Value{}
	for _, s := range []codecs.Value{codecs.StringValue("a"), codecs.StringValue("b"), {}} {
		for _, i := range []codecs.Value{codecs.IntValue(1), codecs.IntValue(9), {}} {
			for _, d := range []codecs.Value{codecs.DecimalValue(15, 1), {}} {
				for _, b := range []codecs.Value{codecs.BoolValue(true), codecs.BoolValue(false)} {
					values = append(values, map[string]codecs.Value{"s": s, "i": i, "d": d, "b": b})
				}
			}
		}
	}
	trues := 0
	for _, a := range values {
		for _, b := range values {
			tuple := &Tuple{Conversion: row(t, p, "sale", codecs.IntValue(1), 2, a), Touch: row(t, p, "view", someID, 1, b)}
			want, err := whole.Bool(scope, tuple)
			if err != nil {
				t.Fatal(err)
			}
			got := true
			for _, pair := range via.ConvTouch {
				x, y := tuple.Conversion.Value(pair.A), tuple.Touch.Value(pair.B)
				got = got && !x.IsNull() && x == y
			}
			for _, x := range via.Residual {
				ok, err := x.Bool(scope, tuple)
				if err != nil {
					t.Fatal(err)
				}
				got = got && ok
			}
			if got != want {
				t.Fatalf("%v, %v: got %v, want %v", a, b, got, want)
			}
			if want {
				trues++
			}
		}
	}
	if trues == 0 {
		t.Error("no pair joins")
	}
}

func TestZeroTimeReadsAs1970(t *testing.T) {
	var cell time.Time
	set(&cell, codecs.Value{})
	if !cell.Equal(time.Unix(0, 0)) {
		t.Errorf("got %v", cell)
	}
}

func BenchmarkWhere(b *testing.B) {
	p := exprPlan(b, `s != "" and i > 3`, "sale.s == view.s", "true")
	ev, scope, where := event(b, p, "view", someID, 1, allViews), p.NewScope(), p.Streams[0].Where
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := where.BoolEvent(scope, ev); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkResidual(b *testing.B) {
	p := exprPlan(b, "true", "sale.s == view.s and sale.i > view.i", "true")
	residual, scope := p.Rules[0].Classes[1].Vias[0].Residual[0], p.NewScope()
	tuple := &Tuple{Conversion: row(b, p, "sale", codecs.IntValue(1), 2, allSales), Touch: row(b, p, "view", someID, 1, allViews)}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := residual.Bool(scope, tuple); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
