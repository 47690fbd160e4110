package rules

import (
	"bytes"
	"crypto/sha256"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Precedes tells which of two rows with the same stream and id is the event: the one with the smaller time, then the
// smaller content hash. Never the first to arrive.
func Precedes(a, b codecs.Row) bool {
	if a.Time() != b.Time() {
		return a.Time() < b.Time()
	}
	ha, hb := sha256.Sum256(a), sha256.Sum256(b)
	return bytes.Compare(ha[:], hb[:]) < 0
}
