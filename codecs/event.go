package codecs

// Event is the one input message: a record of a stream, decoded and cleansed. Who decodes it owns it; it may be reused
// for the next record, so whoever keeps something of it copies (AppendRow does).
type Event struct {
	Stream int     // the stream's rank in the rules file
	Time   int64   // event time, microseconds since 1970 UTC
	ID     Value   // the record's id within stream and key; never Null
	Fields []Value // one per slot of the stream's layout; the first Kept of them are what the state keeps
	Origin Origin
}

// Value returns what a slot of the event holds; SlotID and SlotTime are slots too.
func (e *Event) Value(slot int) Value {
	switch slot {
	case SlotID:
		return e.ID
	case SlotTime:
		return TimeValue(e.Time)
	}
	return e.Fields[slot]
}

// Origin says where a record came from. The zero Origin is a record of a file without `_ts`.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // the record's Kafka timestamp in microseconds, 0 where it has none
}

// Slots beyond the stored fields, for what every row carries anyway.
const (
	SlotID   = -1 // the row's id
	SlotTime = -2 // the row's event time
)
