package codecs

import (
	"encoding/binary"
	"testing"
)

// Vectors of UtilsTest.testMurmur2 in Apache Kafka's Java client.
func TestMurmur2IsJavas(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := Murmur2([]byte(key)); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionOfMasksTheSign(t *testing.T) {
	// The absolute value would give 973932308 % 10 = 8.
	if got := PartitionOf([]byte("21"), 10); got != (-973932308&0x7fffffff)%10 {
		t.Errorf("partition of a key with a negative hash: %d", got)
	}
	hit := map[int32]bool{}
	for i := range uint32(1000) {
		p := PartitionOf(binary.BigEndian.AppendUint32(nil, i), 7)
		if p < 0 || p >= 7 {
			t.Fatalf("partition %d of 7", p)
		}
		hit[p] = true
	}
	if len(hit) != 7 {
		t.Errorf("1000 keys reach %d of 7 partitions", len(hit))
	}
}
