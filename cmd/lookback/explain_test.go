package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// tabledRules reads one stream directly, repartitions it for another key, and looks columns up.
const tabledRules = `app: shop
streams:
  ad:
    topic: shop.ads
    fields: {ad_id: string, at: time, user: string, product: string, until: time, unread: string}
    time: at
    id: ad_id
    lateness: 1h
    partitioned_by: user
  sale:
    topic: shop.sales
    fields: {sale_id: string, at: time, user: string, product: string, price: decimal}
    time: at
    id: sale_id
    lateness: 1h
    partitioned_by: user
tables:
  catalog: {topic: shop.catalog, key: product, fields: {product: string, title: string}}
rules:
  - name: credit
    attribute: sale
    key: user
    lookback: 7d
    join: {ad: sale.product == ad.product && ad.until > sale.at}
    classes: {seen: {touch: ad, within: 1d, min: 1s, expires: ad.until, where: ad.product != ""}}
    select: {title: 'catalog[ad.product].title'}
    measure: {revenue: sale.price}
    model: [last, {time_decay: 7d}]
    into: shop.credit
  - name: any
    attribute: sale
    key: product
    lookback: 2d
    classes: {seen: {touch: ad}}
    emit: deltas
    into: shop.any
`

func TestExplainShowsThePlan(t *testing.T) {
	t.Parallel()
	file := file(t, "rules.yaml", strings.ReplaceAll(tabledRules, "    partitioned_by: user\n", ""))
	r := command(t, "", "explain", file)
	r.want(t, exitOK)
	for _, line := range []string{
		"stream ad, from shop.ads", "decoded ad_id, at, product, until, catalog[ad.product].title, user", "table catalog, from topic shop.catalog, by product",
		"route shop.intake.ad, shop.intake.sale -> shop.user-repartition -> shop.user", "ad for 1d1h behind the watermark looked up by product",
		"rule credit, of sale by user", "class seen 1s to 1d", "touch ad; lag from ad", "look up sale.product == ad.product", "check ad.until > sale.at",
		`where ad.product != ""`, "expires ad.until", "models last; time_decay 7d, over the best class", "select title: catalog[ad.product].title",
		"writes shop.credit, shop.credit.deltas", "writes shop.any.deltas", "shop.product-table changelog as the inputs of its key",
	} {
		if !strings.Contains(regexp.MustCompile(` +`).ReplaceAllString(r.stdout, " "), line) {
			t.Errorf("it does not say %q:\n%s", line, r.stdout)
		}
	}
	if strings.Contains(r.stdout, "unread") {
		t.Errorf("it shows a field that nothing reads:\n%s", r.stdout)
	}
	var a planAnswer
	if err := json.Unmarshal([]byte(command(t, "", "explain", file, "--format", "json").stdout), &a); err != nil || len(a.Keys) != 2 || len(a.Rules) != 2 || a.Keys[0].Direct {
		t.Errorf("%v: %+v", err, a)
	}
}

// Every topic and group of the shipped rules and the examples is in their graphs, once, and every edge joins two of them.
func TestExplainDrawsAllRoutes(t *testing.T) {
	t.Setenv("LATENESS", "1h")
	files, err := filepath.Glob("../../examples/*/rules.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range append(files, "../../rules.yaml", file(t, "rules.yaml", strings.ReplaceAll(tabledRules, "    partitioned_by: user\n", ""))) {
		plan, err := rules.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		dot, mermaid := command(t, "", "explain", name, "--format", "dot").stdout, command(t, "", "explain", name, "--format", "mermaid").stdout
		nodes := regexp.MustCompile(`(?m)^  n(\d+)[ \[(]+.*"$|^  n\d+ \[label=`).FindAllString(dot, -1)
		if n := strings.Count(mermaid, "[("); n == 0 || len(nodes) < n {
			t.Errorf("%s: %d nodes, %d topics", name, len(nodes), n)
		}
		edges := regexp.MustCompile(`n(\d+) -> n(\d+)`).FindAllString(dot, -1)
		if len(edges) == 0 || len(edges) != strings.Count(mermaid, "-->") {
			t.Errorf("%s: %d edges in one graph, %d in the other", name, len(edges), strings.Count(mermaid, "-->"))
		}
		for _, topic := range processors.Topics(plan) {
			if role := topic.Role; role == processors.RoleEvents && !strings.HasSuffix(topic.Name, ".deltas") {
				continue // late and rejected records come from everywhere
			}
			if !strings.Contains(dot, topic.Name+`"`) || !strings.Contains(mermaid, topic.Name+`"`) {
				t.Errorf("%s: topic %s is not drawn", name, topic.Name)
			}
		}
		for _, stage := range processors.Stages(plan) {
			if !strings.Contains(dot, `"group `+stage.Group+`"`) {
				t.Errorf("%s: group %s is not drawn", name, stage.Group)
			}
		}
	}
}

// The rights name every topic that an app reads or writes, and as commands quote nothing that a shell would read.
func TestExplainListsRights(t *testing.T) {
	t.Parallel()
	name := file(t, "rules.yaml", tabledRules[:strings.Index(tabledRules, "  - name: any")])
	plan, err := rules.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	var list []right
	if err := json.Unmarshal([]byte(command(t, "", "explain", name, "--acls", "--format", "json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	operations := map[string]string{}
	for _, r := range list {
		operations[r.Resource+" "+r.Name] += strings.Join(r.Operations, ",") + ","
	}
	for _, topic := range processors.Topics(plan) {
		want := "Write,"
		if topic.Foreign() {
			want = "Read,"
		}
		got := operations["topic "+topic.Name]
		if !strings.Contains(got, want) || topic.Foreign() && strings.Contains(got, "Write") {
			t.Errorf("topic %s: %q", topic.Name, got)
		}
	}
	if operations["transactional-id shop."] == "" || operations["group shop."] == "" {
		t.Errorf("rights %v", operations)
	}
	r := command(t, "", "explain", name, "--acls", "--principal", "User:lookback")
	r.want(t, exitOK)
	if n := strings.Count(r.stdout, "kafka-acls.sh --bootstrap-server localhost:9092 --add --allow-principal User:lookback --"); n != len(list) {
		t.Errorf("%d commands for %d rights:\n%s", n, len(list), r.stdout)
	}
}
