package codecs

import "fmt"

// Reasons why a record cannot become an event. They are part of the message format: readers of the rejected topic and of
// metrics match on them.
const (
	ReasonTombstone     = "tombstone"      // the record has no value
	ReasonEmpty         = "empty"          // no bytes, or white space alone
	ReasonTooLarge      = "too_large"      // more bytes than the decoder takes
	ReasonMalformedJSON = "malformed_json" // not one JSON object in valid UTF-8, nested too deep, or a field given twice
	ReasonWrongType     = "wrong_type"     // a field's value is not of the declared type
	ReasonOutOfRange    = "out_of_range"   // a number or time that the declared type cannot hold exactly
	ReasonMissingID     = "missing_id"     // the id is absent, null or the empty string
	ReasonMissingTime   = "missing_time"   // the event time is absent or null
)

// Reject says why a record was refused. Reason is one stable word, Message is for people.
type Reject struct {
	Reason  string
	Message string
}

// Error returns the reason and the message.
func (r *Reject) Error() string { return r.Reason + ": " + r.Message }

// Rejectf returns a Reject with a formatted message.
func Rejectf(reason, format string, args ...any) *Reject {
	return &Reject{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
