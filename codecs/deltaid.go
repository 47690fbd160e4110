package codecs

import "crypto/sha1"

// uuid is a UUID of RFC 4122.
type uuid [16]byte

// lookbackNamespace is the namespace of all ids that Lookback makes: the version 5 UUID of the name "lookback" in the
// null namespace, 6d8ec1cb-289b-582e-8352-342aacdcc198. It is part of the message formats and never changes.
var lookbackNamespace = uuidV5(uuid{}, []byte("lookback"))

// uuidV5 returns the name-based UUID (SHA-1) of RFC 4122, section 4.3.
func uuidV5(namespace uuid, name []byte) (u uuid) {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write(name)
	var sum [sha1.Size]byte
	copy(u[:], h.Sum(sum[:0]))
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u
}

// DeltaID returns the id of a delta: the version 5 UUID of the row's key, its class and touch, the sign, and the row of
// the event that caused the change, its id and content (without what tables said when it came). So the same change of
// the same set of events has the same id in every run, and readers can drop what was delivered twice. cause may be nil
// where no event caused it.
func DeltaID(c *Credit, sign int, cause Row) string {
	var buf [512]byte
	key := AppendRowKey(buf[:0:128], c)
	name := appendBytes(buf[128:128], key)
	name = appendString(name, c.Class)
	name = appendString(name, c.Touch)
	name = AppendValue(name, c.TouchID)
	name = append(name, byte(sign))
	name = append(name, cause...)
	id := uuidV5(lookbackNamespace, name)
	return unpackUUID(id[:])
}
