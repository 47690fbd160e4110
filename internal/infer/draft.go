package infer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Draft writes a `streams:` with an entry for each stream. from says where the samples are from. A stream without a single JSON object is an
// error.
func Draft(w io.Writer, from string, streams []*Stream) error {
	var b draft
	total := 0
	var all []*observed
	for _, s := range streams {
		o := observe(s)
		if o.objects == 0 {
			return o.useless()
		}
		total += len(s.Records)
		all = append(all, o)
	}
	b.line("# Drafted by lookback infer from %s of %s.", plural(total, "record"), from)
	b.line("# Comments say what was seen and what is a guess; what the records do not say, such as where, is for you to add.")
	b.line("streams:")
	shared := map[string]int{} // by name and type, in how many streams a field may be a key
	for i, o := range all {
		if i > 0 {
			b.line("")
		}
		for _, key := range b.stream(o) {
			shared[key]++
		}
	}
	if len(all) > 1 {
		var names []string
		for _, key := range slices.Sorted(maps.Keys(shared)) {
			if shared[key] == len(all) {
				names = append(names, strings.Fields(key)[0])
			}
		}
		if len(names) > 0 {
			b.line("")
			b.line("# All streams have %s, so a rule's key may be made of it.", strings.Join(names, ", "))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// useless says that no sample is a JSON object.
func (o *observed) useless() error {
	if len(o.problems) == 0 {
		return fmt.Errorf("stream %s: none of %s has a value: they are tombstones", o.Name, plural(len(o.Records), "record"))
	}
	p := o.problems[0]
	return fmt.Errorf("stream %s: none of %s is a JSON object: %s: %w", o.Name, plural(len(o.Records), "record"), p.place, p.err)
}

// draft is YAML in the making.
type draft struct{ bytes.Buffer }

// line writes a line. What samples say must not end it, which some characters do that are no line feed.
func (b *draft) line(format string, args ...any) {
	b.WriteString(strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '?'
	}, fmt.Sprintf(format, args...)))
	b.WriteByte('\n')
}

// commented is a line of YAML and what is said of it.
type commented struct{ yaml, comment string }

// block writes lines with their comments in one column.
func (b *draft) block(indent string, lines []commented) {
	width := 0
	for _, l := range lines {
		width = max(width, len(l.yaml))
	}
	for _, l := range lines {
		if l.comment == "" {
			b.line("%s%s", indent, l.yaml)
		} else {
			b.line("%s%-*s  # %s", indent, min(width, 40), l.yaml, l.comment)
		}
	}
}

// stream writes one entry. It returns which fields may be keys.
func (b *draft) stream(o *observed) (shared []string) {
	var fields []*declared
	for _, f := range o.fields {
		fields = append(fields, f.declare())
	}
	time, otherTimes := o.eventTime(fields)
	id, otherIDs := o.id(fields)
	got := o.decode(fields, time, id)

	b.line("  %s:", quoted(o.Name))
	topic := commented{yaml: "topic: " + quoted(o.Topic)}
	if o.Topic == "" {
		topic = commented{"topic: " + quoted(o.Name), "a guess: the file does not name it"}
	}
	b.block("    ", []commented{topic})
	var lines []commented
	var undeclared []*declared
	for _, d := range fields {
		if d.kind == "" {
			undeclared = append(undeclared, d)
			continue
		}
		lines = append(lines, commented{quoted(d.name) + ": " + d.kind, strings.Join(append(o.missing(d), d.notes...), "; ")})
	}
	if len(lines) == 0 {
		b.line("    fields: {}  # no field has a type that can be declared")
	} else {
		b.line("    fields:")
	}
	b.block("      ", lines)
	for _, d := range undeclared {
		b.line("      # not declared: %s: %s", shortened(json.RawMessage(d.name)), strings.Join(append(d.notes, o.missing(d)...), "; "))
	}
	b.block("    ", []commented{o.role("time", "an event time", time, otherTimes), o.role("id", "an id", id, otherIDs)})
	keys := o.keys(fields, id, otherIDs)
	if len(keys) > 0 {
		var texts []string
		for _, d := range keys {
			texts = append(texts, fmt.Sprintf("%s (%s)", d.name, plural(len(d.values), "value")))
			shared = append(shared, d.name+" "+d.kind)
		}
		b.line("    # A rule's key may be made of %s.", strings.Join(texts, ", "))
	}
	if by := o.partitioning(fields); by != "" {
		b.line("    # Each record is in the partition that the murmur2 hash of %s says, and has it as its key. Where all streams of a rule's key are", by)
		b.line("    # partitioned alike this spares writing events once more:")
		b.line("    # partitioned_by: %s", by)
	}
	b.order(time, got)
	b.rejected(o, got)
	return shared
}

// missing says how many records lack a field.
func (o *observed) missing(d *declared) []string {
	absent := o.objects - d.present
	switch {
	case d.filled() == 0 && absent == 0:
		return nil // its comment says so
	case absent == 0 && d.nulls == 0:
		return nil
	case d.nulls == 0:
		return []string{"absent in " + share(absent, o.objects)}
	case absent == 0:
		return []string{"null in " + share(d.nulls, o.objects)}
	}
	return []string{fmt.Sprintf("absent in %s, null in %s", share(absent, o.objects), share(d.nulls, o.objects))}
}

// role writes the line of `time` or `id`.
func (o *observed) role(key, what string, d *declared, others []string) commented {
	if d == nil {
		return commented{fmt.Sprintf("%s: %q", key, rules.Undecided), fmt.Sprintf("no field looks like %s: name one; check refuses this", what)}
	}
	comment := "a guess"
	switch {
	case key == "id" && o.objects < 2:
		comment += " by its name: a single record does not tell"
	case key == "id":
		comment += fmt.Sprintf(": %s in %s", plural(len(d.values), "value"), plural(d.filled(), "record"))
		if n := d.conflicts(o.Records); n > 0 {
			comment += fmt.Sprintf(", %d came again with other content", n)
		}
	}
	if missing := o.objects - d.filled(); missing > 0 {
		comment += fmt.Sprintf("; absent in %s, rejected as missing_%s", plural(missing, "record"), key)
	}
	if len(others) > 0 {
		comment += "; else " + strings.Join(others, ", ")
	}
	return commented{key + ": " + quoted(d.name), comment}
}

// order says how far out of order events came.
func (b *draft) order(time *declared, got *decoded) {
	if time == nil || len(got.behind) < 2 {
		b.line("    # How far events come out of order is not known; without lateness one that comes behind another is late:")
		b.line("    # lateness: 1h")
		return
	}
	n := len(got.behind)
	furthest, common := got.behind[n-1], got.behind[(n-1)*99/100]
	if got.late() == 0 {
		b.line("    # Not one of %s came behind another; without lateness one that does is late:", plural(n, "event"))
	} else {
		b.line("    # %s came behind another, by up to %s, 99 of 100 by up to %s. Twice the most, rounded up; what comes further behind is late:",
			share(got.late(), n), about(furthest), about(common))
	}
	b.line("    # lateness: %s", rules.FormatDuration(roundUp(2*furthest)))
	if d := got.delays; len(d) > 0 {
		b.line("    # By their Kafka timestamps records come %s to %s after their event, half of them up to %s.",
			about(d[0]), about(d[len(d)-1]), about(d[len(d)/2]))
	}
	if got.ahead > 0 {
		b.line("    # %s are ahead of their Kafka timestamp by more than an hour, and rejected as future_time unless max_skew is larger.", plural(got.ahead, "event"))
	}
}

// about is a duration for people: a long one has no fractions.
func about(us int64) string {
	const second = 1_000_000
	switch {
	case us >= 60*second || us <= -60*second:
		us = us / second * second
	case us >= second || us <= -second:
		us = us / 1000 * 1000
	}
	return rules.FormatDuration(us)
}

// rejected says which samples this declaration rejects.
func (b *draft) rejected(o *observed, got *decoded) {
	if len(got.reasons) == 0 {
		return
	}
	b.line("    # Of %s these are rejected where all fields are read:", plural(len(o.Records), "record"))
	for _, reason := range slices.Sorted(maps.Keys(got.reasons)) {
		b.line("    #   %s: %d, such as %s", reason, got.reasons[reason], shortenedLine(got.example[reason]))
	}
}

// shortenedLine is a message on one line.
func shortenedLine(s string) string {
	const most = 120
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// quoted is a name in YAML, in quotes where it would be something else without.
func quoted(name string) string {
	switch strings.ToLower(name) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return `"` + name + `"`
	}
	if strings.Trim(name, "0123456789._-") == "" {
		return `"` + name + `"`
	}
	return name
}

func unquote(raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		return string(raw), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// share is a part of a whole, as in 12 of 1000 (1.2%).
func share(n, of int) string {
	return fmt.Sprintf("%d of %d (%s%%)", n, of, strconv.FormatFloat(math.Round(1000*float64(n)/float64(max(of, 1)))/10, 'f', -1, 64))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
