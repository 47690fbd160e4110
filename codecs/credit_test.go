package codecs

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func attributedRow() *Credit {
	return &Credit{
		Rule: "attributed", Model: "last", Conversion: StringValue("e1"), TouchID: StringValue("c1"), Touch: "click", Class: "PC",
		Credit: 1_000_000, EventTime: 1700000000_120000,
		Select:  []NamedValue{{"campaign_id", StringValue("cmp-7")}, {"campaign", Value{}}, {"n", IntValue(1 << 60)}},
		Measure: []NamedValue{{"revenue", DecimalValue(1250, 2)}, {"items", IntValue(3)}},
	}
}

func unattributedRow() *Credit {
	c := attributedRow()
	c.TouchID, c.Touch, c.Class, c.Credit, c.Select = Value{}, "", NoClass, 0, nil
	c.Measure = []NamedValue{{"revenue", IntValue(0)}, {"items", IntValue(0)}}
	return c
}

const (
	wantAttributed = `{"rule":"attributed","model":"last","conversion_id":"e1","touch_id":"c1","touch":"click","class":"PC",` +
		`"credit":1000000,"event_time":"2023-11-14T22:13:20.12Z","campaign_id":"cmp-7","campaign":null,"n":1152921504606846976,` +
		`"revenue":12.5,"items":3`
	wantUnattributed = `{"rule":"attributed","model":"last","conversion_id":"e1","touch_id":null,"touch":null,"class":"none",` +
		`"credit":0,"event_time":"2023-11-14T22:13:20.12Z","revenue":0,"items":0`
)

func TestOutputRows(t *testing.T) {
	taken := strings.NewReplacer(`"credit":1000000`, `"credit":-1000000`, `"revenue":12.5`, `"revenue":-12.5`, `"items":3`, `"items":-3`).Replace(wantAttributed)
	for _, c := range []struct {
		name, want string
		append     func(dst []byte) ([]byte, error)
	}{
		{"final", wantAttributed + `}`, func(dst []byte) ([]byte, error) { return AppendFinal(dst, attributedRow()) }},
		{"final, unattributed", wantUnattributed + `}`, func(dst []byte) ([]byte, error) { return AppendFinal(dst, unattributedRow()) }},
		{
			"upsert", wantAttributed + `,"_op":"upsert","_version":18446744073709551615,"_deleted":false,"rule_hash":"abc"}`,
			func(dst []byte) ([]byte, error) {
				return AppendUpsert(dst, attributedRow(), OpUpsert, 1<<64-1, false, "abc")
			},
		},
		{
			"delete", wantUnattributed + `,"_op":"delete","_version":2,"_deleted":true,"rule_hash":"abc"}`,
			func(dst []byte) ([]byte, error) {
				return AppendUpsert(dst, unattributedRow(), OpDelete, 2, true, "abc")
			},
		},
		{
			"delta", wantAttributed + `,"sign":1,"reason":"attributed","delta_id":"d"}`,
			func(dst []byte) ([]byte, error) { return AppendDelta(dst, attributedRow(), 1, "attributed", "d") },
		},
		{
			"delta, taken back", taken + `,"sign":-1,"reason":"corrected","delta_id":"d"}`,
			func(dst []byte) ([]byte, error) { return AppendDelta(dst, attributedRow(), -1, "corrected", "d") },
		},
		{
			"delta, unattributed, taken back", wantUnattributed + `,"sign":-1,"reason":"corrected","delta_id":"d"}`,
			func(dst []byte) ([]byte, error) { return AppendDelta(dst, unattributedRow(), -1, "corrected", "d") },
		},
	} {
		got, err := c.append([]byte("before"))
		if err != nil || string(got) != "before"+c.want {
			t.Errorf("%s: %v\n got %s\nwant before%s", c.name, err, got, c.want)
		}
		if !json.Valid(got[len("before"):]) {
			t.Errorf("%s: not JSON", c.name)
		}
	}
}

func TestRowsRefuseWhatIsNotExact(t *testing.T) {
	smallest := attributedRow()
	smallest.Measure[0].Value = IntValue(math.MinInt64)
	if _, err := AppendDelta(nil, smallest, -1, "corrected", "d"); err == nil || !strings.Contains(err.Error(), `measure "revenue"`) {
		t.Errorf("the smallest integer was negated: %v", err)
	}
	float := attributedRow()
	float.Measure[0].Value = FloatValue(1)
	if _, err := AppendFinal(nil, float); err == nil || !strings.Contains(err.Error(), `rule "attributed", conversion e1: measure "revenue"`) {
		t.Errorf("float: %v", err)
	}
	if _, err := AppendDelta(nil, attributedRow(), 2, "", ""); err == nil {
		t.Error("a sign of 2 was accepted")
	}
}

func TestRowKey(t *testing.T) {
	for want, c := range map[string]*Credit{
		"a|last|e|1":                  {Rule: "a", Model: "last", Conversion: StringValue("e|1")},
		"a|last|-5":                   {Rule: "a", Model: "last", Conversion: IntValue(-5), TouchID: StringValue("t"), Touch: "click"},
		"a|linear|e%7C1%25":           {Rule: "a", Model: "linear", PerTouch: true, Conversion: StringValue("e|1%")},
		"a|linear|e|click|t%7C2%257C": {Rule: "a", Model: "linear", PerTouch: true, Conversion: StringValue("e"), TouchID: StringValue("t|2%7C"), Touch: "click"},
	} {
		if got := AppendRowKey([]byte("x"), c); string(got) != "x"+want {
			t.Errorf("got %s, want x%s", got, want)
		}
	}
}

func BenchmarkAppendDelta(b *testing.B) {
	c, cause := attributedRow(), randomRow(rand.New(rand.NewPCG(1, 1)))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = AppendDelta(dst[:0], c, 1, "attributed", DeltaID(c, 1, cause)); err != nil {
			b.Fatal(err)
		}
	}
}
