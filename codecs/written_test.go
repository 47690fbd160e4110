package codecs

import (
	"math/rand/v2"
	"testing"
)

// What a reader makes of a written row is what was written, whatever the form: the row itself, and what is said of the record.
func TestReadRowUndoesWhatWasWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "e1", "a|b%", `quote " and \ and ` + "\n\u2028é", "7"}
	values := []Value{{}, StringValue(texts[3]), IntValue(-5), IntValue(0), BoolValue(true), FloatValue(1.5), TimeValue(1)}
	measures := []Value{IntValue(0), IntValue(7), IntValue(-7), DecimalValue(0, 2), DecimalValue(105, 2), DecimalValue(-5, 3), DecimalValue(1000, 3)}
	isMeasure := func(name []byte) bool { return string(name) == "m" || string(name) == "n" }
	var memory []byte
	for range 2000 {
		c := &Credit{
			Rule: "r", Model: "last", Conversion: StringValue(texts[random.IntN(len(texts))]), Touch: "click", TouchID: IntValue(3), Class: "PC",
			Credit: random.Int64N(2) * 1_000_000, EventTime: random.Int64N(1 << 51),
			Select:  []NamedValue{{"s", values[random.IntN(len(values))]}},
			Measure: []NamedValue{{"m", measures[random.IntN(len(measures))]}, {"n", measures[random.IntN(len(measures))]}},
		}
		if random.IntN(2) == 0 {
			c.Conversion = IntValue(random.Int64() - 1<<62)
		}
		want, err := AppendFinal(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		check := func(value []byte, err error) WrittenRow {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			row, err := ReadRow(value, memory, isMeasure)
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			memory = row.Said
			if string(row.Said) != string(want) {
				t.Fatalf("of %s\n  got %s\n want %s", value, row.Said, want)
			}
			if id := string(AppendText(nil, c.Conversion)); row.Conversion != id || row.EventTime != c.EventTime {
				t.Fatalf("%s: conversion %q at %d, want %q at %d", value, row.Conversion, row.EventTime, id, c.EventTime)
			}
			return row
		}
		for _, sign := range []int{1, -1} {
			if row := check(AppendDelta(nil, c, sign, "corrected", "id-1")); row.Sign != sign || row.DeltaID != "id-1" {
				t.Fatalf("delta: %+v", row)
			}
		}
		if row := check(AppendUpsert(nil, c, OpDelete, 9, true, "h")); row.Sign != 0 || row.Version != 9 || !row.Deleted || row.RuleHash != "h" {
			t.Fatalf("upsert: %+v", row)
		}
	}
}

func TestReadRowRefusesWhatIsNone(t *testing.T) {
	for _, value := range []string{"", "x", "[]", "{}", `{"conversion_id":"a"}`, `{"conversion_id":"a","event_time":"soon"}`,
		`{"conversion_id":"a","event_time":"2026-01-01T00:00:00Z","sign":2}`, `{"conversion_id":"a","event_time":"2026-01-01T00:00:00Z"`,
		`{"conversion_id":"a","event_time":"2026-01-01T00:00:00Z"} x`, `{"conversion_id":"a","event_time":"2026-01-01T00:00:00Z","_version":-1}`} {
		if row, err := ReadRow([]byte(value), nil, func([]byte) bool { return false }); err == nil {
			t.Errorf("%s: read as %+v", value, row)
		}
	}
}
