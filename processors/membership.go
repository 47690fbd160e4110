package processors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// What members of a group tell their leader, and what it tells them besides their partitions, begins with the version of the
// format. Within a version, members that know more and members that know less understand each other: the rest is JSON.
const membershipVersion = 1

var errMembership = errors.New("corrupt membership data")

// subscription is what a member says of itself when it joins.
type subscription struct {
	Instance   string   `json:"instance,omitempty"`
	Generation int32    `json:"generation,omitempty"` // of its last assignment, to which the rest refers
	Had        []int32  `json:"had,omitempty"`        // partitions it was assigned
	Warm       []int32  `json:"warm,omitempty"`       // partitions whose table it has a copy of that is close to the present
	Stale      []int32  `json:"stale,omitempty"`      // the same, further behind
	Roster     []string `json:"roster,omitempty"`     // as in its assignment
}

// directive is what the leader tells a member besides its partitions.
type directive struct {
	Standby []int32 `json:"standby,omitempty"` // partitions whose table to keep a copy of

	// Roster has the instances that are in the group in this generation, and those that have left it and may have a
	// transaction open.
	Roster []string `json:"roster,omitempty"`
}

func encodeMembership(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte{membershipVersion}, data...), nil
}

// decodeSubscription reads what a member says. Nothing is what a member says that has just started; members of the first
// releases say their generation and their partitions, in four bytes each, of which the first is 0.
func decodeSubscription(data []byte) (s subscription, err error) {
	if len(data) > 0 && data[0] == 0 {
		if len(data)%4 != 0 {
			return s, errMembership
		}
		s.Generation = int32(binary.BigEndian.Uint32(data))
		for i := 4; i < len(data); i += 4 {
			s.Had = append(s.Had, int32(binary.BigEndian.Uint32(data[i:])))
		}
		return s, nil
	}
	return s, decodeMembership(data, &s)
}

// decodeDirective reads what the leader says; leaders of the first releases say nothing.
func decodeDirective(data []byte) (d directive, err error) {
	return d, decodeMembership(data, &d)
}

func decodeMembership(data []byte, into any) error {
	switch {
	case len(data) == 0:
		return nil
	case data[0] != membershipVersion:
		return fmt.Errorf("%w: version %d is not known", errMembership, data[0])
	}
	if err := json.Unmarshal(data[1:], into); err != nil {
		return fmt.Errorf("%w: %w", errMembership, err)
	}
	return nil
}
