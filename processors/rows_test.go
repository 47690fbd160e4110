package processors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// What a model divides has a row per touch. A touch that comes late takes its part from the others, each in a pair of deltas, and the
// row of nobody goes when the first touch comes.
func TestRowsOfAModelThatDivides(t *testing.T) {
	plan := mustCompile(t, propertyStreams+`rules:
  - name: r
    attribute: e
    key: u
    lookback: 20us
    classes: {A: {touch: [i, c], within: 20us}}
    model: [last, linear]
    measure: {w: e.w, n: touch.n}
    unattributed: emit
    into: out
`)
	e := newEngine(t, plan, tables.Options{})
	var got []string
	e.part.emit = func(r codecs.Record) {
		fields := map[string]any{}
		decoder := json.NewDecoder(bytes.NewReader(r.Value))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		sign, op := fields["sign"], fields["_op"]
		line := fmt.Sprintf("%s credit %v w %v n %v", r.Key, fields["credit"], fields["w"], fields["n"])
		if sign != nil {
			line += fmt.Sprintf(" sign %v %v", sign, fields["reason"])
		} else {
			line += fmt.Sprintf(" %v", op)
		}
		got = append(got, line)
	}
	step := func(stream int, value string, want ...string) {
		t.Helper()
		got = nil
		e.accept(stream, []byte(value))
		if !slices.Equal(got, want) {
			t.Errorf("after %s:\n%s\nwant\n%s", value, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if why := e.check(); why != "" {
			t.Error(why)
		}
	}
	step(3, `{"id":"e|1","t":10,"u":"u","w":100}`,
		"r|last|e|1 credit 0 w 0 n 0 sign 1 unattributed",
		"r|last|e|1 credit 0 w 0 n 0 upsert",
		"r|linear|e%7C1 credit 0 w 0 n 0 sign 1 unattributed",
		"r|linear|e%7C1 credit 0 w 0 n 0 upsert")
	step(0, `{"id":"a","t":5,"u":"u","n":3}`,
		"r|last|e|1 credit 0 w 0 n 0 sign -1 corrected",
		"r|last|e|1 credit 1000000 w 100 n 3 sign 1 corrected",
		"r|last|e|1 credit 1000000 w 100 n 3 upsert",
		"r|linear|e%7C1 credit 0 w 0 n 0 sign -1 corrected",
		"r|linear|e%7C1|i|a credit 1000000 w 100 n 3 sign 1 corrected",
		"r|linear|e%7C1 credit 0 w 0 n 0 delete",
		"r|linear|e%7C1|i|a credit 1000000 w 100 n 3 upsert")
	step(2, `{"id":"b","t":4,"u":"u","n":1}`,
		"r|linear|e%7C1|i|a credit -1000000 w -100 n -3 sign -1 corrected",
		"r|linear|e%7C1|i|a credit 500000 w 50 n 1.5 sign 1 corrected",
		"r|linear|e%7C1|c|b credit 500000 w 50 n 0.5 sign 1 corrected",
		"r|linear|e%7C1|i|a credit 500000 w 50 n 1.5 upsert",
		"r|linear|e%7C1|c|b credit 500000 w 50 n 0.5 upsert")
	step(2, `{"id":"c","t":6,"u":"u"}`,
		"r|last|e|1 credit -1000000 w -100 n -3 sign -1 corrected",
		"r|last|e|1 credit 1000000 w 100 n 0 sign 1 corrected",
		"r|last|e|1 credit 1000000 w 100 n 0 upsert",
		"r|linear|e%7C1|c|b credit -500000 w -50 n -0.5 sign -1 corrected",
		"r|linear|e%7C1|i|a credit -500000 w -50 n -1.5 sign -1 corrected",
		"r|linear|e%7C1|c|b credit 333334 w 33.333334 n 0.333333 sign 1 corrected",
		"r|linear|e%7C1|i|a credit 333333 w 33.333333 n 1 sign 1 corrected",
		"r|linear|e%7C1|c|c credit 333333 w 33.333333 n 0 sign 1 corrected",
		"r|linear|e%7C1|c|b credit 333334 w 33.333334 n 0.333333 upsert",
		"r|linear|e%7C1|i|a credit 333333 w 33.333333 n 1 upsert",
		"r|linear|e%7C1|c|c credit 333333 w 33.333333 n 0 upsert")
}
