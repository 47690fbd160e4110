package processors

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

// Histories that are too large for the definition, which a verification judges by look-ups, have the same outcomes.
func TestVerifyCountsLargeHistoriesAlike(t *testing.T) {
	for _, rule := range slices.Sorted(maps.Keys(propertyRules)) {
		plan := propertyPlan(t, rule, true)
		key, r := plan.Keys[0], plan.Rules[0]
		for round := range uint64(20) {
			rng := rand.New(rand.NewPCG(round, 77))
			var clean []*cleanser
			for _, s := range plan.Streams {
				clean = append(clean, newCleanser(plan, s, nil))
			}
			var rows []codecs.Row
			for range 60 {
				stream, value := randomRecord(rng, plan, 25)
				var ev codecs.Event
				if why := clean[stream].clean(&Raw{Value: value}, &ev); why != nil {
					t.Fatal(why)
				}
				if slices.Contains(key.Streams, stream) {
					rows = append(rows, codecs.AppendRow(nil, &ev, plan.Streams[stream].Kept))
				}
			}
			var got [2]map[string]string
			for i, most := range []int{maxCombinations, 0} {
				got[i] = map[string]string{}
				c := recounter{v: &verifier{appTopics: &appTopics{plan: plan}}, eval: rules.NewEvaluator(plan), most: most}
				err := c.outcomes(key, r, rows, func(conv codecs.Row, credits []*codecs.Credit) error {
					var texts [][]byte
					for _, credit := range credits {
						text, err := codecs.AppendFinal(nil, credit)
						if err != nil {
							return err
						}
						texts = append(texts, text)
					}
					sameTexts(texts, texts) // sorts them
					got[i][string(codecs.AppendText(nil, conv.IDValue()))] = fmt.Sprintf("%s", texts)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if c.large != int64(i) {
					t.Fatalf("%d keys were counted by look-ups, want %d", c.large, i)
				}
			}
			if !reflect.DeepEqual(got[0], got[1]) {
				t.Fatalf("%s, round %d: by definition %v, by look-ups %v", rule, round, got[0], got[1])
			}
		}
	}
}

// A spill gives back what it was given, what has one hash in one part and in order, and leaves nothing in the folder.
func TestSpillGivesBackWhatItWasGiven(t *testing.T) {
	s, err := newSpill(t.TempDir(), 7)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	want := map[uint64][]string{}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 20_000 {
		hash := rng.Uint64N(40)
		text := fmt.Sprintf("%d %d %0*d", hash, i, rng.IntN(300), 0)
		want[hash] = append(want[hash], text)
		if err := s.add(hash, func(dst []byte) []byte { return append(dst, text...) }); err != nil {
			t.Fatal(err)
		}
	}
	got := map[uint64][]string{}
	for i := range s.parts {
		entries, err := s.take(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			var hash uint64
			if _, err := fmt.Sscan(string(e), &hash); err != nil || hash%7 != uint64(i) {
				t.Fatalf("part %d has %.20q, %v", i, e, err)
			}
			got[hash] = append(got[hash], string(e))
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("what came back is not what was added")
	}
}

func TestExactSum(t *testing.T) {
	var sum *exactSum
	if sum.String() != "0" {
		t.Errorf("nothing adds up to %s", sum)
	}
	sum = &exactSum{}
	for range 1000 {
		sum.add(codecs.IntValue(1<<62), 2)
	}
	sum.add(codecs.DecimalValue(-15, 1), 1)
	sum.add(codecs.DecimalValue(1000, 6), 3)
	if want := "9223372036854775807998.503"; sum.String() != want {
		t.Errorf("got %s, want %s", sum, want)
	}
	if sum = sum.plus(sum); sum.String() != "18446744073709551615997.006" {
		t.Errorf("twice that is %s", sum)
	}
}
