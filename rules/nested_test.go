package rules

import (
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// nestedPlan has a stream with lists, maps and records, and the given expressions as columns and as conditions.
func nestedPlan(t testing.TB, join, where string, selected ...string) *Plan {
	t.Helper()
	src := `
app: ads
streams:
  view:
    topic: views
    fields: {id: string, ts: time, user: string, i: int, s: string, d: decimal, tags: list<string>, nums: list<int>, prices: list<decimal>, at: list<time>,
      params: map<decimal>, who: {name: string, born: time, home: {city: string}}, items: [{sku: string, price: decimal, n: int, tags: [string]}]}
    time: ts
    id: id
    where: ` + quote(where) + `
  sale:
    topic: sales
    fields: {id: int, ts: time, user: string, s: string, tags: list<string>, none: {name: string}}
    time: ts
    id: id
rules:
  - name: r
    attribute: sale
    key: user
    lookback: 1d
    join: {view: ` + quote(join) + `}
    classes: {seen: {touch: view}}
    into: out
    select:
`
	for i, x := range selected {
		src += "      x" + string(rune('A'+i/26)) + string(rune('a'+i%26)) + ": " + quote(x) + "\n"
	}
	if len(selected) == 0 {
		src += "      {}\n"
	}
	return mustCompile(t, src)
}

// nestedFields is what the view of these tests holds.
const nestedRecord = `{"id":"v1","ts":1000,"user":"u","i":1,"s":"b","d":0.3,"tags":["a","b","b"],"nums":[3,1,2],"prices":[0.1,0.20,1.5],"at":["2026-01-01T00:00:00Z"],
	"params":{"k":1.50,"z":null},"who":{"name":"x"},"items":[{"sku":"a","price":1.1,"n":1},{"sku":"b","n":9223372036854775807,"tags":["t"]},{"sku":"a","price":2.25}]}`

func nestedTuple(t testing.TB, p *Plan) *Tuple {
	t.Helper()
	s := p.Streams[0]
	spec := codecs.DecodeSpec{ID: s.Declared[s.ID], Time: s.Declared[s.Time]}
	for _, slot := range s.Slots {
		spec.Slots = append(spec.Slots, s.Declared[slot.Field])
	}
	var ev codecs.Event
	if err := codecs.NewDecoder(spec).Decode([]byte(nestedRecord), &ev); err != nil {
		t.Fatal(err)
	}
	return &Tuple{Conversion: row(t, p, "sale", codecs.IntValue(1), 2000, map[string]codecs.Value{"s": codecs.StringValue("a"),
		"tags": codecs.ListValue(codecs.StringValue("b"), codecs.StringValue("c"))}), Touch: codecs.AppendRow(nil, &ev, s.Kept)}
}

func TestNestedValues(t *testing.T) {
	tests := []struct{ expr, want string }{
		{`view.tags`, `["a","b","b"]`},
		{`view.tags[0] + view.tags[-1]`, `"ab"`},
		{`view.tags[3]`, `null`},
		{`view.tags[-4]`, `null`},
		{`view.tags[view.i]`, `"b"`},
		{`view.tags[1:]`, `["b","b"]`},
		{`view.tags == ["a", "b", "b"]`, `true`},
		{`view.tags != ["a", "b"]`, `true`},
		{`uniq(view.tags) == ["a", "b"]`, `true`},
		{`filter(view.tags, # == "x")`, `[]`},
		{`filter(view.tags, # == "x")[0]`, `null`},
		{`filter(view.tags, # == "x") == filter(view.tags, # == "y")`, `true`},
		{`len(view.tags) + len(view.params)`, `4`},
		{`view.s in view.tags`, `true`},
		{`view.s not in view.tags`, `false`},
		{`any(view.tags, # in sale.tags)`, `true`},
		{`all(view.tags, # in sale.tags)`, `false`},
		{`any(["a", "x"], # in view.tags)`, `true`},
		{`count(view.tags, # == "b")`, `2`},
		{`2 in view.nums`, `true`},
		{`2 in view.prices`, `false`},
		{`0.2 in view.prices`, `true`},
		{`view.d in view.prices`, `false`},
		{`view.d in [0.3, 1]`, `true`},
		{`view.d in [1, 2]`, `false`},
		{`sum(filter(view.prices, # < 1)) == view.d`, `true`},
		{`sum(view.prices)`, `1.8`},
		{`max(view.prices)`, `1.5`},
		{`min(filter(view.prices, # > 9))`, `null`},
		{`sum(filter(view.prices, # > 9))`, `0`},
		{`map(view.prices, # * 2)`, `[0.2,0.4,3]`},
		{`map(view.prices, # > 0.1 && # <= 1.50)`, `[false,true,true]`},
		{`sort(view.nums)`, `[1,2,3]`},
		{`mean(view.nums)`, `2`},
		{`view.at[0] < sale.ts`, `false`},
		{`date("2026-01-01T00:00:00Z") in view.at`, `true`},
		{`view.params["k"]`, `1.5`},
		{`view.params.k == 1.5`, `true`},
		{`view.params["z"]`, `null`},
		{`"z" in view.params`, `false`},
		{`"k" in view.params`, `true`},
		{`view.params["" + "k"]`, `1.5`},
		{`view.params[view.s]`, `null`},
		{`view.params`, `{"k":1.5}`},
		{`view.who`, `{"name":"x"}`},
		{`view.who.name + "!"`, `"x!"`},
		{`view.who.home.city`, `null`},
		{`view.who.home`, `null`},
		{`view.who.born`, `null`},
		{`sale.none.name`, `null`},
		{`any(view.items, .sku == sale.s)`, `true`},
		{`find(view.items, .sku == sale.s).price`, `1.1`},
		{`findLast(view.items, .sku == sale.s).price`, `2.25`},
		{`find(view.items, .sku == sale.s).tags`, `null`},
		{`find(view.items, .sku == "x").price`, `null`},
		{`find(view.items, .sku == "x")`, `null`},
		{`find(view.items, .sku == "b")`, `{"n":9223372036854775807,"sku":"b","tags":["t"]}`},
		{`findIndex(view.items, .sku == "x")`, `-1`},
		{`filter(view.items, .price > 1.1)`, `[{"price":2.25,"sku":"a"}]`},
		{`map(view.items, .price)`, `[1.1,0,2.25]`},
		{`filter(view.items, "t" in .tags)[0].sku`, `"b"`},
		{`sum(view.items, .price)`, `3.35`},
		{`view.items[0] == view.items[2]`, `false`},
		{`view.items[0] in view.items`, `true`},
		{`let x = find(view.items, .n > 1); x.sku + string(len(x.tags))`, `"b1"`},
		{`find(view.items, .sku == "x").n > 0 ? "yes" : "no"`, `null`},
		{`sum(view.items, .n)`, `error: int overflow`},
		{`map(view.nums, float(#) / 0)`, `null`},
		{`concat(view.tags, sale.tags)`, `["a","b","b","b","c"]`},
		{`take(reverse(view.tags), 2)`, `["b","b"]`},
	}
	var exprs []string
	for _, test := range tests {
		exprs = append(exprs, test.expr)
	}
	p := nestedPlan(t, "true || view.i == 1", "true", exprs...)
	scope, tuple := p.NewScope(), nestedTuple(t, p)
	for range 2 { // what is kept from one evaluation to the next changes nothing
		for i, test := range tests {
			v, err := p.Rules[0].Select[i].Expr.Value(scope, tuple)
			got := string(codecs.AppendJSON(nil, v))
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != test.want && (err == nil || !strings.Contains(got, strings.TrimPrefix(test.want, "error: "))) {
				t.Errorf("%s is %s, want %s", test.expr, got, test.want)
			}
		}
	}
}

// What is not there makes a join false, and reads as its zero in a stream's where.
func TestNestedAbsence(t *testing.T) {
	for _, test := range []struct {
		expr        string
		join, where bool
	}{
		{`len(tags) == 3`, true, true},
		{`params["no"] == 0`, false, true},
		{`params["no"] != 1.5`, false, true},
		{`params[s] == 0`, false, true},
		{`tags[7] == ""`, false, true},
		{`find(items, .sku == "x").price == 0`, false, true},
		{`find(items, .sku == "x").tags == filter(tags, false)`, false, true},
		{`find(items, .sku == "b").price == 0`, false, true},
		{`find(items, .sku == "a").price > 1`, true, true},
		{`who.home.city == ""`, false, true},
		{`who.born < ts`, false, true},
		{`who.born == date("1970-01-01T00:00:00Z")`, false, true},
		{`any(items, .price == 0)`, true, true},
		{`all(items, .price > 0)`, false, false},
		{`i == 1 || tags[7] == "a"`, true, true},
	} {
		p := nestedPlan(t, "true || view.i == 1", test.expr)
		s := p.Streams[0]
		tuple := nestedTuple(t, p)
		ev := &codecs.Event{Stream: s.Rank, ID: tuple.Touch.IDValue(), Time: tuple.Touch.Time(), Fields: make([]codecs.Value, len(s.Slots))}
		spec := codecs.DecodeSpec{}
		for _, slot := range s.Slots {
			spec.Slots = append(spec.Slots, s.Declared[slot.Field])
		}
		if err := codecs.NewDecoder(spec).Decode([]byte(nestedRecord), ev); err != nil {
			t.Fatal(err)
		}
		ev.Time = tuple.Touch.Time()
		if got, err := s.Where.BoolEvent(p.NewScope(), ev); err != nil || got != test.where {
			t.Errorf("where: %s is %v, %v", test.expr, got, err)
		}
		for _, name := range []string{"tags", "params", "items", "who", "ts", "i"} {
			test.expr = strings.ReplaceAll(" "+test.expr, " "+name, " view."+name)
			test.expr = strings.ReplaceAll(test.expr, "("+name, "(view."+name)[0:]
		}
		test.expr = strings.ReplaceAll(test.expr, "[s]", "[view.s]")
		p = nestedPlan(t, strings.TrimSpace(test.expr), "true")
		if got, err := p.Rules[0].Joins[0].Bool(p.NewScope(), nestedTuple(t, p)); err != nil || got != test.join {
			t.Errorf("join: %s is %v, %v", test.expr, got, err)
		}
	}
}

// Values of another type than the stream declares, as a damaged state may have them, read as absent.
func TestNestedOfAnotherType(t *testing.T) {
	p := nestedPlan(t, "true || view.i == 1", "true", `view.tags[0]`, `sum(view.prices)`, `find(view.items, true).price`, `view.who.name`, `map(view.nums, # + 1)`)
	for _, v := range []codecs.Value{codecs.IntValue(1), codecs.ListValue(codecs.IntValue(1)), codecs.ListValue(codecs.ListValue()),
		codecs.MapValue(codecs.Member{Name: "name", Value: codecs.IntValue(3)}), codecs.RecordValue(codecs.Member{Name: "price", Value: codecs.StringValue("x")})} {
		fields := map[string]codecs.Value{}
		for _, f := range p.Streams[0].Declared {
			fields[f.Name] = v
		}
		tuple := nestedTuple(t, p)
		tuple.Touch = row(t, p, "view", codecs.StringValue("v"), 1, fields)
		for _, c := range p.Rules[0].Select {
			if _, err := c.Expr.Value(p.NewScope(), tuple); err != nil {
				t.Errorf("%s over %+v: %v", c.Expr, v, err)
			}
		}
	}
}

// BenchmarkNestedJoin is a join over lists of three and two elements, as each pair of a conversion and a touch evaluates it.
func BenchmarkNestedJoin(b *testing.B) {
	for name, join := range map[string]string{
		"any":     `any(sale.tags, # in view.tags)`,
		"in":      `sale.s in view.tags`,
		"map key": `view.params["k"] != 1`,
		"member":  `view.who.name == sale.s`,
		"find":    `find(view.items, .sku == sale.s).price > 1`,
	} {
		b.Run(name, func(b *testing.B) {
			p := nestedPlan(b, join, "true")
			scope, tuple, e := p.NewScope(), nestedTuple(b, p), p.Rules[0].Joins[0]
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Bool(scope, tuple); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
