package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// writePlanText writes a plan for people, in the order of an event's route.
func writePlanText(w io.Writer, p *planAnswer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(t, "  "+strings.Join(cells, "\t")) }
	optional := func(name, text string) {
		if text != "" {
			line(name, text)
		}
	}
	fmt.Fprintf(t, "app %s, rules %s, %s\n", p.App, p.RulesHash, p.Delivery)
	for _, s := range p.Streams {
		fmt.Fprintf(t, "\nstream %s, from %s\n", s.Name, s.Topic)
		if len(s.Keys) == 0 {
			line("no rule uses it, so it is not read")
			continue
		}
		line("decoded", strings.Join(s.Decoded, ", "))
		line("kept", strings.Join(s.Kept, ", "))
		optional("where", s.Where)
		optional("max_age", s.MaxAge)
		line("max_skew", s.MaxSkew)
		line("lateness", s.Lateness)
		line("disorder", s.Disorder)
	}
	for _, table := range p.Tables {
		fmt.Fprintf(t, "\ntable %s, from %s, by %s\n", table.Name, table.From, table.Key)
	}
	for _, k := range p.Keys {
		fmt.Fprintf(t, "\nkey %s\n", strings.Join(k.Fields, ", "))
		if k.Direct {
			line("route", "read directly by group "+k.Group)
		} else {
			line("route", strings.Join(k.Intakes, ", ")+" -> "+k.Repartition+" -> "+k.Group)
		}
		line("state", k.Changelog)
		line("at most", fmt.Sprintf("%d touches of a key", k.MaxTouches))
		for _, s := range k.State {
			by := []string{}
			for _, fields := range s.LookUps {
				by = append(by, cmp.Or(strings.Join(fields, " + "), "time"))
			}
			line(s.Stream, "for "+s.For+" behind the watermark", "looked up by "+strings.Join(by, "; "))
		}
	}
	for _, r := range p.Rules {
		writeRuleText(t, &r, line, optional)
	}
	fmt.Fprintf(t, "\ntopics\n")
	for _, topic := range p.Topics {
		var settings []string
		for _, name := range slices.Sorted(maps.Keys(topic.Settings)) {
			settings = append(settings, name+"="+topic.Settings[name])
		}
		line(topic.Name, topic.Role, topic.Partitions, strings.Join(settings, " "))
	}
	return t.Flush()
}

func writeRuleText(t io.Writer, r *rulePlan, line func(cells ...string), optional func(name, text string)) {
	fmt.Fprintf(t, "\nrule %s, of %s by %s\n", r.Name, r.Conversion, strings.Join(r.Key, ", "))
	for _, c := range r.Classes {
		window := "within " + c.Within
		if c.Min != "0s" {
			window = c.Min + " to " + c.Within
		}
		if c.ParentWithin != "" {
			window += ", of the parent " + c.ParentWithin
		}
		line("class "+c.Name, window)
		for _, w := range c.Ways {
			way := w.Touch
			if w.Parent != "" {
				way += " by its " + w.Parent + ", at most " + w.MaxGap + " before it"
			}
			if w.Without != "" {
				way += " for which there is no " + w.Without
			}
			line("  touch", way+"; lag from "+w.Anchor)
			for _, eq := range w.Equal {
				line("    look up", eq)
			}
			for _, x := range w.Checked {
				line("    check", x)
			}
		}
		optional("  where", c.Where)
		optional("  expires", c.Expires)
	}
	optional("priority", r.Priority)
	optional("require", r.Require)
	line("models", strings.Join(r.Models, "; ")+", over "+map[string]string{"class": "the best class", "all": "all classes"}[r.Across])
	optional("counts", strings.Join(r.Counts, "; "))
	optional("select", strings.Join(r.Columns, "; "))
	optional("measure", strings.Join(r.Measures, "; "))
	line("writes", strings.Join(r.Writes, ", "))
}
