package infer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// declared is what the draft says of a field.
type declared struct {
	*field
	kind  string       // as it is written; "": no type reads it
	typ   codecs.Field // of lists, maps and records
	notes []string     // for its comment
}

// kinds are the types that a draft may choose.
var kinds = map[string]codecs.Field{
	"string": {Type: codecs.String}, "bool": {Type: codecs.Bool}, "int": {Type: codecs.Int}, "float": {Type: codecs.Float}, "decimal": {Type: codecs.Decimal},
	"time": {Type: codecs.Time}, "time_s": {Type: codecs.Time, Unit: codecs.Seconds}, "time_ms": {Type: codecs.Time, Unit: codecs.Milliseconds},
	"time_us": {Type: codecs.Time, Unit: codecs.Microseconds},
}

// most is the share of a field's values that must agree before the others are taken for faults.
const most = 0.95

func mostly(n, of int) bool { return of > 0 && float64(n) >= most*float64(of) }

// declare chooses a type by all values of a field.
func (f *field) declare() *declared {
	d := &declared{field: f}
	if f.filled() == 0 {
		d.note("null in all %s that have it", plural(f.present, "record"))
		return d
	}
	main := f.counts[text]
	taken := []shape{text}
	d.kind = "string"
	for _, other := range []struct {
		n      int
		shapes []shape
		kind   string
	}{{f.counts[truth], []shape{truth}, "bool"}, {f.numbers(), []shape{integer, fraction}, "int"}, {f.counts[list], []shape{list}, "list"}, {f.counts[record], []shape{record}, "record"}} {
		if other.n > main {
			main, taken, d.kind = other.n, other.shapes, other.kind
		}
	}
	switch d.kind {
	case "string":
		d.ofText()
	case "int":
		d.ofNumbers()
	case "list":
		d.ofLists()
	case "record":
		d.ofRecords()
	}
	d.noteOthers(taken)
	if d.kind == "" {
		return d
	}
	if !rules.IsName(f.name) {
		d.kind = ""
		d.notes = []string{"not a name that expressions can read: letters, digits and '_', not starting with a digit"}
	}
	return d
}

func (d *declared) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// noteOthers says which values are of another kind than most.
func (d *declared) noteOthers(taken []shape) {
	for s := range shapes {
		if d.counts[s] == 0 || slices.Contains(taken, s) || d.kind != "" && d.reads(d.as(), s) == d.counts[s] {
			continue
		}
		what := "; a record with one is rejected where something reads the field"
		if d.kind == "" {
			what = ""
		}
		d.note("conflict: %s in %s, such as %s%s", shapeNames[s], share(d.counts[s], d.filled()), shortened(d.examples[s]), what)
	}
}

// ofText chooses a type for strings.
func (d *declared) ofText() {
	n := d.counts[text]
	times := d.reads(kinds["time"], text)
	decimals := d.reads(kinds["decimal"], text)
	switch {
	case mostly(times, n):
		d.kind = "time"
		if times < n {
			d.note("%s are not RFC 3339, and rejected where something reads the field", share(n-times, n))
		}
	case decimals == n && d.numbers() > 0:
		d.kind = "decimal"
		d.note("numbers, in %s in a string", share(n, d.filled()))
	case decimals == n && d.pointed() == n && d.has(amounts...):
		d.kind = "decimal"
		d.note("numbers in strings, which decimal reads; a guess by the name")
	case decimals == n:
		d.note("numbers in strings, kept as text; decimal would read them as numbers")
	case (d.has(timeWords...) || d.has("day")) && d.dated() == n:
		d.note("dates, but not RFC 3339 with an offset, so no type reads them as times")
	}
}

// amounts are words of names that numbers with a fraction go by.
var amounts = []string{"price", "amount", "value", "cost", "revenue", "total", "bid", "spend", "budget", "fee", "tax", "margin", "sum", "gmv", "payout", "cpm", "cpc"}

// pointed counts strings with a point in them.
func (f *field) pointed() (n int) {
	for _, raw := range f.raw {
		if raw[0] == '"' && strings.Contains(string(raw), ".") {
			n++
		}
	}
	return n
}

// dated counts strings that begin with a date.
func (f *field) dated() (n int) {
	for _, raw := range f.raw {
		if s := string(raw); len(s) > 11 && s[0] == '"' && s[5] == '-' && s[8] == '-' && s[1] >= '0' && s[1] <= '9' {
			n++
		}
	}
	return n
}

// ofNumbers chooses a type for numbers.
func (d *declared) ofNumbers() {
	n := d.numbers()
	epoch, plausible := d.epoch()
	named := d.has(timeWords...)
	switch {
	case named && mostly(plausible, n) && epoch != "time_ns":
		d.kind = epoch
		if epoch == "time" {
			d.note("seconds, milliseconds or microseconds, by magnitude")
		}
		if plausible < n {
			d.note("%s are not of the years 2000 to 2100", share(n-plausible, n))
		}
		if others := d.reads(kinds["time"], text); others > 0 {
			d.kind = "time"
		}
		return
	case named && mostly(plausible, n):
		d.note("nanoseconds, as it seems: no type reads them as times")
	}
	switch {
	case d.reads(kinds["int"], integer, fraction) == n && d.counts[fraction] == 0:
		if !named && mostly(plausible, n) && epoch != "time_ns" {
			d.note("by its values it could be %s", epoch)
		}
	case d.reads(kinds["decimal"], integer, fraction) == n:
		d.kind = "decimal"
	default:
		d.kind = "float"
		d.note("more digits than int and decimal hold exactly")
	}
}

// timeWords are words of names that times go by.
var timeWords = []string{"time", "timestamp", "ts", "date", "datetime", "at", "when", "epoch", "created", "updated", "occurred", "happened", "received", "sent", "millis", "expires", "until"}

// Plausible times lie between 2000 and 2100.
const (
	earliest = 946684800
	latest   = 4102444800
)

// epoch returns the type that reads most of the numbers as plausible times, and how many. time_ns stands for nanoseconds, which no type
// reads, and time for units that differ from record to record.
func (f *field) epoch() (kind string, n int) {
	units := []string{"time_s", "time_ms", "time_us", "time_ns"}
	counts := make([]int, len(units))
	sum := 0
	for _, raw := range f.raw {
		var v float64
		if s := shapeOf(raw); s != integer && s != fraction || json.Unmarshal(raw, &v) != nil {
			continue
		}
		for i, factor := range []float64{1, 1e3, 1e6, 1e9} {
			if v >= earliest*factor && v < latest*factor {
				counts[i]++
				if i < 3 {
					sum++
				}
			}
		}
	}
	for i := range units {
		if counts[i] > n {
			kind, n = units[i], counts[i]
		}
	}
	if !mostly(n, f.numbers()) && mostly(sum, f.numbers()) {
		return "time", sum
	}
	return kind, n
}

// shortened is a value as a comment shows it, on one line.
func shortened(raw json.RawMessage) string {
	const most = 40
	s := strings.Join(strings.Fields(string(raw)), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}
