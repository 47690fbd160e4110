package codecs

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Records of a repartition topic start with the version and the kind of record; their key is the event's Key.
//
//	event      1 1 layout(4) partition offset timestamp | key length, key, value length, value | row
//	watermark  1 2 sender length, sender, sources, (stream partition time idle)*
//
// Numbers are varints. The row reaches to the end.
const (
	shuffleVersion   = 1
	shuffleEvent     = 1
	shuffleWatermark = 2
)

// Shuffle is an event on its way to the processor of its key.
type Shuffle struct {
	Layout uint32 // fingerprint of the stream's Layout
	Row    Row
	Origin Origin // Topic is not sent: the stream implies it

	// The source record, for an event that may turn out to be late; nil otherwise.
	OriginalKey []byte
	Original    []byte
}

// Watermark tells a processor how far one sender has read its sources.
type Watermark struct {
	Sender  string // the instance
	Sources []Source
}

// AppendShuffle appends the record of an event.
func AppendShuffle(dst []byte, s *Shuffle) []byte {
	dst = append(dst, shuffleVersion, shuffleEvent)
	dst = binary.BigEndian.AppendUint32(dst, s.Layout)
	dst = binary.AppendUvarint(dst, uint64(s.Origin.Partition))
	dst = binary.AppendUvarint(dst, uint64(s.Origin.Offset))
	dst = binary.AppendVarint(dst, s.Origin.Timestamp)
	dst = appendBytes(dst, s.OriginalKey)
	dst = appendBytes(dst, s.Original)
	return append(dst, s.Row...)
}

// AppendWatermark appends the record of a watermark.
func AppendWatermark(dst []byte, w *Watermark) []byte {
	dst = append(dst, shuffleVersion, shuffleWatermark)
	dst = appendString(dst, w.Sender)
	return appendSources(dst, w.Sources)
}

// DecodeShuffle reads a record of a repartition topic into s, or into w where it is a watermark. What it returns aliases
// b; w's slice is reused. layouts has the layouts of all streams by rank: a row of another layout is an error that wraps
// ErrOtherLayout.
func DecodeShuffle(b []byte, layouts []Layout, s *Shuffle, w *Watermark) (watermark bool, err error) {
	r := wireReader{b: b}
	if version := r.byte(); !r.bad && version != shuffleVersion {
		return false, fmt.Errorf("shuffle record: unknown format version %d", version)
	}
	switch r.byte() {
	case shuffleEvent:
		err = r.event(layouts, s)
	case shuffleWatermark:
		watermark = true
		w.Sender = string(r.bytes())
		w.Sources = r.sources(w.Sources[:0])
		if r.bad || len(r.b) != 0 {
			err = errCorrupt
		}
	default:
		err = errCorrupt
	}
	if err != nil {
		return false, fmt.Errorf("shuffle record: %w", err)
	}
	return watermark, nil
}

func (r *wireReader) event(layouts []Layout, s *Shuffle) error {
	s.Layout = r.uint32()
	s.Origin = Origin{
		Partition: int32(r.count(math.MaxInt32)),
		Offset:    int64(r.count(math.MaxInt64)),
		Timestamp: r.varint(),
	}
	s.OriginalKey = r.bytes()
	s.Original = r.bytes()
	s.Row = Row(r.b)
	if r.bad || len(s.Row) == 0 {
		return errCorrupt
	}
	rank := s.Row.Stream()
	if rank >= len(layouts) {
		return fmt.Errorf("stream %d: %w", rank, ErrOtherLayout)
	}
	if layouts[rank].Fingerprint != s.Layout {
		return ErrOtherLayout
	}
	return CheckRow(s.Row, layouts[rank].Fields)
}

func appendSources(dst []byte, sources []Source) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(sources)))
	for _, src := range sources {
		dst = binary.AppendUvarint(dst, uint64(src.Stream))
		dst = binary.AppendUvarint(dst, uint64(src.Partition))
		dst = binary.AppendVarint(dst, src.Time)
		idle := byte(0)
		if src.Idle {
			idle = 1
		}
		dst = append(dst, idle)
	}
	return dst
}

func (r *wireReader) sources(dst []Source) []Source {
	const shortest = 4 // bytes of a source; bounds what a corrupt count can make us allocate
	for n := r.count(uint64(len(r.b)) / shortest); n > 0 && !r.bad; n-- {
		src := Source{
			Stream:    int(r.count(math.MaxUint8)),
			Partition: int32(r.count(math.MaxInt32)),
			Time:      r.varint(),
		}
		idle := r.byte()
		if idle > 1 {
			r.fail()
		}
		src.Idle = idle == 1
		dst = append(dst, src)
	}
	return dst
}
