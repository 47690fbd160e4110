package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// planAnswer is what rules are compiled to. Lengths of time are written as in rules files; "" where there is none.
type planAnswer struct {
	App       string       `json:"app"`
	RulesHash string       `json:"rules_hash"`
	Delivery  string       `json:"delivery"`
	Streams   []streamPlan `json:"streams"`
	Tables    []tablePlan  `json:"tables"`
	Keys      []keyPlan    `json:"keys"`
	Rules     []rulePlan   `json:"rules"`
	Topics    []topicPlan  `json:"topics"`
}

type streamPlan struct {
	Name          string   `json:"name"`
	Topic         string   `json:"topic"`
	Decoded       []string `json:"decoded"` // fields, and columns of tables, that an event has when it enters
	Kept          []string `json:"kept"`    // of them, those that stay in the state
	Where         string   `json:"where,omitempty"`
	MaxAge        string   `json:"max_age,omitempty"`
	MaxSkew       string   `json:"max_skew"`
	Lateness      string   `json:"lateness"`
	Disorder      string   `json:"disorder"`
	PartitionedBy []string `json:"partitioned_by,omitempty"`
	Keys          []string `json:"keys"` // that use it; none: it is not read
}

type tablePlan struct {
	Name string `json:"name"`
	From string `json:"from"` // a file or a topic
	Key  string `json:"key"`
}

type keyPlan struct {
	Fields      []string    `json:"fields"`
	Direct      bool        `json:"direct"` // topics of streams are read by the group itself
	Group       string      `json:"group"`
	Intakes     []string    `json:"intakes"`
	Repartition string      `json:"repartition,omitempty"`
	Changelog   string      `json:"changelog"`
	Lateness    string      `json:"lateness"`
	MaxTouches  int         `json:"max_touches"`
	State       []statePlan `json:"state"`
}

// statePlan is what a key keeps of a stream.
type statePlan struct {
	Stream  string     `json:"stream"`
	Kept    []string   `json:"kept"`
	For     string     `json:"for"`      // behind the watermark, the lateness included
	LookUps [][]string `json:"look_ups"` // fields that events are looked up by, within the key and by time; none: by time alone
}

type rulePlan struct {
	Name       string      `json:"name"`
	Hash       string      `json:"hash"`
	Conversion string      `json:"conversion"`
	Key        []string    `json:"key"`
	Classes    []classPlan `json:"classes"`
	Priority   string      `json:"priority,omitempty"`
	Require    string      `json:"require,omitempty"`
	Models     []string    `json:"models"`
	Across     string      `json:"across"`
	Counts     []string    `json:"counts,omitempty"` // which conversions count; none: every one
	Columns    []string    `json:"columns"`
	Measures   []string    `json:"measures"`
	Writes     []string    `json:"writes"`
}

type classPlan struct {
	Name         string    `json:"name"`
	Min          string    `json:"min"`
	Within       string    `json:"within"`
	ParentWithin string    `json:"parent_within,omitempty"`
	Where        string    `json:"where,omitempty"`
	Expires      string    `json:"expires,omitempty"`
	Ways         []wayPlan `json:"ways"`
}

// wayPlan is how a touch stream reaches a conversion.
type wayPlan struct {
	Touch   string   `json:"touch"`
	Parent  string   `json:"parent,omitempty"`
	Without string   `json:"without,omitempty"` // there must be no such event that the touch's join refers to
	Anchor  string   `json:"anchor"`
	MaxGap  string   `json:"max_gap,omitempty"`
	Equal   []string `json:"equal"`   // hash look-ups
	Checked []string `json:"checked"` // what is evaluated for each pair that these find
}

type topicPlan struct {
	Name       string            `json:"name"`
	Role       string            `json:"role"`
	Partitions string            `json:"partitions"`
	Settings   map[string]string `json:"settings"`
}

func describePlan(p *rules.Plan) *planAnswer {
	a := &planAnswer{App: p.App, RulesHash: p.Hash, Delivery: p.Settings.Delivery, Tables: []tablePlan{}}
	for _, s := range p.Streams {
		a.Streams = append(a.Streams, describeStream(p, s))
	}
	for _, t := range p.Tables {
		from := "topic " + t.Topic
		if t.File != "" {
			from = "file " + t.File
		}
		a.Tables = append(a.Tables, tablePlan{t.Name, from, t.Columns[t.Key].Name})
	}
	for _, k := range p.Keys {
		a.Keys = append(a.Keys, describeKey(p, k))
	}
	for _, r := range p.Rules {
		a.Rules = append(a.Rules, describeRule(p, r))
	}
	for _, t := range processors.Topics(p) {
		a.Topics = append(a.Topics, describeTopic(p, t))
	}
	return a
}

// slotNames names slots of a stream without the stream's own name.
func slotNames(p *rules.Plan, stream int, slots ...int) []string {
	names := []string{}
	for _, slot := range slots {
		names = append(names, strings.TrimPrefix(p.SlotName(stream, slot), p.Streams[stream].Name+"."))
	}
	return names
}

// firstSlots are the id, the time and the first n slots.
func firstSlots(n int) []int {
	slots := []int{codecs.SlotID, codecs.SlotTime}
	for i := range n {
		slots = append(slots, i)
	}
	return slots
}

func describeStream(p *rules.Plan, s *rules.Stream) streamPlan {
	d := streamPlan{
		Name: s.Name, Topic: s.Topic, Decoded: slotNames(p, s.Rank, firstSlots(len(s.Slots))...), Kept: slotNames(p, s.Rank, firstSlots(s.Kept)...),
		MaxSkew: rules.FormatDuration(s.MaxSkew), Lateness: rules.FormatDuration(s.Lateness), Disorder: rules.FormatDuration(s.Disorder),
		PartitionedBy: s.PartitionedBy, Keys: []string{},
	}
	if s.Where != nil {
		d.Where = s.Where.String()
	}
	if s.MaxAge > 0 {
		d.MaxAge = rules.FormatDuration(s.MaxAge)
	}
	for _, k := range p.Keys {
		if slices.Contains(k.Streams, s.Rank) {
			d.Keys = append(d.Keys, k.Name)
		}
	}
	return d
}

func describeKey(p *rules.Plan, k *rules.Key) keyPlan {
	d := keyPlan{
		Fields: k.Fields, Direct: k.Direct, Group: processors.KeyGroup(p.App, k), Intakes: []string{}, Changelog: processors.ChangelogTopic(p.App, k),
		Lateness: rules.FormatDuration(k.Lateness), MaxTouches: k.MaxTouches,
	}
	if !k.Direct {
		d.Repartition = processors.RepartitionTopic(p.App, k)
	}
	for _, rank := range k.Streams {
		s := p.Streams[rank]
		if !k.Direct {
			d.Intakes = append(d.Intakes, processors.IntakeGroup(p.App, s))
		}
		state := statePlan{Stream: s.Name, Kept: slotNames(p, rank, firstSlots(s.Kept)...), For: rules.FormatDuration(k.Retention[rank] + k.Lateness), LookUps: [][]string{}}
		for _, path := range k.Paths[rank] {
			state.LookUps = append(state.LookUps, slotNames(p, rank, path...))
		}
		d.State = append(d.State, state)
	}
	return d
}

func describeRule(p *rules.Plan, r *rules.Rule) rulePlan {
	d := rulePlan{
		Name: r.Name, Hash: r.Hash, Conversion: p.Streams[r.Conversion].Name, Key: r.Key.Fields, Priority: textOfExpr(r.Priority), Require: textOfExpr(r.Require),
		Across: "class", Columns: columnTexts(r.Select), Measures: columnTexts(r.Measure),
	}
	if r.Across {
		d.Across = "all"
	}
	for _, m := range r.Models {
		d.Models = append(d.Models, modelText(m))
	}
	for _, c := range r.Classes {
		d.Classes = append(d.Classes, describeClass(p, r, c))
	}
	d.Counts = countingTexts(p, r)
	if r.Upserts {
		d.Writes = append(d.Writes, r.Into)
	}
	if r.Deltas {
		d.Writes = append(d.Writes, processors.DeltasTopic(r))
	}
	return d
}

// countingTexts says which conversions count.
func countingTexts(p *rules.Plan, r *rules.Rule) (list []string) {
	c := r.Counting
	if c == nil {
		return nil
	}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if c.Retire {
		add("touches that lose are out")
	}
	if c.Dedup != nil {
		add("once per touch and %s", c.Dedup)
	}
	if c.Once {
		add("once per touch")
	}
	if b := c.Budget; b != nil {
		switch {
		case b.Expr != nil:
			add("per touch at most %s", b.Expr)
		default:
			for rank, most := range b.Max {
				if most > 0 {
					add("per %s at most %d", p.Streams[rank].Name, most)
				}
			}
		}
		if b.Replace != nil {
			add("a larger %s takes the place of the smallest", b.Replace)
			for rank, ends := range b.Windows {
				var texts []string
				for _, end := range ends {
					texts = append(texts, rules.FormatDuration(end))
				}
				if len(ends) > 0 {
					add("but not across %s after a %s", strings.Join(texts, ", "), p.Streams[rank].Name)
				}
			}
		}
	}
	if c.PerKey > 0 {
		add("not within %s after another of the key", rules.FormatDuration(c.PerKey))
	}
	if c.Cap != nil {
		add("%s up to %s in %s per key", r.Measure[c.Cap.Measure].Name, c.Cap.At, rules.FormatDuration(c.Cap.Per))
	}
	return list
}

func modelText(m *rules.Model) string {
	text := m.Kind.String()
	switch m.Kind {
	case rules.TimeDecay:
		text += " " + rules.FormatDuration(m.HalfLife)
	case rules.Position:
		text += fmt.Sprintf(" %d/%d/%d", m.Parts[0], m.Parts[1], m.Parts[2])
	case rules.WShaped, rules.Weights:
		text += " " + m.Expr.String()
	}
	if m.Name != m.Kind.String() {
		text = m.Name + ": " + text
	}
	return text
}

func textOfExpr(x *rules.Expr) string {
	if x == nil {
		return ""
	}
	return x.String()
}

func columnTexts(list []rules.Column) []string {
	texts := []string{}
	for _, c := range list {
		texts = append(texts, c.Name+": "+c.Expr.String())
	}
	return texts
}

func describeClass(p *rules.Plan, r *rules.Rule, c *rules.Class) classPlan {
	d := classPlan{Name: c.Name, Min: rules.FormatDuration(c.Min), Within: rules.FormatDuration(c.Within), Where: textOfExpr(c.Where), Expires: textOfExpr(c.Expires)}
	if c.Own != nil {
		d.Within = c.Own.String() + ", at most " + d.Within
	}
	if c.Parent > 0 {
		d.ParentWithin = rules.FormatDuration(c.Parent)
	}
	for _, v := range c.Vias {
		d.Ways = append(d.Ways, describeWay(p, r, v))
	}
	return d
}

func describeWay(p *rules.Plan, r *rules.Rule, v *rules.Via) wayPlan {
	w := wayPlan{Touch: p.Streams[v.Touch].Name, Anchor: p.Streams[v.Touch].Name, Equal: []string{}, Checked: []string{}}
	equal := func(pairs []rules.Pair, a, b int) {
		for _, pair := range pairs {
			w.Equal = append(w.Equal, p.SlotName(a, pair.A)+" == "+p.SlotName(b, pair.B))
		}
	}
	equal(v.ConvTouch, r.Conversion, v.Touch)
	if v.Orphan != nil {
		w.Without = p.Streams[v.Orphan.Parent].Name
	}
	if v.Parent >= 0 {
		w.Parent, w.MaxGap = p.Streams[v.Parent].Name, rules.FormatDuration(v.MaxGap)
		if v.AnchorParent {
			w.Anchor = w.Parent
		}
		equal(v.ConvParent, r.Conversion, v.Parent)
		equal(v.TouchParent, v.Touch, v.Parent)
	}
	for _, x := range v.Residual {
		w.Checked = append(w.Checked, x.String())
	}
	return w
}

func describeTopic(p *rules.Plan, t processors.Topic) topicPlan {
	d := topicPlan{Name: t.Name, Role: t.Role.String(), Partitions: fmt.Sprint(p.Settings.Partitions), Settings: t.Settings()}
	switch {
	case t.Foreign():
		d.Partitions = "as it has"
	case t.Role == processors.RoleChangelog:
		d.Partitions = "as the inputs of its key"
	}
	return d
}
