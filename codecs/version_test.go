package codecs

import "testing"

func TestVersionsOfALaterEpochAreLargerAndExactAsDoubles(t *testing.T) {
	for _, epoch := range []uint64{0, 1, 2, 1000, MaxEpoch} {
		first, last := FirstVersion(epoch), FirstVersion(epoch+1)-1
		if EpochOf(first) != epoch || EpochOf(last) != epoch {
			t.Errorf("versions %d to %d are of epochs %d and %d, want %d", first, last, EpochOf(first), EpochOf(last), epoch)
		}
		if uint64(float64(last)) != last || float64(last) == float64(last-1) {
			t.Errorf("version %d is not exact as a double", last)
		}
	}
}
