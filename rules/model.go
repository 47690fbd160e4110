package rules

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// ModelKind is a way of dividing a conversion's credit.
type ModelKind uint8

// The models. Touches are in the order of their anchors' times, then in the total order.
const (
	Last      ModelKind = iota // all to the last touch
	First                      // all to the first
	Linear                     // the same to each
	TimeDecay                  // half of it with every half-life that a touch is earlier
	Position                   // parts for the first, for all between, for the last
	WShaped                    // 30% each to the first, to the first that meets a condition and to the last, 10% to all others
	Weights                    // by an expression
)

var modelNames = [...]string{Last: "last", First: "first", Linear: "linear", TimeDecay: "time_decay", Position: "position", WShaped: "w_shaped", Weights: "weights"}

// String returns the name that rules files use for the model.
func (k ModelKind) String() string { return modelNames[k] }

// Model is one of a rule's models.
type Model struct {
	Name     string // in rows; those of a rule differ
	Kind     ModelKind
	HalfLife int64     // of TimeDecay, microseconds
	Parts    [3]uint64 // of Position: first, all between, last; at least one is above 0
	Expr     *Expr     // the condition of WShaped, the weight of Weights
}

// PerTouch tells whether a conversion may have several rows under the model.
func (m *Model) PerTouch() bool { return m.Kind != Last && m.Kind != First }

// defaultParts are those of a position model that says nothing else, in percent.
var defaultParts = [3]uint64{40, 20, 40}

// models reads `model`: a model or a list of them.
func (r *ruleInfo) models(v value) {
	named := map[string]bool{}
	items := []value{v}
	if v.node.Kind != yaml.MappingNode {
		items = v.list()
	}
	for _, item := range items {
		m := r.model(item)
		switch {
		case m == nil:
			continue
		case named[m.Name]:
			item.errorf("a model of this rule is named %q already; what another is named stands beside it, as in {time_decay: 1d, name: fast}", m.Name)
		}
		named[m.Name] = true
		r.rule.Models = append(r.rule.Models, m)
	}
}

// model reads one model, nil where that failed: its name, or a mapping of the name to what it needs.
func (r *ruleInfo) model(v value) *Model {
	if v.node.Kind != yaml.MappingNode {
		i := v.oneOf(modelNames[:])
		if i < 0 {
			return nil
		}
		m := &Model{Name: modelNames[i], Kind: ModelKind(i)}
		if m.Kind == Position {
			m.Parts = defaultParts
		}
		if needs := modelNeeds[m.Kind]; needs != "" {
			v.errorf("%s needs %s", m.Kind, needs)
			return nil
		}
		return m
	}
	got := v.section(append([]string{"name"}, modelNames[:]...))
	var m *Model
	for i, name := range modelNames {
		at, ok := got[name]
		if !ok {
			continue
		}
		if m != nil {
			at.errorf("one model at a time; several are a list: [%s, ...]", m.Kind)
			return nil
		}
		m = &Model{Name: name, Kind: ModelKind(i)}
		if !r.modelDetail(m, at) {
			return nil
		}
	}
	if m == nil {
		if len(got) == len(v.node.Content)/2 { // nothing was unknown
			v.errorf("no model is named")
		}
		return nil
	}
	if name, ok := got["name"]; ok {
		s, ok := name.text()
		switch {
		case !ok:
			return nil
		case !isName(s.text):
			s.errorf("%q is not a name: letters, digits and '_', not starting with a digit", s.shown)
			return nil
		}
		m.Name = s.text
	}
	return m
}

// modelNeeds says what models need that cannot stand alone.
var modelNeeds = [...]string{
	TimeDecay: "its half-life: {time_decay: 7d}",
	WShaped:   "a condition for the touch in the middle: {w_shaped: 'click.form != \"\"'}",
	Weights:   "an expression for the weight: {weights: 'impression.price'}",
}

// modelDetail reads what stands behind a model's name. It tells whether that succeeded.
func (r *ruleInfo) modelDetail(m *Model, v value) bool {
	switch m.Kind {
	case TimeDecay:
		us, ok := v.duration()
		if ok && us == 0 {
			v.errorf("must be longer than 0")
			return false
		}
		m.HalfLife = us
		return ok
	case Position:
		return m.positionParts(v)
	case WShaped, Weights:
		text, ok := v.text()
		if !ok {
			return false
		}
		if m.Kind == WShaped {
			m.Expr = r.c.condition(text, r.pairNames(forClass, r.touches))
		} else {
			m.Expr = r.c.expression(text, r.pairNames(forValue, r.touches), nil)
		}
		if m.Expr == nil {
			return false
		}
		if k := m.Expr.kind; m.Kind == Weights && k != codecs.Int && k != codecs.Decimal {
			text.errorf("a weight is int or decimal, so that every machine divides alike; this is %s", k)
			return false
		}
		r.c.note(m.Expr, useKept)
		return true
	}
	v.errorf("%s takes nothing", m.Kind)
	return false
}

func (m *Model) positionParts(v value) bool {
	if v.node.Kind != yaml.SequenceNode || len(v.node.Content) != 3 {
		v.errorf("needs three parts, of the first touch, of all between and of the last: {position: [40, 20, 40]}")
		return false
	}
	const most = 1_000_000
	ok := true
	for i, item := range v.list() {
		n, read := item.whole(0, most)
		m.Parts[i], ok = uint64(n), ok && read
	}
	if ok && m.Parts == [3]uint64{} {
		v.errorf("the parts are all 0")
		return false
	}
	return ok
}

// settle derives from models and classes what evaluation may spare itself.
func (r *Rule) settle() {
	r.shows = r.Across || r.PerParent != AllOfParent
	for _, c := range r.Classes {
		for _, touch := range c.Touch {
			if p := r.Parents[touch]; p >= 0 && slices.Contains(c.Touch, p) {
				r.shows = true
			}
		}
	}
	r.single = !r.shows && r.Priority == nil && !r.Retires() && !slices.ContainsFunc(r.Models, func(m *Model) bool { return m.Kind != Last })
}
