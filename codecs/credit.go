package codecs

import (
	"bytes"
	"fmt"
	"strconv"
)

// NoClass is the class of a conversion that no touch gets the credit for.
const NoClass = "none"

// Values of `_op` in an upsert.
const (
	OpUpsert = "upsert"
	OpDelete = "delete"
)

// NamedValue is an output field.
type NamedValue struct {
	Name  string
	Value Value
}

// Credit is a row of an attribution rule: what one touch gets of one conversion. An unattributed conversion has the class
// NoClass, a Null TouchID and no credit.
type Credit struct {
	Rule, Model string
	PerTouch    bool  // the model may give a conversion several rows, so the row's key has the touch
	Conversion  Value // the conversion's id
	TouchID     Value
	Touch       string // the touch's stream
	Class       string
	Credit      int64 // micro-credits, 0 to 1,000,000
	EventTime   int64 // the conversion's, microseconds
	Select      []NamedValue
	Measure     []NamedValue // what the touch has of them; Ints and Decimals
}

// AppendFinal appends the row as JSON, without anything of its way there. A measure that is neither an Int nor a Decimal is an error,
// here and in the other two forms, after which what was appended means nothing.
func AppendFinal(dst []byte, c *Credit) ([]byte, error) {
	dst, err := appendCredit(dst, c, 1)
	return append(dst, '}'), err
}

// AppendUpsert appends the row as the JSON of an upsert: op is OpUpsert or OpDelete, and a larger version replaces a
// smaller one.
func AppendUpsert(dst []byte, c *Credit, op string, version uint64, deleted bool, ruleHash string) ([]byte, error) {
	dst, err := appendCredit(dst, c, 1)
	dst = AppendJSONString(append(dst, `,"_op":`...), op)
	dst = strconv.AppendUint(append(dst, `,"_version":`...), version, 10)
	dst = strconv.AppendBool(append(dst, `,"_deleted":`...), deleted)
	dst = AppendJSONString(append(dst, `,"rule_hash":`...), ruleHash)
	return append(dst, '}'), err
}

// AppendDelta appends the row as the JSON of a delta: sign 1 adds it, -1 takes it back, and the credit and the measures
// carry the sign.
func AppendDelta(dst []byte, c *Credit, sign int, reason, deltaID string) ([]byte, error) {
	if sign != 1 && sign != -1 {
		return dst, fmt.Errorf("delta of rule %q: sign %d", c.Rule, sign)
	}
	dst, err := appendCredit(dst, c, sign)
	dst = strconv.AppendInt(append(dst, `,"sign":`...), int64(sign), 10)
	dst = AppendJSONString(append(dst, `,"reason":`...), reason)
	dst = AppendJSONString(append(dst, `,"delta_id":`...), deltaID)
	return append(dst, '}'), err
}

// AppendRowKey appends the key of a row's upserts: rule|model|conversion id, and where a conversion may have several rows
// |touch stream|touch id behind it, unless the row has no touch. Names have no bar in them; in keys of the longer kind bars of ids
// are written %7C and percent signs %25. So different rows have different keys.
func AppendRowKey(dst []byte, c *Credit) []byte {
	dst = append(append(dst, c.Rule...), '|')
	dst = append(append(dst, c.Model...), '|')
	if !c.PerTouch {
		return AppendText(dst, c.Conversion)
	}
	dst = appendPart(dst, c.Conversion)
	if c.TouchID.IsNull() {
		return dst
	}
	dst = append(append(dst, '|'), c.Touch...)
	return appendPart(append(dst, '|'), c.TouchID)
}

// appendPart appends an id without a bar.
func appendPart(dst []byte, id Value) []byte {
	at := len(dst)
	dst = AppendText(dst, id)
	if bytes.IndexByte(dst[at:], '|') < 0 && bytes.IndexByte(dst[at:], '%') < 0 {
		return dst
	}
	text := bytes.ReplaceAll(dst[at:], []byte("%"), []byte("%25"))
	return append(dst[:at], bytes.ReplaceAll(text, []byte("|"), []byte("%7C"))...)
}

// appendCredit appends what all kinds of rows begin with, up to where the kind's own fields go.
func appendCredit(dst []byte, c *Credit, sign int) ([]byte, error) {
	dst = AppendJSONString(append(dst, `{"rule":`...), c.Rule)
	dst = AppendJSONString(append(dst, `,"model":`...), c.Model)
	dst = AppendJSON(append(dst, `,"conversion_id":`...), c.Conversion)
	dst = AppendJSON(append(dst, `,"touch_id":`...), c.TouchID)
	dst = append(dst, `,"touch":`...)
	if c.TouchID.IsNull() {
		dst = append(dst, "null"...)
	} else {
		dst = AppendJSONString(dst, c.Touch)
	}
	dst = AppendJSONString(append(dst, `,"class":`...), c.Class)
	dst = strconv.AppendInt(append(dst, `,"credit":`...), c.Credit*int64(sign), 10)
	dst = append(appendTime(append(dst, `,"event_time":"`...), c.EventTime), '"')
	for _, f := range c.Select {
		dst = appendField(dst, f.Name, f.Value)
	}
	for _, f := range c.Measure {
		v, err := f.Value, error(nil)
		switch {
		case v.Kind != Int && v.Kind != Decimal:
			err = fmt.Errorf("is %s: only int and decimal are exact", v.Kind)
		case sign < 0:
			v, err = Negate(v)
		}
		if err != nil {
			return dst, fmt.Errorf("rule %q, conversion %s: measure %q: %w", c.Rule, AppendText(nil, c.Conversion), f.Name, err)
		}
		dst = appendField(dst, f.Name, v)
	}
	return dst, nil
}

func appendField(dst []byte, name string, v Value) []byte {
	dst = AppendJSONString(append(dst, ','), name)
	return AppendJSON(append(dst, ':'), v)
}
