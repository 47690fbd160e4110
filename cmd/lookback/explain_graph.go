package main

import (
	"fmt"
	"io"
	"strings"
)

// planGraph is the routes of a plan: topics and groups, and what flows between them.
type planGraph struct {
	nodes []graphNode
	edges []graphEdge
	ids   map[string]int // by label
}

type graphNode struct {
	label string
	group bool // a consumer group or a file, else a topic
}

type graphEdge struct {
	from, to int
	both     bool // state goes there and comes back
	label    string
}

func (g *planGraph) node(label string, group bool) int {
	if id, ok := g.ids[label]; ok {
		return id
	}
	g.ids[label] = len(g.nodes)
	g.nodes = append(g.nodes, graphNode{label, group})
	return g.ids[label]
}

func (g *planGraph) edge(from, to int, both bool, label string) {
	g.edges = append(g.edges, graphEdge{from, to, both, label})
}

// graphOf draws the routes.
func graphOf(p *planAnswer) *planGraph {
	g := &planGraph{ids: map[string]int{}}
	streams := map[string]*streamPlan{}
	for i := range p.Streams {
		streams[p.Streams[i].Name] = &p.Streams[i]
	}
	for _, k := range p.Keys {
		group := g.node("group "+k.Group, true)
		for i, s := range k.State {
			topic := g.node(streams[s.Stream].Topic, false)
			at := group
			if !k.Direct {
				at = g.node("group "+k.Intakes[i], true)
			}
			if !g.has(topic, at) {
				g.edge(topic, at, false, "")
				for _, t := range p.Tables {
					if usesTable(streams[s.Stream], t.Name) {
						g.edge(g.node(t.From, strings.HasPrefix(t.From, "file ")), at, false, "table "+t.Name)
					}
				}
			}
			if !k.Direct {
				g.edge(at, g.node(k.Repartition, false), false, "")
			}
		}
		if !k.Direct {
			g.edge(g.node(k.Repartition, false), group, false, "")
		}
		g.edge(group, g.node(k.Changelog, false), true, "state")
		for _, r := range p.Rules {
			if strings.Join(r.Key, "-") != strings.Join(k.Fields, "-") {
				continue
			}
			for _, into := range r.Writes {
				g.edge(group, g.node(into, false), false, "rule "+r.Name)
			}
		}
	}
	return g
}

func (g *planGraph) has(from, to int) bool {
	for _, e := range g.edges {
		if e.from == from && e.to == to {
			return true
		}
	}
	return false
}

// usesTable tells whether events of a stream are stamped from a table.
func usesTable(s *streamPlan, table string) bool {
	for _, name := range s.Decoded {
		if strings.HasPrefix(name, table+"[") {
			return true
		}
	}
	return false
}

// writePlanDOT writes the routes for Graphviz.
func writePlanDOT(w io.Writer, p *planAnswer) error {
	g := graphOf(p)
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n  edge [fontname=\"sans-serif\", fontsize=10];\n", p.App)
	for i, n := range g.nodes {
		shape := "cylinder"
		if n.group {
			shape = "box, style=rounded"
		}
		fmt.Fprintf(&b, "  n%d [label=%q, shape=%s];\n", i, n.label, shape)
	}
	for _, e := range g.edges {
		var more []string
		if e.label != "" {
			more = append(more, fmt.Sprintf("label=%q", e.label))
		}
		if e.both {
			more = append(more, "dir=both")
		}
		fmt.Fprintf(&b, "  n%d -> n%d", e.from, e.to)
		if len(more) > 0 {
			fmt.Fprintf(&b, " [%s]", strings.Join(more, ", "))
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writePlanMermaid writes the routes for Mermaid.
func writePlanMermaid(w io.Writer, p *planAnswer) error {
	g := graphOf(p)
	quoted := func(text string) string { return `"` + strings.ReplaceAll(text, `"`, "#quot;") + `"` }
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, n := range g.nodes {
		if n.group {
			fmt.Fprintf(&b, "  n%d(%s)\n", i, quoted(n.label))
		} else {
			fmt.Fprintf(&b, "  n%d[(%s)]\n", i, quoted(n.label))
		}
	}
	for _, e := range g.edges {
		arrow := "-->"
		if e.both {
			arrow = "<-->"
		}
		if e.label != "" {
			arrow += "|" + quoted(e.label) + "|"
		}
		fmt.Fprintf(&b, "  n%d %s n%d\n", e.from, arrow, e.to)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
