package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Undecided stands in drafts for the name of a field that somebody must choose. Rules with one do not compile.
const Undecided = "?"

// undecided says which fields there are to choose from.
func (info *streamInfo) undecided(want string, kinds []codecs.Kind) string {
	var fit []string
	for _, f := range info.stream.Declared {
		if slices.Contains(kinds, f.Type) {
			fit = append(fit, f.Name)
		}
	}
	if len(fit) == 0 {
		return fmt.Sprintf("is not decided yet: it needs a field of type %s, and none is declared", want)
	}
	return fmt.Sprintf("is not decided yet: it needs a field of type %s, such as %s", want, strings.Join(fit, " or "))
}

// IsName tells whether s can name a field.
func IsName(s string) bool { return isName(s) }

// IsTopic tells whether s can name a topic.
func IsTopic(s string) bool { return isTopic(s) }

// NameFault says why a name cannot be that of a stream or a table; "" where it can.
func NameFault(name string) string {
	switch {
	case !isName(name):
		return fmt.Sprintf("%q is not a name: letters, digits and '_', not starting with a digit", name)
	case slices.Contains(reservedNames, name):
		return fmt.Sprintf("%q means something else in expressions; choose another name", name)
	}
	return ""
}

// Suggestion returns ` (did you mean "x"?)` for the candidate nearest to a mistyped name, or nothing where none is near.
func Suggestion(name string, candidates []string) string { return suggestion(name, candidates) }
