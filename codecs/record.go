package codecs

import "strconv"

// Record is one record to be written to a topic.
type Record struct {
	Topic       string
	Partition   int32  // -1: chosen by the hash of PartitionBy, or of Key where PartitionBy is nil
	Key         []byte // nil: no key
	PartitionBy []byte // hashed instead of Key, where rows of several keys belong together
	Value       []byte // nil: a tombstone
	Headers     []Header
	Timestamp   int64 // microseconds since 1970 UTC; Kafka keeps milliseconds of it
}

// Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Names of the headers that a rejected or late record carries. All but the last are those of KIP-1034, so that what reads
// dead letters of Kafka Streams reads these.
const (
	HeaderException = "__streams.errors.exception" // the reason
	HeaderMessage   = "__streams.errors.message"
	HeaderTopic     = "__streams.errors.topic"
	HeaderPartition = "__streams.errors.partition" // decimal text, as the offset is
	HeaderOffset    = "__streams.errors.offset"
	HeaderRule      = "lookback.rule"
)

// RejectHeaders returns the headers that say why and where from a record was refused. An empty rule means that no rule
// in particular refused it.
func RejectHeaders(reason, message, rule string, o Origin) []Header {
	headers := []Header{
		{HeaderException, []byte(reason)},
		{HeaderMessage, []byte(message)},
		{HeaderTopic, []byte(o.Topic)},
		{HeaderPartition, strconv.AppendInt(nil, int64(o.Partition), 10)},
		{HeaderOffset, strconv.AppendInt(nil, o.Offset, 10)},
	}
	if rule != "" {
		headers = append(headers, Header{HeaderRule, []byte(rule)})
	}
	return headers
}
