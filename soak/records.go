package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of rules.yaml on what is accepted.
const (
	maxAge   = 6 * hour
	maxSkew  = 30 * minute
	lateness = 10 * minute
)

// text is a JSON string that may be missing.
type text struct {
	present bool
	string
}

func (t *text) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	t.present = true
	return json.Unmarshal(b, &t.string)
}

// number is a JSON number, or one in a string, as its text.
type number string

func (n *number) UnmarshalJSON(b []byte) error {
	*n = number(bytes.Trim(b, `"`))
	return nil
}

// fields are those that some stream has.
type fields struct {
	Impression text `json:"impression_id"`
	Click      text `json:"click_id"`
	Conversion text `json:"conversion_id"`
	View       text `json:"view_id"`
	Tap        text `json:"tap_id"`
	Order      text `json:"order_id"`

	Time       number `json:"event_ts"`
	User       text   `json:"user_id"`
	Advertiser text   `json:"advertiser_id"`
	Auction    text   `json:"auction_id"`
	Pixel      text   `json:"pixel_id"`
	Campaign   text   `json:"campaign_id"`
	Value      number `json:"value"`
}

func (f *fields) id(s *stream) text {
	return map[string]text{
		"impression": f.Impression, "click": f.Click, "conversion": f.Conversion, "view": f.View, "tap": f.Tap, "order": f.Order,
	}[s.name]
}

// read turns an input record into an event, or says for which reason it must be rejected.
func read(s *stream, value []byte, sent int64) (e *event, reason string, err error) {
	switch {
	case value == nil:
		return nil, "tombstone", nil
	case len(bytes.TrimSpace(value)) == 0:
		return nil, "empty", nil
	case !json.Valid(value) || !utf8.Valid(value):
		return nil, "malformed_json", nil
	}
	var f fields
	if err := json.Unmarshal(value, &f); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return nil, "wrong_type", nil
		}
		return nil, "", err
	}
	id := f.id(s)
	switch {
	case !id.present || id.string == "":
		return nil, "missing_id", nil
	case f.Time == "" || f.Time == "null":
		return nil, "missing_time", nil
	}
	at, err := instant(string(f.Time))
	if err != nil {
		return nil, "", err
	}
	switch {
	case sent-at > maxAge:
		return nil, "over_age", nil
	case at-sent > maxSkew:
		return nil, "future_time", nil
	case f.User.string == "":
		return nil, "filtered", nil
	case s.account && !f.Advertiser.present:
		return nil, "missing_key", nil
	}
	e = &event{
		stream: s, id: id.string, key: f.User.string, at: at, sent: sent,
		auction: f.Auction.string, pixel: f.Pixel.string, campaign: f.Campaign.string,
	}
	if s.account {
		e.key += " " + f.Advertiser.string
	}
	if f.Value != "" {
		e.value, err = millionths(string(f.Value))
	}
	return e, "", err
}

// instant reads a time as microseconds: RFC 3339, or a number whose magnitude says the unit.
func instant(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case n >= 1e14:
			return n, nil
		case n >= 1e11:
			return n * 1000, nil
		}
		return n * second, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UnixMicro(), err
}

// millionths reads an exact decimal.
func millionths(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if len(fraction) > 6 {
		return 0, fmt.Errorf("number %q has more than six decimals", s)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
	if negative {
		n = -n
	}
	return n, err
}

// output is a row as it stands in an output topic: a delta or an upsert.
type output struct {
	Rule       string  `json:"rule"`
	Model      string  `json:"model"`
	Conversion string  `json:"conversion_id"`
	TouchID    *string `json:"touch_id"`
	Touch      *string `json:"touch"`
	Class      string  `json:"class"`
	Credit     int64   `json:"credit"`
	EventTime  string  `json:"event_time"`
	Campaign   *string `json:"campaign_id"`
	Revenue    number  `json:"revenue"`

	Sign    int    `json:"sign"`
	DeltaID string `json:"delta_id"`
	Op      string `json:"_op"`
	Version uint64 `json:"_version"`
	Deleted *bool  `json:"_deleted"`
}

// row returns what the record says of its conversion, with signed values multiplied by sign.
func (o *output) row(sign int64) (row, error) {
	at, err := instant(o.EventTime)
	if err != nil {
		return row{}, err
	}
	revenue, err := millionths(string(o.Revenue))
	if err != nil {
		return row{}, err
	}
	r := row{conversion: o.Conversion, class: o.Class, credit: sign * o.Credit, at: at, revenue: sign * revenue}
	for _, f := range []struct {
		to   *string
		from *string
	}{{&r.touch, o.TouchID}, {&r.touchStream, o.Touch}, {&r.campaign, o.Campaign}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return r, nil
}
