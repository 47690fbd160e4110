package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// right is what an app must be allowed to do with a resource of Kafka.
type right struct {
	Resource   string   `json:"resource"` // topic, group or transactional-id
	Name       string   `json:"name"`
	Pattern    string   `json:"pattern"` // literal or prefixed
	Operations []string `json:"operations"`
	For        string   `json:"for"`
}

// rightsOf returns the least rights that will do for run, and what the other commands need beside.
func rightsOf(p *rules.Plan) (list []right) {
	var others []right
	topic := func(name, why string, operations ...string) {
		list = append(list, right{"topic", name, "literal", operations, why})
	}
	for _, t := range processors.Topics(p) {
		switch t.Role {
		case processors.RoleSource, processors.RoleDimension:
			topic(t.Name, "read", "Read", "DescribeConfigs")
		case processors.RoleRepartition, processors.RoleChangelog:
			topic(t.Name, t.Role.String(), "Read", "Write", "Create", "Delete", "DescribeConfigs") // Delete: of records that are of no use any more
		default:
			topic(t.Name, "written", "Write", "Create", "DescribeConfigs")
			others = append(others,
				right{"topic", t.Name, "literal", []string{"Read"}, "verify and why"},
				right{"topic", t.Name, "literal", []string{"Delete"}, "reset --outputs"})
		}
	}
	list = append(list, right{"group", p.App + ".", "prefixed", []string{"Read"}, "consumer groups"})
	if p.Settings.Delivery == rules.ExactlyOnce {
		list = append(list, right{"transactional-id", p.App + ".", "prefixed", []string{"Write", "Describe"}, "transactions"})
	}
	for _, r := range p.Rules {
		others = append(others, right{"topic", r.Into, "prefixed", []string{"Write", "Create", "DescribeConfigs"}, "run --from --into-suffix"})
	}
	list = append(list, others...)
	return append(list,
		right{"group", p.App + ".", "prefixed", []string{"Describe", "Delete"}, "reset, and run --from when it cleans up"},
		right{"topic", p.App + ".replay-", "prefixed", []string{"Read", "Write", "Create", "Delete", "DescribeConfigs"}, "run --from"})
}

func writeRights(w io.Writer, f explainFlags, p *rules.Plan) error {
	list := rightsOf(p)
	switch {
	case f.format == "json":
		return writeIndented(w, list)
	case f.principal != "":
		return writeACLCommands(w, f.principal, p, list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "resource\tname\tpattern\toperations\tfor\n")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Resource, r.Name, r.Pattern, strings.Join(r.Operations, ", "), r.For)
	}
	return t.Flush()
}

func writeACLCommands(w io.Writer, principal string, p *rules.Plan, list []right) error {
	if strings.ContainsAny(principal, " '\"\\\n$`;&|") || !strings.Contains(principal, ":") {
		return usagef("--principal %q: a principal is type:name, such as User:lookback, without blanks and quotes", principal)
	}
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "# %s\nkafka-acls.sh --bootstrap-server %s --add --allow-principal %s --%s %s --resource-pattern-type %s", r.For,
			strings.Join(p.Settings.Brokers, ","), principal, r.Resource, r.Name, r.Pattern)
		for _, operation := range r.Operations {
			fmt.Fprintf(&b, " --operation %s", operation)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
