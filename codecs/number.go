package codecs

// problem is why a text is not a value of the wanted type.
type problem uint8

const (
	noProblem problem = iota
	notOfType
	outOfRange
)

// maxDigits is how many significant digits of a number are kept; all that a uint64 can hold.
const maxDigits = 19

// number is a JSON number taken apart, ± coef * 10^exp, where coef has no trailing zeros.
type number struct {
	coef   uint64
	digits int // of coef
	exp    int
	neg    bool
	cut    bool // there were more digits: the number lies between coef and coef+1
}

// parseNumber takes apart what numberLen accepted.
func parseNumber(b []byte) number {
	var n number
	i := 0
	if b[0] == '-' {
		n.neg = true
		i++
	}
	zeros := 0 // read but not yet part of coef
	fraction := false
	for ; i < len(b); i++ {
		c := b[i]
		if c == '.' {
			fraction = true
			continue
		}
		if c > '9' {
			break
		}
		if fraction {
			n.exp--
		}
		switch {
		case c == '0' && n.coef == 0:
		case c == '0':
			zeros++
		case n.cut || n.digits+zeros+1 > maxDigits:
			n.cut = true
			zeros++
		default:
			for ; zeros > 0; zeros-- {
				n.coef *= 10
				n.digits++
			}
			n.coef = n.coef*10 + uint64(c-'0')
			n.digits++
		}
	}
	n.exp += zeros
	if i < len(b) {
		n.exp += parseExponent(b[i+1:])
	}
	if n.coef == 0 {
		return number{}
	}
	return n
}

// parseExponent saturates far beyond any exponent that another part of a record could make up for.
func parseExponent(b []byte) int {
	neg := b[0] == '-'
	if neg || b[0] == '+' {
		b = b[1:]
	}
	e := 0
	for _, c := range b {
		if e < 1<<40 {
			e = e*10 + int(c-'0')
		}
	}
	if neg {
		return -e
	}
	return e
}

// scaled returns coef * 10^exp for exp >= 0, or false where it exceeds limit.
func scaled(coef uint64, exp int, limit uint64) (uint64, bool) {
	for ; exp > 0 && coef != 0; exp-- {
		if coef > limit/10 {
			return 0, false
		}
		coef *= 10
	}
	return coef, coef <= limit
}

// int64 returns the number as an integer; 1.0 and 1e3 are integers too.
func (n number) int64() (int64, problem) {
	switch {
	case n.exp < 0:
		return 0, notOfType
	case n.cut:
		return 0, outOfRange
	}
	limit := uint64(1<<63 - 1)
	if n.neg {
		limit++
	}
	u, ok := scaled(n.coef, n.exp, limit)
	if !ok {
		return 0, outOfRange
	}
	if n.neg {
		u = -u
	}
	return int64(u), noProblem
}

// smallInt reads what numberLen called an integer, if it is short enough not to overflow.
func smallInt(b []byte) (n int64, ok bool) {
	if len(b) > 18 {
		return 0, false
	}
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if b[0] == '-' {
		n = -n
	}
	return n, true
}
