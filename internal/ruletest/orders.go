package ruletest

import (
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/seed-2058fbc3/lookback/rules"
)

// written is the order of the lines, as indexes of what is given.
func written(t *rules.Test) (order []int) {
	for i, a := range t.Given {
		order = append(order, i)
		if t.Order.Duplicated && a.Stream >= 0 {
			order = append(order, i)
		}
	}
	return order
}

// orders yields the orders of arrival that a test wants, the written one first. What is yielded is valid until the next one.
func orders(t *rules.Test) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		switch {
		case t.Order.Every:
			// The events are permuted, and the second copy of each follows the first.
			permute(len(t.Given), func(order []int) bool {
				if !t.Order.Duplicated {
					return yield(order)
				}
				var twice []int
				for _, i := range order {
					twice = append(twice, i, i)
				}
				return yield(twice)
			})
		case yield(written(t)):
			order := written(t)
			random := rand.New(rand.NewPCG(t.Order.Seed, 0))
			for range t.Order.Shuffled {
				random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
				if !yield(order) {
					return
				}
			}
		}
	}
}

// permute calls yield with every permutation of 0 to n-1 in lexicographic order, until it returns false.
func permute(n int, yield func([]int) bool) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for {
		if !yield(order) {
			return
		}
		i := n - 2
		for i >= 0 && order[i] > order[i+1] {
			i--
		}
		if i < 0 {
			return
		}
		j := n - 1
		for order[j] < order[i] {
			j--
		}
		order[i], order[j] = order[j], order[i]
		slices.Reverse(order[i+1:])
	}
}
