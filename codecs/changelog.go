package codecs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Keys of a changelog topic. An event's entry has a key of its own, so that a write does not grow with the history:
//
//	entry    key length (at least 1), key, stream, encoded id
//	meta     0 1
//	mark     0 2 key
//	barrier  0 3 instance
//
// Values start with the version of their format. An entry's value goes on with the row; meta and mark go on with tagged
// members, (tag, length, bytes)*, by ascending tag and without those that are zero, so that members can be added: a
// reader skips tags that it does not know.
const changelogVersion = 1

// ChangelogKind says what a record of a changelog is about.
type ChangelogKind uint8

// The kinds of changelog records.
const (
	ChangelogEntry   ChangelogKind = iota // an event of a key's history
	ChangelogMeta                         // the partition's Meta
	ChangelogMark                         // a key's Mark
	ChangelogBarrier                      // written and read back to find the end of the topic; it changes nothing
)

// ChangelogKey is the key of a changelog record, taken apart.
type ChangelogKey struct {
	Kind     ChangelogKind
	Key      []byte // entries and marks: the rule's key, its fields' values, one after the other
	Stream   int    // entries
	ID       []byte // entries: the encoded id
	Instance []byte // barriers: who wrote it
}

// AppendEntryKey appends the changelog key of an event: the rule's key, the stream and the encoded id.
func AppendEntryKey(dst, key []byte, stream int, id []byte) []byte {
	dst = appendBytes(dst, key)
	dst = append(dst, byte(stream))
	return append(dst, id...)
}

// AppendMetaKey appends the changelog key of the partition's Meta.
func AppendMetaKey(dst []byte) []byte { return append(dst, 0, byte(ChangelogMeta)) }

// AppendMarkKey appends the changelog key of a key's Mark.
func AppendMarkKey(dst, key []byte) []byte {
	return append(append(dst, 0, byte(ChangelogMark)), key...)
}

// AppendBarrierKey appends the changelog key of an instance's barrier.
func AppendBarrierKey(dst []byte, instance string) []byte {
	return append(append(dst, 0, byte(ChangelogBarrier)), instance...)
}

// DecodeChangelogKey takes a changelog key apart; the parts alias b.
func DecodeChangelogKey(b []byte) (ChangelogKey, error) {
	r := wireReader{b: b}
	key := r.bytes()
	var k ChangelogKey
	if key != nil {
		k = ChangelogKey{Key: key, Stream: int(r.byte()), ID: r.b}
		n, err := CheckValue(k.ID)
		r.bad = r.bad || err != nil || n != len(k.ID) || IsNullValue(k.ID)
	} else {
		k.Kind = ChangelogKind(r.byte())
		switch k.Kind {
		case ChangelogMeta:
			r.bad = r.bad || len(r.b) != 0
		case ChangelogMark:
			k.Key = r.b
		case ChangelogBarrier:
			k.Instance = r.b
		default:
			r.fail()
		}
	}
	if !r.bad && (k.Kind == ChangelogEntry || k.Kind == ChangelogMark) {
		r.bad = !validKey(k.Key)
	}
	if r.bad {
		return ChangelogKey{}, fmt.Errorf("changelog key: %w", errCorrupt)
	}
	return k, nil
}

// KeyValues returns the values of a key of so many fields, which CheckKey has not refused. Their strings are copies.
func KeyValues(key []byte, fields int) []Value {
	values := make([]Value, fields)
	for i := range values {
		values[i] = decodeValue(key)
		key = key[valueLen(key):]
	}
	return values
}

// CheckKey tells whether key is that of a rule whose key has the given number of fields: as many values, none of them
// null. Keys that come from a topic pass it before anything is kept under them.
func CheckKey(key []byte, fields int) error {
	at := 0
	for range fields {
		n, err := CheckValue(key[at:])
		if err != nil || IsNullValue(key[at:]) {
			return fmt.Errorf("key: %w", errCorrupt)
		}
		at += n
	}
	if at != len(key) {
		return fmt.Errorf("key: %w", errCorrupt)
	}
	return nil
}

func validKey(key []byte) bool {
	for at := 0; at < len(key); {
		n, err := CheckValue(key[at:])
		if err != nil {
			return false
		}
		at += n
	}
	return len(key) > 0
}

// AppendEntry appends the value of an entry.
func AppendEntry(dst []byte, row Row) []byte { return append(append(dst, changelogVersion), row...) }

// DecodeEntry returns the row of an entry's value, which aliases it, after checking that it is one of the key's stream and
// id with the given number of fields.
func DecodeEntry(key ChangelogKey, value []byte, fields int) (Row, error) {
	b, err := checkVersion(value)
	if err == nil {
		err = CheckRow(b, fields)
	}
	if err != nil {
		return nil, fmt.Errorf("changelog entry: %w", err)
	}
	row := Row(b)
	if row.Stream() != key.Stream || !bytes.Equal(row.ID(), key.ID) {
		return nil, fmt.Errorf("changelog entry: the row is not its key's: %w", errCorrupt)
	}
	return row, nil
}

// CheckedRow returns the row of an entry whose content is known to be sound: its value was decoded before, or encoded here, and
// has not changed since.
func CheckedRow(value []byte) (Row, error) {
	b, err := checkVersion(value)
	if err != nil {
		return nil, fmt.Errorf("changelog entry: %w", err)
	}
	return Row(b), nil
}

func checkVersion(value []byte) ([]byte, error) {
	switch {
	case len(value) == 0:
		return nil, errCorrupt
	case value[0] != changelogVersion:
		return nil, fmt.Errorf("unknown format version %d", value[0])
	}
	return value[1:], nil
}

// Meta is what a partition knows beside its histories.
type Meta struct {
	Watermark int64    // microseconds
	Accepted  uint64   // events accepted so far, above FirstVersion of an epoch; what _version counts
	Sources   []Source // how far the inputs had been read
	Rules     string   // hash of the rules that the state was built with
}

// Source is how far one source partition has been read.
type Source struct {
	Stream    int // rank
	Partition int32
	Time      int64 // largest event time so far, microseconds
	Idle      bool  // read to its end, and nothing came for a while
}

// Mark is what is remembered about a key beside its history.
type Mark struct {
	Evicted uint64 // events that left because there were too many
}

// Tags of members. They are never reused.
const (
	metaWatermark = 1
	metaAccepted  = 2
	metaSources   = 3
	metaRules     = 4
	markEvicted   = 1
)

// AppendMeta appends the value of a partition's Meta.
func AppendMeta(dst []byte, m *Meta) []byte {
	dst = append(dst, changelogVersion)
	if m.Watermark != 0 {
		dst = appendMember(dst, metaWatermark, binary.AppendVarint(nil, m.Watermark))
	}
	if m.Accepted != 0 {
		dst = appendMember(dst, metaAccepted, binary.AppendUvarint(nil, m.Accepted))
	}
	if len(m.Sources) != 0 {
		dst = appendMember(dst, metaSources, appendSources(nil, m.Sources))
	}
	if m.Rules != "" {
		dst = appendMember(dst, metaRules, []byte(m.Rules))
	}
	return dst
}

// DecodeMeta reads the value of a partition's Meta.
func DecodeMeta(value []byte) (Meta, error) {
	var m Meta
	err := eachMember(value, func(tag uint64, r *wireReader) {
		switch tag {
		case metaWatermark:
			m.Watermark = r.varint()
		case metaAccepted:
			m.Accepted = r.uvarint()
		case metaSources:
			m.Sources = r.sources(nil)
		case metaRules:
			m.Rules = string(r.rest())
		default:
			r.rest()
		}
	})
	if err != nil {
		return Meta{}, fmt.Errorf("changelog meta: %w", err)
	}
	return m, nil
}

// AppendMark appends the value of a key's Mark.
func AppendMark(dst []byte, m Mark) []byte {
	dst = append(dst, changelogVersion)
	if m.Evicted != 0 {
		dst = appendMember(dst, markEvicted, binary.AppendUvarint(nil, m.Evicted))
	}
	return dst
}

// DecodeMark reads the value of a key's Mark.
func DecodeMark(value []byte) (Mark, error) {
	var m Mark
	err := eachMember(value, func(tag uint64, r *wireReader) {
		if tag == markEvicted {
			m.Evicted = r.uvarint()
			return
		}
		r.rest()
	})
	if err != nil {
		return Mark{}, fmt.Errorf("changelog mark: %w", err)
	}
	return m, nil
}

func appendMember(dst []byte, tag uint64, member []byte) []byte {
	return appendBytes(binary.AppendUvarint(dst, tag), member)
}

// eachMember calls read with a reader over each member, which read must take in full.
func eachMember(value []byte, read func(tag uint64, r *wireReader)) error {
	b, err := checkVersion(value)
	if err != nil {
		return err
	}
	r := wireReader{b: b}
	for last := uint64(0); len(r.b) > 0; {
		tag := r.count(math.MaxInt32)
		member := wireReader{b: r.bytes()}
		if r.bad || tag <= last {
			return errCorrupt
		}
		last = tag
		if read(tag, &member); member.bad || len(member.b) != 0 {
			return fmt.Errorf("member %d: %w", tag, errCorrupt)
		}
	}
	if r.bad {
		return errCorrupt
	}
	return nil
}
