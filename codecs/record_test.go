package codecs

import (
	"errors"
	"testing"
)

func TestRejectHeaders(t *testing.T) {
	origin := Origin{Topic: "ads.clicks", Partition: 3, Offset: 1 << 40}
	want := []Header{
		{"__streams.errors.exception", []byte("wrong_type")},
		{"__streams.errors.message", []byte("why")},
		{"__streams.errors.topic", []byte("ads.clicks")},
		{"__streams.errors.partition", []byte("3")},
		{"__streams.errors.offset", []byte("1099511627776")},
		{"lookback.rule", []byte("attributed")},
	}
	got := RejectHeaders("wrong_type", "why", "attributed", origin)
	if len(got) != len(want) {
		t.Fatalf("%d headers, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Key != want[i].Key || string(got[i].Value) != string(want[i].Value) {
			t.Errorf("header %s=%s, want %s=%s", got[i].Key, got[i].Value, want[i].Key, want[i].Value)
		}
	}
	if got := RejectHeaders("wrong_type", "why", "", origin); len(got) != 5 {
		t.Errorf("without a rule: %d headers, want 5", len(got))
	}
}

func TestRejectIsAnError(t *testing.T) {
	var err error = Rejectf(ReasonTooLarge, "%d bytes", 5)
	var r *Reject
	if !errors.As(err, &r) || r.Reason != ReasonTooLarge || err.Error() != "too_large: 5 bytes" {
		t.Errorf("got %v", err)
	}
}
