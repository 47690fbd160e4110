package rules

import (
	"bytes"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// stampedRow is a row of the stream whose fields, and the stamps among them, hold the given texts.
func stampedRow(s *Stream, field, stamp string) codecs.Row {
	ev := &codecs.Event{Stream: s.Rank, Time: 7, ID: codecs.StringValue("id")}
	for _, slot := range s.Slots {
		text := field
		if slot.Stamp != nil {
			text = stamp
		}
		ev.Fields = append(ev.Fields, codecs.StringValue(text))
	}
	return codecs.AppendRow(nil, ev, s.Kept)
}

// What a table said when a record came does not decide which of two records with one id is the event.
func TestStampsAreNoContent(t *testing.T) {
	p := mustCompile(t, edit(t, adStreams+mediaMathRule,
		"rules:", "tables:\n  campaign: {file: c.csv, key: cid, fields: {cid: string, name: string}}\nrules:",
		"{campaign_id: impression.campaign_id}", "{id: impression.campaign_id, name: 'campaign[impression.campaign_id].name'}"))
	s := p.Streams[0]
	rows := map[string]codecs.Row{}
	for _, field := range []string{"a", "b"} {
		for _, stamp := range []string{"", "x", "longer than the other"} {
			rows[field+stamp] = stampedRow(s, field, stamp)
		}
	}
	if bytes.Equal(rows["a"], rows["ax"]) {
		t.Fatal("the impression has no stamp: the test would show nothing")
	}
	for nameA, a := range rows {
		for nameB, b := range rows {
			same := nameA[0] == nameB[0]
			if got := bytes.Equal(s.Content(a), s.Content(b)); got != same {
				t.Errorf("%s and %s have the same content: %v, want %v", nameA, nameB, got, same)
			}
			if s.Precedes(a, b) != s.Precedes(rows[nameA[:1]], rows[nameB[:1]]) {
				t.Errorf("the stamps decide between %s and %s", nameA, nameB)
			}
			if s.Precedes(a, b) && s.Precedes(b, a) || !same && !s.Precedes(a, b) && !s.Precedes(b, a) {
				t.Errorf("neither or both of %s and %s come first", nameA, nameB)
			}
		}
	}

	plain := mustCompile(t, adStreams+mediaMathRule).Streams[0]
	if row := stampedRow(plain, "a", ""); !bytes.Equal(plain.Content(row), row) {
		t.Error("a row without stamps is not its own content")
	}
}

// Of an event that was accepted late and of the same one sent again, given in whatever order, the one that was accepted counts: who has only the
// set cannot tell which came first.
func TestWhatWasAcceptedLateCounts(t *testing.T) {
	p := mustCompile(t, edit(t, adStreams+mediaMathRule, "    id: impression_id\n", "    id: impression_id\n    late: accept_while_kept\n"))
	s := p.Streams[0]
	row := stampedRow(s, "a", "")
	again := codecs.Row(codecs.AppendValue(bytes.Clone(row[:codecs.RowLen(row, s.From)]), codecs.Value{})) // as it comes
	accepted := s.AppendAccepted(nil, again, 9)
	if s.AcceptedFrom(accepted) != 9 || s.AcceptedFrom(again) == 9 || s.Precedes(accepted, again) || s.Precedes(again, accepted) {
		t.Fatal("the two do not have the same content: the test would show nothing")
	}
	if !s.Counts(accepted, again) || s.Counts(again, accepted) || s.Counts(again, again) {
		t.Errorf("%v, %v, %v", s.Counts(accepted, again), s.Counts(again, accepted), s.Counts(again, again))
	}
	for _, rows := range [][]codecs.Row{{again, accepted}, {accepted, again}} {
		if set, _ := canonical(p, rows); len(set) != 1 || !bytes.Equal(set[0], accepted) {
			t.Errorf("the set is %v", set)
		}
	}
}
