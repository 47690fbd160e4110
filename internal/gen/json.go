package gen

import "strconv"

// Domains keep the ids of different things apart.
const (
	userDomain = iota
	auctionDomain
	impressionDomain // the record ids: impressionDomain + stream
)

// appendUUID appends the text of the UUID that belongs to a number in a domain.
func (g *Generator) appendUUID(dst []byte, domain int, n uint64) []byte {
	hi := mix64(n ^ g.salts[domain])
	lo := mix64(hi + n)
	hi = hi&^0xf000 | 0x4000 // version 4
	lo = lo&^(3<<62) | 1<<63 // variant of RFC 4122
	const hex = "0123456789abcdef"
	var s [36]byte
	at := 0
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			s[at] = '-'
			at++
		}
		w := hi
		if i >= 16 {
			w = lo
		}
		s[at] = hex[w>>(60-4*(i&15))&15]
		at++
	}
	return append(dst, s[:]...)
}

// mix64 is the output function of SplitMix64, a bijection.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// appendValue appends the record as it goes over the wire, broken if its kind says so.
func (g *Generator) appendValue(dst []byte, e *event) []byte {
	switch e.kind {
	case Empty:
		return dst
	case NotJSON:
		return append(dst, "503 Service Unavailable"...)
	}
	start := len(dst)
	dst = append(dst, '{')
	if e.kind != MissingID {
		dst = append(append(append(dst, '"'), streamNames[e.stream]...), `_id":"`...)
		dst = append(g.appendUUID(dst, impressionDomain+int(e.stream), e.n), `",`...)
	}
	if e.kind != MissingTime {
		dst = append(strconv.AppendInt(append(dst, `"event_ts":`...), e.time/microsPerMilli, 10), ',')
	}
	if e.kind == WrongType {
		dst = strconv.AppendUint(append(dst, `"user_id":`...), uint64(e.user), 10)
	} else {
		dst = append(g.appendUUID(append(dst, `"user_id":"`...), userDomain, uint64(e.user)), '"')
	}
	dst = append(strconv.AppendUint(append(dst, `,"advertiser_id":"adv-`...), uint64(e.advertiser), 10), '"')
	if e.stream != conversion {
		dst = append(g.appendUUID(append(dst, `,"auction_id":"`...), auctionDomain, e.auction), '"')
	}
	if e.stream != click {
		dst = appendOfAdvertiser(append(dst, `,"pixel_id":"px-`...), e.advertiser, e.pixel)
	}
	switch e.stream {
	case impression:
		dst = appendOfAdvertiser(append(dst, `,"campaign_id":"cmp-`...), e.advertiser, e.campaign)
		dst = appendCents(append(dst, `,"price":`...), e.cents)
	case conversion:
		dst = appendCents(append(dst, `,"value":`...), e.cents)
	}
	if e.kind == Truncated {
		return dst[:start+(len(dst)-start)*2/3]
	}
	return append(dst, '}')
}

func appendOfAdvertiser(dst []byte, advertiser uint16, n uint8) []byte {
	dst = append(strconv.AppendUint(dst, uint64(advertiser), 10), '-')
	return append(strconv.AppendUint(dst, uint64(n), 10), '"')
}

func appendCents(dst []byte, cents uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(cents/100), 10)
	return append(dst, '.', byte('0'+cents/10%10), byte('0'+cents%10))
}
