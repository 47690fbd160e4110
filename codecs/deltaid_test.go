package codecs

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// The vector of Python's documentation of uuid.uuid5.
func TestUUIDv5(t *testing.T) {
	dns := uuid{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	if got := uuidV5(dns, []byte("python.org")); unpackUUID(got[:]) != "886313e1-3b8a-5372-9b90-0c9aee199e5d" {
		t.Errorf("got %s", unpackUUID(got[:]))
	}
	if got := unpackUUID(lookbackNamespace[:]); got != "6d8ec1cb-289b-582e-8352-342aacdcc198" {
		t.Errorf("the namespace has changed to %s", got)
	}
}

func TestDeltaIDTellsChangesApart(t *testing.T) {
	cause := randomRow(rand.New(rand.NewPCG(1, 1)))
	seen := map[string]string{}
	add := func(name string, c *Credit, sign int, cause Row) {
		id := DeltaID(c, sign, cause)
		if len(id) != 36 || id[14] != '5' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Errorf("%s: %s is no UUID of version 5", name, id)
		}
		if id != DeltaID(c, sign, cause) {
			t.Errorf("%s: two ids", name)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same id", name, other)
		}
		seen[id] = name
	}
	change := func(f func(c *Credit)) *Credit {
		c := attributedRow()
		f(c)
		return c
	}
	add("itself", attributedRow(), 1, cause)
	add("taken back", attributedRow(), -1, cause)
	add("no cause", attributedRow(), 1, nil)
	add("other cause", attributedRow(), 1, append(bytes.Clone(cause), 1))
	add("rule", change(func(c *Credit) { c.Rule = "other" }), 1, cause)
	add("conversion", change(func(c *Credit) { c.Conversion = StringValue("e2") }), 1, cause)
	add("class", change(func(c *Credit) { c.Class = "PV" }), 1, cause)
	add("stream of the touch", change(func(c *Credit) { c.Touch = "impression" }), 1, cause)
	add("touch", change(func(c *Credit) { c.TouchID = StringValue("c2") }), 1, cause)
	add("no touch", unattributedRow(), 1, cause)
	add("long names", change(func(c *Credit) { c.Conversion = StringValue(strings.Repeat("x", 1000)) }), 1, cause)
}
