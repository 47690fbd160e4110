package codecs

import "encoding/binary"

// Murmur2 is the hash of Kafka's default partitioner, bit for bit (Utils.murmur2 of the Java client).
func Murmur2(key []byte) int32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return int32(h ^ h>>15)
}

// PartitionOf returns the partition that a Java producer with default settings would choose for the key among n > 0
// partitions. It masks the sign bit, as Java does; taking the absolute value would differ for half of the keys.
func PartitionOf(key []byte, n int32) int32 { return (Murmur2(key) & 0x7fffffff) % n }
