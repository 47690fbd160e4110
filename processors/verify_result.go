package processors

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Verification is what came of holding a stream against the batch answer. It belongs to the caller.
type Verification struct {
	App       string           `json:"app"`
	RulesHash string           `json:"rules_hash"`
	From      *time.Time       `json:"from"` // of the event time of the conversions that were judged; nil: no bound
	To        *time.Time       `json:"to"`   // excluded
	Gap       string           `json:"gap,omitempty"`
	Streams   []VerifiedStream `json:"streams"`
	Rules     []VerifiedRule   `json:"rules"`
	LargeKeys int64            `json:"large_keys"` // of a rule, that were judged by look-ups, not by the definition
	Records   int64            `json:"records"`    // of all topics

	mu      sync.Mutex
	records []verifiedRecords // by rank
	minutes []map[int64]*VerifiedMinute
	totals  []verifyTotals
}

// VerifiedStream is what was read of a stream, and what the app has made of it.
type VerifiedStream struct {
	Stream   string           `json:"stream"`
	Events   int64            `json:"events"`   // that can be counted
	Late     int64            `json:"late"`     // of them, those that came too late
	Refused  int64            `json:"refused"`  // of them, those that the app has rejected all the same
	Rejected map[string]int64 `json:"rejected"` // records that can not be counted, by reason
}

// VerifiedRule is what was found of a rule's conversions.
type VerifiedRule struct {
	Rule        string           `json:"rule"`
	Conversions int64            `json:"conversions"` // that were judged
	Equal       int64            `json:"equal"`
	InFlight    int64            `json:"in_flight"` // that were not judged, because the app has not committed all of their key
	RowsGone    int64            `json:"rows_gone"` // that were not judged, because they differ and some of their rows may be gone from the outputs
	Different   map[Cause]int64  `json:"different"` // by cause
	Totals      []VerifiedTotal  `json:"totals"`
	Minutes     []VerifiedMinute `json:"minutes"`
	Examples    []Difference     `json:"examples"`
}

// VerifiedTotal is what a class has under a model: by the batch over all events, late ones included, and by the stream.
type VerifiedTotal struct {
	Model  string            `json:"model"`
	Class  string            `json:"class"`
	Batch  map[string]string `json:"batch"` // credit, in conversions, and the measures: exact decimals
	Stream map[string]string `json:"stream"`
}

// VerifiedMinute is how it went with the conversions of a minute of event time.
type VerifiedMinute struct {
	Minute    time.Time `json:"minute"`
	Judged    int64     `json:"judged"`
	Explained int64     `json:"explained"` // different for a cause that is the rules' own
	Wrong     int64     `json:"wrong"`     // different for another
}

// Difference is a conversion of which the stream says something else than the batch.
type Difference struct {
	Cause      Cause    `json:"cause"`
	Conversion string   `json:"conversion_id"`
	EventTime  string   `json:"event_time"`
	Batch      []string `json:"batch"`   // rows over all events
	Deltas     []string `json:"deltas"`  // what the deltas add up to: a sum and a row; nothing where the rule writes none
	Upserts    []string `json:"upserts"` // last rows; nothing where the rule writes none
}

// Cause is why a stream says something else of a conversion than the batch over all events.
type Cause string

// The causes. Those that are explained follow from what the rules ask for, and are no fault.
const (
	CauseLate        Cause = "late"           // events that came too late would change it
	CauseMaxTouches  Cause = "max_touches"    // touches of the key have left its full history
	CauseForgotten   Cause = "late_forgotten" // the topic of late records does not reach back to when events of the key came
	CauseRuleVersion Cause = "rule_version"   // the last row was written by another version of the rule
	CauseMisKeyed    Cause = "mis_keyed"      // events of the key are in several partitions, against partitioned_by
	CauseRejected    Cause = "rejected"       // an event of the key was rejected that is none to reject
	CauseDuplicate   Cause = "duplicate"      // a row counts more than once
	CauseLost        Cause = "lost"           // there are no rows
	CauseUnknown     Cause = "no_such_event"  // there are rows, and no such conversion
	CauseUnexplained Cause = "unexplained"    // none of these
	causeNone        Cause = ""               // no difference
)

// VerifyCauses returns all causes, explained ones first.
func VerifyCauses() []Cause {
	return []Cause{CauseLate, CauseMaxTouches, CauseForgotten, CauseRuleVersion, CauseDuplicate, CauseUnknown, CauseMisKeyed, CauseRejected, CauseLost, CauseUnexplained}
}

// Explained tells whether the cause follows from what the rules ask for.
func (c Cause) Explained() bool {
	return c == CauseLate || c == CauseMaxTouches || c == CauseForgotten
}

// Wrong returns how many conversions differ for a cause that is not explained.
func (r *VerifiedRule) Wrong() (n int64) {
	for cause, count := range r.Different {
		if !cause.Explained() {
			n += count
		}
	}
	return n
}

// Explained returns how many differ for a cause that is.
func (r *VerifiedRule) Explained() (n int64) {
	for cause, count := range r.Different {
		if cause.Explained() {
			n += count
		}
	}
	return n
}

// Wrong returns how many conversions of all rules differ for a cause that is not explained.
func (v *Verification) Wrong() (n int64) {
	for i := range v.Rules {
		n += v.Rules[i].Wrong()
	}
	return n
}

// Judged returns how many conversions of all rules were judged.
func (v *Verification) Judged() (n int64) {
	for i := range v.Rules {
		n += v.Rules[i].Conversions
	}
	return n
}

type verifiedRecords struct {
	events, late, refused atomic.Int64
	rejected              map[string]int64
}

func newVerification(plan *rules.Plan) *Verification {
	v := &Verification{App: plan.App, RulesHash: plan.Hash, records: make([]verifiedRecords, len(plan.Streams)), totals: newTotals(plan)}
	for i := range plan.Streams {
		v.records[i].rejected = map[string]int64{}
	}
	for _, r := range plan.Rules {
		v.Rules = append(v.Rules, VerifiedRule{Rule: r.Name, Different: map[Cause]int64{}, Totals: []VerifiedTotal{}, Minutes: []VerifiedMinute{}, Examples: []Difference{}})
		v.minutes = append(v.minutes, map[int64]*VerifiedMinute{})
	}
	return v
}

// reject counts a record of a stream that is no event.
func (v *Verification) reject(rank int, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.records[rank].rejected[reason]++
}

// accept counts an event.
func (v *Verification) accept(rank int, flags eventFlags) {
	r := &v.records[rank]
	r.events.Add(1)
	if flags&eventLate != 0 {
		r.late.Add(1)
	}
	if flags&eventRefused != 0 {
		r.refused.Add(1)
	}
}

// finish puts together what was counted.
func (v *Verification) finish(by *verifier) {
	bound := func(us int64) *time.Time {
		if us == math.MinInt64 || us == math.MaxInt64 {
			return nil
		}
		t := time.UnixMicro(us).UTC()
		return &t
	}
	v.From, v.To, v.Gap = bound(by.low), bound(by.high), by.gap
	for i, s := range by.plan.Streams {
		r := &v.records[i]
		v.Streams = append(v.Streams, VerifiedStream{s.Name, r.events.Load(), r.late.Load(), r.refused.Load(), r.rejected})
	}
	order := map[Cause]int{}
	for i, c := range VerifyCauses() {
		order[c] = i
	}
	for i := range v.Rules {
		r := &v.Rules[i]
		for _, m := range slices.Sorted(maps.Keys(v.minutes[i])) {
			r.Minutes = append(r.Minutes, *v.minutes[i][m])
		}
		r.Totals = v.totals[i].list(by.plan.Rules[i])
		slices.SortFunc(r.Examples, func(a, b Difference) int {
			return cmp.Or(order[b.Cause]-order[a.Cause], strings.Compare(a.EventTime, b.EventTime), strings.Compare(a.Conversion, b.Conversion))
		})
	}
}

// verifyTotals adds up what rows give, by model and class.
type verifyTotals map[[2]string]*verifyTotal

// newTotals returns nothing for each rule of a plan.
func newTotals(plan *rules.Plan) []verifyTotals {
	totals := make([]verifyTotals, len(plan.Rules))
	for i := range totals {
		totals[i] = verifyTotals{}
	}
	return totals
}

type verifyTotal struct{ batch, stream map[string]*exactSum }

func (t verifyTotals) at(model, class string) *verifyTotal {
	key := [2]string{model, class}
	if t[key] == nil {
		t[key] = &verifyTotal{map[string]*exactSum{}, map[string]*exactSum{}}
	}
	return t[key]
}

// addTo adds to a sum of one side.
func addTo(sums map[string]*exactSum, name string, v codecs.Value, times int64) {
	if sums[name] == nil {
		sums[name] = &exactSum{}
	}
	sums[name].add(v, times)
}

// totalCredit is the name of the credit among totals, whose other names are those of measures.
const totalCredit = "credit"

// addCredit adds a row that was computed.
func addCredit(sums map[string]*exactSum, c *codecs.Credit) {
	addTo(sums, totalCredit, codecs.DecimalValue(c.Credit, creditScale), 1)
	for _, m := range c.Measure {
		addTo(sums, m.Name, m.Value, 1)
	}
}

// creditScale is the number of decimals of a conversion that a micro-credit is.
const creditScale = 6

// merge adds another's sums.
func (t verifyTotals) merge(o verifyTotals) {
	for key, from := range o {
		to := t.at(key[0], key[1])
		for name, sum := range from.batch {
			to.batch[name] = to.batch[name].plus(sum)
		}
		for name, sum := range from.stream {
			to.stream[name] = to.stream[name].plus(sum)
		}
	}
}

// list returns the totals in the order of the rule's models and classes.
func (t verifyTotals) list(r *rules.Rule) []VerifiedTotal {
	list := []VerifiedTotal{}
	texts := func(sums map[string]*exactSum) map[string]string {
		out := map[string]string{}
		for _, name := range append([]string{totalCredit}, columnNames(r.Measure)...) {
			out[name] = sums[name].String()
		}
		return out
	}
	var classes []string
	add := func(class string) {
		if class != codecs.NoClass && !slices.Contains(classes, class) { // what nobody has adds up to nothing
			classes = append(classes, class)
		}
	}
	for _, c := range r.Classes {
		add(c.Name)
	}
	others := map[string]bool{} // of another version of the rule
	for key := range t {
		others[key[1]] = true
	}
	for _, class := range slices.Sorted(maps.Keys(others)) {
		add(class)
	}
	for _, m := range r.Models {
		for _, class := range classes {
			if sums := t[[2]string{m.Name, class}]; sums != nil {
				list = append(list, VerifiedTotal{m.Name, class, texts(sums.batch), texts(sums.stream)})
			}
		}
	}
	return list
}

func columnNames(list []rules.Column) (names []string) {
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}

// exactSum is a sum of ints and decimals without bounds. A nil one is 0.
type exactSum struct {
	coef  big.Int
	scale uint8
}

// add adds a value a number of times.
func (s *exactSum) add(v codecs.Value, times int64) {
	if v.Kind != codecs.Int && v.Kind != codecs.Decimal {
		return
	}
	var coef big.Int
	coef.Mul(coef.SetInt64(v.Num), big.NewInt(times))
	s.sum(&coef, v.Scale)
}

func (s *exactSum) sum(coef *big.Int, scale uint8) {
	if scale > s.scale {
		s.coef.Mul(&s.coef, powerOf10(scale-s.scale))
		s.scale = scale
	} else if scale < s.scale {
		coef = new(big.Int).Mul(coef, powerOf10(s.scale-scale))
	}
	s.coef.Add(&s.coef, coef)
}

func (s *exactSum) plus(o *exactSum) *exactSum {
	if s == nil {
		s = &exactSum{}
	}
	s.sum(&o.coef, o.scale)
	return s
}

func powerOf10(n uint8) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// String returns the sum as a decimal number, without zeros that say nothing.
func (s *exactSum) String() string {
	if s == nil {
		return "0"
	}
	text := new(big.Rat).SetFrac(&s.coef, powerOf10(s.scale)).FloatString(int(s.scale))
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// count counts a conversion that is not judged.
func (v *Verification) count(to *int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	*to++
}

// add adds what was added up of a file, and its histories that were judged by look-ups.
func (v *Verification) add(totals []verifyTotals, large int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.LargeKeys += large
	for i, t := range totals {
		v.totals[i].merge(t)
	}
}

// allGone says that rows of conversions may be gone; "" where none are.
func (v *Verification) allGone() string {
	n := int64(0)
	for i := range v.Rules {
		n += v.Rules[i].RowsGone
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("some rows of %d conversions may be gone from the output topics", n)
}

// settle counts a conversion, and keeps the first examples of each cause.
func (v *Verification) settle(rule int, cause Cause, at int64, examples int, example func() Difference) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &v.Rules[rule]
	r.Conversions++
	minute := time.UnixMicro(at).UTC().Truncate(time.Minute)
	m := v.minutes[rule][minute.Unix()]
	if m == nil {
		m = &VerifiedMinute{Minute: minute}
		v.minutes[rule][minute.Unix()] = m
	}
	m.Judged++
	switch {
	case cause == causeNone:
		r.Equal++
		return
	case cause.Explained():
		m.Explained++
	default:
		m.Wrong++
	}
	if r.Different[cause]++; r.Different[cause] <= int64(examples) {
		r.Examples = append(r.Examples, example())
	}
}
