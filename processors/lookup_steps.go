package processors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// A table belongs to its partition's callbacks and, when they are at rest, to the committer. So the committer looks things up, behind a
// commit and before it opens the gate: the tables are then exactly what was committed. What the callbacks have done since the last commit
// could still be aborted, and nobody must be told of it.
//
// Records wait meanwhile, so a step is short and steps are rare: where there is work, a search takes a tenth of the time at most. A look-up
// brings the next commit forward, so that it does not wait for a long commit_interval.
const (
	lookupBudget   = 5 * time.Millisecond  // of a step
	lookupPace     = 50 * time.Millisecond // between two steps
	lookupPaceIdle = 10 * time.Millisecond // the same, where no record has come since the last commit
	lookupClock    = 64                    // a search looks at the clock after so many keys
)

// ask is a look-up that one key's processor is asked for. What is behind mu is written by the committer of the session in service.
type ask struct {
	ctx    context.Context
	plan   *rules.Plan
	key    *rules.Key
	rules  []*rules.Rule
	sought []tables.Sought
	bytes  []byte // the key; nil: it is searched for
	done   chan struct{}

	mu       sync.Mutex
	place    Place
	session  *session // that has looked last; another one begins anew, with other partitions
	searches map[int32]*tables.Search
	held     []Held
	err      error
}

// result returns what is known now.
func (a *ask) result() (Place, []Held, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	place := a.place
	if !a.finished() {
		if a.session == nil {
			return place, nil, fmt.Errorf("the instance has no partitions of key %s in service: %w", a.key.Name, a.ctx.Err())
		}
		place.Unfinished = true
	}
	return place, a.held, a.err
}

func (a *ask) finished() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// lookUp does a step of the look-ups that are asked for, with every partition at rest and everything committed. An error is one of a
// table, which is of no use any more. idle tells that no record has come since the last commit.
func (s *session) lookUp(idle bool) error {
	if s.p.lookups == nil || time.Now().Before(s.nextStep) {
		return nil
	}
	pending := s.p.lookups.pending()
	if len(pending) == 0 {
		return nil
	}
	end := time.Now().Add(lookupBudget)
	for _, a := range pending {
		if err := s.step(a, end); err != nil {
			return fmt.Errorf("look-up: %w", err)
		}
	}
	if s.nextStep = time.Now().Add(lookupPace); idle {
		s.nextStep = time.Now().Add(lookupPaceIdle)
	}
	if len(s.p.lookups.pending()) > 0 {
		s.p.lookups.poke()
	}
	return nil
}

// step goes on with one look-up. Where rules or their expressions panic, that ends the look-up and nothing else: it changes nothing.
func (s *session) step(a *ask, end time.Time) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			a.err = fmt.Errorf("look-up of %s: panic: %v", a.key.Name, r)
			close(a.done)
		}
	}()
	if a.session != s {
		a.session, a.searches, a.held = s, map[int32]*tables.Search{}, nil
	}
	a.place.Partitions, a.place.Serves, a.place.Restoring, a.place.Final = s.p.partitions, nil, nil, math.MinInt64
	if a.bytes != nil && !a.key.Direct { // producers have chosen the partitions of the others
		a.place.Wanted = codecs.PartitionOf(a.bytes, s.p.partitions)
	}
	all := true
	for n := range s.p.partitions {
		st := s.stores[n]
		switch {
		case st == nil:
		case !st.restored():
			a.place.Restoring = append(a.place.Restoring, n)
		case st.table.Dirty():
			return nil // a commit is still to come: there is no offset to commit with yet
		default:
			a.place.Serves = append(a.place.Serves, n)
			a.place.Final = max(a.place.Final, s.finalBefore(a, st.table))
			done, err := s.stepIn(a, st, end)
			if err != nil {
				return err
			}
			all = all && done
		}
	}
	if all || len(a.held) >= maxHeld {
		close(a.done)
	}
	return nil
}

// finalBefore returns the time before which no conversion that is asked for is sure to be in the state.
func (s *session) finalBefore(a *ask, t *tables.Table) int64 {
	watermark := t.Meta().Watermark
	if watermark == noTime {
		return math.MinInt64
	}
	final := int64(math.MinInt64)
	for _, r := range a.sought {
		final = max(final, watermark-s.p.stores.shape.Streams[r.Stream].Keep)
	}
	return final
}

// stepIn looks into one partition.
func (s *session) stepIn(a *ask, st *store, end time.Time) (done bool, err error) {
	if a.bytes != nil {
		if a.place.Wanted >= 0 && a.place.Wanted != st.partition {
			return true, nil
		}
		return true, s.take(a, st, a.bytes)
	}
	search := a.searches[st.partition]
	if search == nil {
		search = tables.NewSearch(a.sought...)
		a.searches[st.partition] = search
	}
	if !time.Now().Before(end) {
		return false, nil
	}
	var keys [][]byte
	n := 0
	done, err = st.table.Search(search, func(key []byte) {
		if len(a.held)+len(keys) < maxHeld {
			keys = append(keys, bytes.Clone(key))
		}
	}, func() bool {
		n++
		return n%lookupClock != 0 || time.Now().Before(end)
	})
	for _, key := range keys {
		if err == nil {
			err = s.take(a, st, key)
		}
	}
	return done, err
}

// take copies what a partition has of a key, where it has the conversion.
func (s *session) take(a *ask, st *store, key []byte) error {
	if slices.ContainsFunc(a.held, func(h Held) bool { return h.Partition == st.partition && bytes.Equal(h.key, key) }) {
		return nil // a search may find a key twice
	}
	t := st.table
	h, err := t.History(key)
	if err != nil {
		return err
	}
	for _, sought := range a.sought {
		row := h.Get(sought.Stream, sought.ID)
		if row == nil {
			continue
		}
		held := Held{Key: a.key, key: key, Values: codecs.KeyValues(key, len(a.key.Fields)), Partition: st.partition, Watermark: t.Meta().Watermark,
			Conversion: bytes.Clone(row), Credits: map[*rules.Rule][][]byte{}, credits: map[*rules.Rule][]*codecs.Credit{}}
		engine := s.work.(*keyed).lanes[st.partition].Load().engine
		for _, r := range a.rules {
			if r.Conversion != sought.Stream {
				continue
			}
			credits := engine.creditsOf(r, held.Conversion, h)
			held.credits[r], held.Credits[r] = credits, nil
			for _, c := range credits {
				if text, err := codecs.AppendFinal(nil, c); err == nil { // else it could not be written, and is a reject
					held.Credits[r] = append(held.Credits[r], text)
				}
			}
		}
		if held.Rows, held.Capped, err = t.Rows(key, len(a.plan.Streams), maxHeldRows); err != nil {
			return err
		}
		held.TooMany = held.Rows == nil
		a.held = append(a.held, held)
	}
	return h.Err()
}

// creditsOf returns the rows that a conversion of a history has under a rule. What an expression fails on was told when the event came.
func (p *partition) creditsOf(r *rules.Rule, conv codecs.Row, h *tables.History) (rows []*codecs.Credit) {
	if r.Counting == nil {
		rows, _ = p.rows(r, conv, h)
		return rows
	}
	_, from := r.Affected(conv.Time())
	counted, _ := p.eval.Count(r, h, from, nil, marksOf{p, h})
	for i := range counted {
		if counted[i].Conversion.Compare(conv) == 0 {
			rows, _ = p.countedRows(r, &counted[i], h)
		}
	}
	return rows
}

// ErrTooMany says that a key has too many events for what is said of each of them.
var ErrTooMany = errors.New("the key has too many events")

// Explain explains the conversion under a rule by the rows that the state has of its key. exact tells that the definition comes to the rows
// that the conversion has: where it does not, events that have left the state have had a say in them, as those that a touch has lost.
func (h *Held) Explain(plan *rules.Plan, r *rules.Rule) (e rules.Explanation, exact bool, err error) {
	tried := combinations(r, h.Rows)
	if r.Counting == nil { // the others do not matter
		tried /= max(1, h.conversions(r))
	}
	if h.TooMany || tried > maxCombinations {
		return e, false, ErrTooMany
	}
	e, ok := rules.Explain(plan, r, h.Conversion, h.Rows)
	if !ok {
		return e, false, nil
	}
	var rows []*codecs.Credit
	if len(e.Parts) == len(r.Models) {
		eval := rules.NewEvaluator(plan)
		for j, m := range r.Models {
			rows, _ = appendRows(rows, plan, eval, r, m, h.Conversion, e.Parts[j], e.Terms)
		}
	}
	return e, slices.EqualFunc(rows, h.credits[r], sameCredit), nil
}

// conversions returns how many the key has of a rule.
func (h *Held) conversions(r *rules.Rule) (n int) {
	for _, row := range h.Rows {
		if row.Stream() == r.Conversion {
			n++
		}
	}
	return n
}
