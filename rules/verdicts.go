package rules

// Verdict is what becomes of a touch for one conversion.
type Verdict string

// The verdicts on a touch that is no candidate. Of several ways to be one, with different classes and parents, that one counts which
// comes furthest in this order.
const (
	AfterConversion Verdict = "after_conversion" // it is not before the conversion
	NoParent        Verdict = "no_parent"        // there is nothing that its join could refer to
	JoinDiffers     Verdict = "join_differs"     // fields that must be equal are not
	ParentGap       Verdict = "parent_gap"       // its parent is not before it, or by more than max_gap
	TooSoon         Verdict = "too_soon"         // its lag is shorter than the class's min
	OutsideWindow   Verdict = "outside_window"   // its lag is longer than the class's within
	ParentWindow    Verdict = "parent_window"    // its parent is longer ago than parent_within
	JoinFalse       Verdict = "join_false"       // what a join says beyond equalities is false
	Filtered        Verdict = "filtered"         // the class's where is false
	Expired         Verdict = "expired"          // by its own terms, the class's expires
	CameLate        Verdict = "late"             // it, or its parent, was accepted late, for conversions after this one
)

// The verdicts on a candidate, or on what would be one if there were no other.
const (
	Credited      Verdict = "credited"          // it has credit under some model
	OtherClass    Verdict = "other_class_first" // a class of a higher rank has a candidate
	OfOneParent   Verdict = "other_of_parent"   // by the rule's per_parent another touch of its parent is the candidate
	OwnTouch      Verdict = "own_touch_first"   // what came of it, such as its click, is a candidate itself
	LowerPriority Verdict = "lower_priority"    // the winner has a larger priority
	Earlier       Verdict = "earlier"           // the winner is later
	NoWeight      Verdict = "no_weight"         // no model gives it anything
	Refused       Verdict = "refused"           // it won, and the rule's require is false for it
	WinnerRefused Verdict = "winner_refused"    // another won, and was refused
	Invalidated   Verdict = "invalidated"       // another event has taken it out
	Retired       Verdict = "retired"           // it lost an earlier conversion, and is out by the rule's retire
	WinnerSilent  Verdict = "winner_silent"     // another won a conversion that does not count
)

// The verdicts on the winner of a conversion that does not count.
const (
	Deduplicated Verdict = "deduplicated" // another conversion has used the dedup key on this touch
	OverBudget   Verdict = "over_budget"  // the touch's budget is used up
	Replaced     Verdict = "replaced"     // a conversion of a higher priority has its place in the touch's budget
	NotFirst     Verdict = "not_first"    // by one_per_touch or one_per_key an earlier conversion counts
)

// verdictOrder has the verdicts on touches that are no candidates.
var verdictOrder = []Verdict{AfterConversion, NoParent, JoinDiffers, ParentGap, TooSoon, OutsideWindow, ParentWindow, JoinFalse, Filtered, Expired, CameLate}

// silence says why a conversion does not count.
var silence = map[Verdict]string{
	Deduplicated: "another conversion has used its dedup key on this touch",
	OverBudget:   "the budget of the touch is used up",
	Replaced:     "a conversion of a higher priority has its place in the budget of the touch",
	NotFirst:     "an earlier conversion counts instead",
}
