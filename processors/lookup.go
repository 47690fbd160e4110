package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Lookups are what a run is asked about its own state. Its answers are of what has been committed: they are given between a commit and
// the records behind it (see lookup_steps.go). It is safe for concurrent use.
type Lookups struct {
	plan *rules.Plan
	keys []*keyLookups // by index of plan.Keys
	room chan struct{} // taken by those that are under way
}

// NewLookups returns the look-ups of a run of the plan, which is given them as Config.Lookups.
func NewLookups(plan *rules.Plan) *Lookups {
	l := &Lookups{plan: plan, room: make(chan struct{}, maxLookups)}
	for range plan.Keys {
		l.keys = append(l.keys, newKeyLookups())
	}
	return l
}

const (
	// maxLookups is how many are under way at once. Those beyond are refused: each costs processing time.
	maxLookups = 4
	// maxHeld is how many keys with a conversion of one id are looked into.
	maxHeld = 16
	// maxHeldRows is how many rows a key may have to be copied. Copying a hundred thousand takes some ten milliseconds, for which processing waits.
	maxHeldRows = 100_000
)

// Lookup is what is asked: a conversion, and where it is.
type Lookup struct {
	Conversion string            // its id, as text
	Rule       string            // "": under all rules
	Key        map[string]string // the fields of its key, as text; nil: all histories are searched
}

// BadLookup says that a look-up cannot be made, whatever the state.
type BadLookup struct{ Problem string }

func (e *BadLookup) Error() string { return e.Problem }

// ErrBusy says that there are too many look-ups already.
var ErrBusy = errors.New("too many look-ups are under way: try again in a moment")

// Held is a conversion that is in the state, and what the state has of its key.
type Held struct {
	Key        *rules.Key
	key        []byte
	Values     []codecs.Value
	Partition  int32
	Watermark  int64 // event time in microseconds
	Conversion codecs.Row
	Rows       []codecs.Row // of the key, in the total order
	TooMany    bool         // there are so many rows that they were not copied
	Capped     bool         // touches have left because of max_touches

	// Credits are the rows that the conversion has, by rule, as codecs.AppendFinal writes them.
	Credits map[*rules.Rule][][]byte
	credits map[*rules.Rule][]*codecs.Credit
}

// Place is where the histories of a key are, as far as the instance knows.
type Place struct {
	Key        *rules.Key
	Partitions int32
	Serves     []int32 // partitions that were looked into, ascending
	Restoring  []int32 // assigned ones that were not, because they are being restored
	Wanted     int32   // the partition that the key asked for belongs to; -1: not known
	Final      int64   // conversions of before are final and may have left the state, event time in microseconds; math.MinInt64: none
	Unfinished bool    // not all that it serves was searched in time
}

// Elsewhere tells whether the key asked for belongs to a partition that the instance does not have.
func (p *Place) Elsewhere() bool {
	return p.Wanted >= 0 && !slices.Contains(p.Serves, p.Wanted) && !slices.Contains(p.Restoring, p.Wanted)
}

// Findings is what came of a look-up.
type Findings struct {
	Held   []Held
	Places []Place // of each key that was asked
}

// Find looks a conversion up. It waits for a session, and a search goes on, until ctx ends: then it returns what was found by then, and the
// Places that are Unfinished, or ctx's error where the instance has no session. Partitions that are being restored are not waited for: that
// can take long, and the Places name them. A BadLookup or ErrBusy is returned at once.
func (l *Lookups) Find(ctx context.Context, q Lookup) (*Findings, error) {
	asks, err := l.asks(ctx, q)
	if err != nil {
		return nil, err
	}
	select {
	case l.room <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	defer func() { <-l.room }()
	for i, a := range asks {
		if a != nil {
			l.keys[i].add(a)
			defer l.keys[i].remove(a)
		}
	}
	found := &Findings{}
	for _, a := range asks {
		if a == nil {
			continue
		}
		select {
		case <-a.done:
		case <-ctx.Done():
		}
		place, held, err := a.result()
		if err != nil {
			return nil, err
		}
		found.Places, found.Held = append(found.Places, place), append(found.Held, held...)
	}
	return found, nil
}

// asks returns what each key's processor is asked, by index of plan.Keys; nil where it is nothing.
func (l *Lookups) asks(ctx context.Context, q Lookup) ([]*ask, error) {
	asks := make([]*ask, len(l.keys))
	var first error // why the id is none
	rule, id, fields := q.Rule == "", false, false
	for i, k := range l.plan.Keys {
		a := &ask{ctx: ctx, plan: l.plan, key: k, place: Place{Key: k, Wanted: -1}, done: make(chan struct{})}
		for _, r := range k.Rules {
			if q.Rule != "" && r.Name != q.Rule {
				continue
			}
			rule = true
			s := l.plan.Streams[r.Conversion]
			v, err := codecs.ParseText(q.Conversion, s.Declared[s.ID])
			if err != nil {
				first = errors.Join(first, fmt.Errorf("no %s has such an id: %w", s.Name, err))
				continue
			}
			id = true
			a.rules = append(a.rules, r)
			if row := (tables.Sought{Stream: s.Rank, ID: codecs.AppendValue(nil, v)}); !slices.ContainsFunc(a.sought, func(o tables.Sought) bool { return o.Stream == row.Stream }) {
				a.sought = append(a.sought, row)
			}
		}
		if len(a.rules) == 0 {
			continue
		}
		if q.Key != nil {
			if !hasFields(k, q.Key) {
				continue
			}
			var err error
			if a.bytes, err = keyFromText(l.plan, k, q.Key); err != nil {
				return nil, &BadLookup{err.Error()}
			}
		}
		fields = true
		asks[i] = a
	}
	switch {
	case !rule:
		return nil, &BadLookup{fmt.Sprintf("there is no rule %q", q.Rule)}
	case !id:
		return nil, &BadLookup{fmt.Sprintf("conversion %q: %v", q.Conversion, first)}
	case !fields:
		return nil, &BadLookup{"no key of these rules has those fields, and no others: " + keyFieldNames(l.plan)}
	}
	return asks, nil
}

func hasFields(k *rules.Key, given map[string]string) bool {
	return len(given) == len(k.Fields) && !slices.ContainsFunc(k.Fields, func(name string) bool { _, ok := given[name]; return !ok })
}

func keyFieldNames(plan *rules.Plan) string {
	text := ""
	for i, k := range plan.Keys {
		if i > 0 {
			text += "; "
		}
		for j, name := range k.Fields {
			if j > 0 {
				text += ", "
			}
			text += name
		}
	}
	return text
}

// keyFromText encodes a key as keyOf does that of an event.
func keyFromText(plan *rules.Plan, k *rules.Key, given map[string]string) ([]byte, error) {
	var key []byte
	s := plan.Streams[k.Streams[0]]
	for i, name := range k.Fields {
		field := s.Declared[s.ID]
		if slot := k.Slots[s.Rank][i]; slot != codecs.SlotID {
			field = fieldOf(plan, s, slot)
		}
		field.Name = name
		v, err := codecs.ParseText(given[name], field)
		if err != nil {
			return nil, err
		}
		key = codecs.AppendValue(key, v)
	}
	if len(key) > tables.MaxKey {
		return nil, fmt.Errorf("the key takes %d bytes, the limit is %d", len(key), tables.MaxKey)
	}
	return key, nil
}

// keyLookups are those of one key's processor that are waiting, or under way.
type keyLookups struct {
	asked chan struct{} // has room for one: "there is something to look up"

	mu      sync.Mutex
	waiting []*ask
}

func newKeyLookups() *keyLookups { return &keyLookups{asked: make(chan struct{}, 1)} }

func (k *keyLookups) add(a *ask) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = append(k.waiting, a)
	k.poke()
}

// poke says that there is something to look up.
func (k *keyLookups) poke() {
	select {
	case k.asked <- struct{}{}:
	default:
	}
}

func (k *keyLookups) remove(a *ask) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = slices.DeleteFunc(k.waiting, func(o *ask) bool { return o == a })
}

// pending returns those that nobody has given up, and that are not done.
func (k *keyLookups) pending() (list []*ask) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.waiting {
		if !a.finished() && a.ctx.Err() == nil {
			list = append(list, a)
		}
	}
	return list
}
