package codecs

// A row's version is a count of accepted events below an epoch. The count grows while a table lives. The epoch is raised
// when rows are computed anew by a table that begins from nothing, so that they replace what was there before. Both fit
// into 53 bits: readers that keep numbers as IEEE doubles lose nothing, and signed 64-bit columns hold them.
//
// A count that outgrows its 41 bits (a partition's at 100,000 events per second, after eight months) goes on into the
// epoch, so versions still grow.
const versionCountBits = 41

// MaxEpoch is the last epoch that versions have room for.
const MaxEpoch = 1<<(53-versionCountBits) - 1

// EpochOf returns the epoch of a version, or of a Meta's Accepted.
func EpochOf(version uint64) uint64 { return version >> versionCountBits }

// FirstVersion returns what a Meta's Accepted begins with in an epoch: every version behind it is of that epoch or later.
func FirstVersion(epoch uint64) uint64 { return epoch << versionCountBits }
