package rules

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Expect is what a test wants. What it says nothing of is not looked at, but for rejected and late records: there are those that are
// named and no others.
type Expect struct {
	Deltas   []ExpectedStep // nil: any
	Final    []ExpectedRow  // the rows that remain; nil: any
	Rejected []ExpectedRow
	Late     []ExpectedRow
}

// ExpectedStep is what one arrival changes: classes with the sums of their signs, or rows.
type ExpectedStep struct {
	Line    int
	Arrives *int64 // since the start; nil: any time
	Classes []ClassCount
	Rows    []ExpectedRow
}

// ClassCount is the sum of signs of a class.
type ClassCount struct {
	Class string
	Sum   int64
}

// ExpectedRow is some fields of a row, or record, and their values. A row may have others.
type ExpectedRow struct {
	Line   int
	Fields []ExpectedField
}

// ExpectedField is a field and its value as JSON.
type ExpectedField struct {
	Name string
	JSON []byte
}

// Fields of what an expected record says of it beside its own fields.
const (
	RecordStream  = "stream"
	RecordReason  = "reason"
	RecordMessage = "message" // some of it
)

// expectedDeltaFields are those of deltas alone that a test may expect.
var expectedDeltaFields = []string{"sign", "reason"}

// expectation reads `expect`, knowing which rules may make rows.
type expectation struct {
	c     *testCompiler
	rules []*Rule
}

func (x *expectation) expect(t *Test, v value) {
	got := v.section([]string{"deltas", "final", "rejected", "late"})
	if len(got) == 0 && v.node.Kind == yaml.MappingNode {
		v.errorf("must have deltas, final, rejected or late: what else can fail?")
	}
	if d, ok := got["deltas"]; ok {
		if t.Order.Permuted() {
			d.errorf("deltas depend on the order of arrival, of which there are many here; expect final")
		}
		t.Expect.Deltas = []ExpectedStep{}
		for _, item := range x.items(d) {
			t.Expect.Deltas = append(t.Expect.Deltas, x.step(item))
		}
	}
	if f, ok := got["final"]; ok {
		t.Expect.Final = []ExpectedRow{}
		for _, item := range x.items(f) {
			t.Expect.Final = append(t.Expect.Final, x.row(item, false))
		}
	}
	if r, ok := got["rejected"]; ok {
		for _, item := range x.items(r) {
			t.Expect.Rejected = append(t.Expect.Rejected, x.record(item))
		}
	}
	if l, ok := got["late"]; ok {
		if t.Order.Permuted() {
			l.errorf("nothing is late in other orders of arrival than the written one")
		}
		for _, item := range x.items(l) {
			t.Expect.Late = append(t.Expect.Late, x.record(item))
		}
	}
}

// items returns the items of a list that may be empty.
func (x *expectation) items(v value) []value {
	if v.node.Kind != yaml.SequenceNode {
		v.errorf("must be a list, not %s", kindOf(v.node))
		return nil
	}
	if len(v.node.Content) == 0 {
		return nil
	}
	return v.list()
}

// step reads {PV: -1, PC: 1}, or the rows of a step.
func (x *expectation) step(v value) ExpectedStep {
	s := ExpectedStep{Line: v.node.Line}
	if v.node.Kind == yaml.SequenceNode {
		for _, item := range x.items(v) {
			s.Rows = append(s.Rows, x.row(item, true))
		}
		return s
	}
	classes := x.values("class")
	entries := v.entries()
	if len(entries) == 0 && v.node.Kind == yaml.MappingNode {
		v.errorf("must be classes with the sums of their signs, like {PV: -1, PC: 1}, or a list of rows")
	}
	for _, e := range entries {
		switch {
		case classes[e.name]:
			n, _ := e.whole(-1_000_000, 1_000_000)
			s.Classes = append(s.Classes, ClassCount{e.name, n})
		case e.name == givenArrives:
			if at, ok := x.c.moment(e.value); ok {
				since := at - x.c.file.Start
				s.Arrives = &since
			}
		default:
			e.errorAt(positionOf(e.key), "no rule here has a class %q%s", e.name, suggestion(e.name, sortedKeys(classes)))
		}
	}
	return s
}

// row reads fields of a row.
func (x *expectation) row(v value, delta bool) ExpectedRow {
	row := ExpectedRow{Line: v.node.Line}
	known := slices.Clone(finalFields)
	if delta {
		known = append(known, expectedDeltaFields...)
	}
	times := map[string]bool{"event_time": true}
	for _, r := range x.rules {
		for _, col := range slices.Concat(r.Select, r.Measure) {
			known = append(known, col.Name)
			times[col.Name] = times[col.Name] || col.Expr.kind == codecs.Time
		}
	}
	entries := v.entries()
	if len(entries) == 0 && v.node.Kind == yaml.MappingNode {
		v.errorf("must have fields of a row, like {conversion_id: e1, class: %s}", x.rules[0].Classes[0].Name)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.name) {
			e.errorAt(positionOf(e.key), "rows have no field %q%s", e.name, suggestion(e.name, known))
			continue
		}
		f := ExpectedField{Name: e.name}
		if us, err := parseDuration(e.node.Value); times[e.name] && e.node.Kind == yaml.ScalarNode && err == nil {
			f.JSON = codecs.AppendJSON(nil, codecs.TimeValue(x.c.file.Start+us))
		} else {
			f.JSON = appendNode(nil, e.value)
		}
		if possible := x.values(e.name); possible != nil && e.node.Kind == yaml.ScalarNode && e.node.Tag != "!!null" && !possible[e.node.Value] {
			e.errorf("no row has %s %q%s", e.name, e.node.Value, suggestion(e.node.Value, sortedKeys(possible)))
		}
		row.Fields = append(row.Fields, f)
	}
	return row
}

// values returns what a field of rows can be, nil where it can be anything.
func (x *expectation) values(field string) map[string]bool {
	set := map[string]bool{}
	for _, r := range x.rules {
		switch field {
		case "rule":
			set[r.Name] = true
		case "model":
			for _, m := range r.Models {
				set[m.Name] = true
			}
		case "class":
			for _, c := range r.Classes {
				set[c.Name] = true
			}
			if r.Unattributed {
				set[noClass] = true
			}
		case "touch":
			for _, c := range r.Classes {
				for _, rank := range c.Touch {
					set[x.c.file.Plan.Streams[rank].Name] = true
				}
			}
		default:
			return nil
		}
	}
	return set
}

// record reads what is said of a rejected or late record.
func (x *expectation) record(v value) ExpectedRow {
	row := ExpectedRow{Line: v.node.Line}
	entries := v.entries()
	if len(entries) == 0 && v.node.Kind == yaml.MappingNode {
		v.errorf("must have a reason, a stream or fields of the record, like {stream: %s}", x.c.file.Plan.Streams[0].Name)
	}
	known := []string{RecordStream, RecordReason, RecordMessage}
	for _, s := range x.c.file.Plan.Streams {
		for _, f := range s.Declared {
			known = append(known, f.Name)
		}
	}
	for _, e := range entries {
		if !slices.Contains(known, e.name) {
			e.errorAt(positionOf(e.key), "no stream declares a field %q%s", e.name, suggestion(e.name, known))
			continue
		}
		if e.name == RecordStream {
			streams := map[string]bool{}
			for _, s := range x.c.file.Plan.Streams {
				streams[s.Name] = true
			}
			if !streams[e.node.Value] {
				e.errorf("unknown stream %q%s", e.node.Value, suggestion(e.node.Value, sortedKeys(streams)))
			}
		}
		row.Fields = append(row.Fields, ExpectedField{e.name, appendNode(nil, e.value)})
	}
	return row
}
