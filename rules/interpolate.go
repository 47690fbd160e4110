package rules

import (
	"errors"
	"fmt"
	"strings"
)

// lookup returns the value of an environment variable; an error says that the variable is set but cannot be had.
type lookup func(name string) (value string, set bool, err error)

// interpolate replaces ${V}, ${V:-default}, ${V:?message} and $$ in a scalar's text. Any other $ stands for itself, so
// that patterns like "^a$" need no escaping. It tells whether the result holds text from outside the file, which no message may quote.
func interpolate(text string, env lookup) (result string, outside bool, err error) {
	var out strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			out.WriteString(text)
			return out.String(), outside, nil
		}
		out.WriteString(text[:i])
		switch text[i+1] {
		case '$':
			out.WriteByte('$')
			text = text[i+2:]
		case '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return "", false, errors.New("${ without }; write $${ for the characters themselves")
			}
			value, err := expand(text[i+2:i+end], env)
			if err != nil {
				return "", false, err
			}
			out.WriteString(value)
			outside = true
			text = text[i+end+1:]
		default:
			out.WriteByte('$')
			text = text[i+1:]
		}
	}
}

// expand returns what stands for the inside of one ${...}.
func expand(inner string, env lookup) (string, error) {
	name, rest := inner, ""
	if i := strings.IndexByte(inner, ':'); i >= 0 {
		name, rest = inner[:i], inner[i:]
	}
	if !isName(name) {
		return "", fmt.Errorf("${%s}: %q is not the name of an environment variable", inner, name)
	}
	isDefault, isMessage := strings.HasPrefix(rest, ":-"), strings.HasPrefix(rest, ":?")
	if rest != "" && !isDefault && !isMessage {
		return "", fmt.Errorf("${%s}: after the name comes :-default, :?message or nothing", inner)
	}
	value, set, err := env(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("environment variable %s: %w", name, err)
	case isDefault && value == "":
		return rest[2:], nil
	case isMessage && value == "":
		return "", fmt.Errorf("environment variable %s: %s", name, rest[2:])
	case !set:
		return "", fmt.Errorf("environment variable %s is not set; ${%s:-default} gives it a default", name, name)
	}
	return value, nil
}

// isName tells whether s is a name as streams, fields, tables and environment variables have them.
func isName(s string) bool {
	if s == "" || len(s) > 249 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}
