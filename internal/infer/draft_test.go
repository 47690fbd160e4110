package infer

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/rules"
)

// FuzzDraft states that whatever the records hold, a draft is YAML that compiles, but for what it says is open.
func FuzzDraft(f *testing.F) {
	orders, err := os.ReadFile("../../cmd/lookback/testdata/infer/orders.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(orders)
	for _, seed := range []string{"{}", "{\"a\":1}\n\n{\"a\":null}", "{\"id\":\"x\",\"ts\":1e9}\n{\"id\":\"y\",\"ts\":-1e999}", "{\"a\\u2028b: c\":\"x\"}", "{\"\":0,\"null\":[],\"#\":{}}", "{\"ts\":\"2026-01-01T00:00:00Z\",\"ts\":1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Stream{Name: "event", Topic: "events", Partitions: 2}
		for i, line := range bytes.Split(text, []byte("\n")) {
			r := Record{Value: line, Partition: int32(i % 2), Timestamp: int64(i) * 1e15, Place: "f:1"}
			if len(line) == 0 {
				r.Value = nil
			}
			s.Records = append(s.Records, r)
		}
		var b bytes.Buffer
		if err := Draft(&b, "f", []*Stream{s}); err != nil {
			if b.Len() > 0 {
				t.Errorf("an error and a draft: %v\n%s", err, b.String())
			}
			return
		}
		_, err := rules.Compile("rules.yaml", append([]byte("app: x\n"), b.Bytes()...), func(string) (string, bool) { return "", false })
		var faults rules.Errors
		if !errors.As(err, &faults) {
			t.Fatal(err)
		}
		for _, fault := range faults {
			empty := strings.Contains(b.String(), "no field has a type that can be declared") && strings.Contains(fault.Msg, "no fields")
			if !empty && !strings.Contains(fault.Msg, "rules is missing") && !strings.Contains(fault.Msg, "is not decided yet") {
				t.Errorf("%s\n%s", fault, b.String())
			}
		}
	})
}
