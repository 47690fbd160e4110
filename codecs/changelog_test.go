package codecs

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestChangelogKeysRoundTrip(t *testing.T) {
	key := AppendValue(AppendValue(nil, StringValue("user")), IntValue(7))
	id := AppendValue(nil, StringValue("5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a11"))
	for _, c := range []struct {
		b    []byte
		want ChangelogKey
	}{
		{AppendEntryKey(nil, key, 200, id), ChangelogKey{Kind: ChangelogEntry, Key: key, Stream: 200, ID: id}},
		{AppendMetaKey(nil), ChangelogKey{Kind: ChangelogMeta}},
		{AppendMarkKey(nil, key), ChangelogKey{Kind: ChangelogMark, Key: key}},
		{AppendBarrierKey(nil, "host"), ChangelogKey{Kind: ChangelogBarrier, Instance: []byte("host")}},
	} {
		got, err := DecodeChangelogKey(c.b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v came back as %+v, %v", c.want, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "no kind": {0}, "unknown kind": {0, 9}, "meta and more": {0, byte(ChangelogMeta), 1}, "entry as a special": {0, 0},
		"no id": AppendEntryKey(nil, key, 1, nil), "null id": AppendEntryKey(nil, key, 1, []byte{tagNull}),
		"id and more": AppendEntryKey(nil, key, 1, append(bytes.Clone(id), 0)), "mark without a key": AppendMarkKey(nil, nil),
		"broken key": AppendEntryKey(nil, key[:len(key)-1], 1, id), "broken mark": AppendMarkKey(nil, key[:len(key)-1]),
		"key longer than bytes": {200, 1, 0}, "no stream": {1, tagTrue},
	} {
		if got, err := DecodeChangelogKey(b); err == nil {
			t.Errorf("%s was accepted as %+v", name, got)
		}
	}
}

func TestEntriesBelongToTheirKeys(t *testing.T) {
	ev := &Event{Stream: 1, Time: 5, ID: StringValue("e"), Fields: []Value{IntValue(1)}}
	row := AppendRow(nil, ev, 1)
	value := AppendEntry(nil, row)
	key := ChangelogKey{Stream: 1, ID: AppendValue(nil, ev.ID)}
	if got, err := DecodeEntry(key, value, 1); err != nil || !bytes.Equal(got, row) {
		t.Errorf("got %x, %v", got, err)
	}
	newer := bytes.Clone(value)
	newer[0]++
	for name, decode := range map[string]func() (Row, error){
		"other stream":  func() (Row, error) { return DecodeEntry(ChangelogKey{Stream: 2, ID: key.ID}, value, 1) },
		"other id":      func() (Row, error) { return DecodeEntry(ChangelogKey{Stream: 1, ID: []byte{tagTrue}}, value, 1) },
		"other fields":  func() (Row, error) { return DecodeEntry(key, value, 2) },
		"newer version": func() (Row, error) { return DecodeEntry(key, newer, 1) },
		"tombstone":     func() (Row, error) { return DecodeEntry(key, nil, 1) },
	} {
		if got, err := decode(); err == nil {
			t.Errorf("%s: accepted as %x", name, got)
		}
	}
}

func TestMetaAndMarkRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 3))
	for _, want := range []Meta{
		{}, {Watermark: math.MinInt64}, {Watermark: math.MaxInt64, Accepted: math.MaxUint64}, {Rules: "h"},
		{Watermark: 1, Accepted: 2, Sources: []Source{{Stream: 1, Partition: 2, Time: math.MinInt64, Idle: true}, {}}, Rules: "hash"},
		{Sources: append(randomSources(r), Source{Time: -1})},
	} {
		got, err := DecodeMeta(AppendMeta(nil, &want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
	for _, want := range []Mark{{}, {Evicted: 1}, {Evicted: math.MaxUint64}} {
		if got, err := DecodeMark(AppendMark(nil, want)); err != nil || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
}

func TestMembersOfTheFutureAreSkipped(t *testing.T) {
	want := Meta{Watermark: 9, Rules: "hash"}
	future := appendMember(AppendMeta(nil, &want), 1000, []byte("what it says"))
	if got, err := DecodeMeta(future); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("meta: %+v, %v", got, err)
	}
	if got, err := DecodeMark(appendMember(AppendMark(nil, Mark{Evicted: 3}), 1000, nil)); err != nil || got.Evicted != 3 {
		t.Errorf("mark: %+v, %v", got, err)
	}
	member := appendMember(nil, metaAccepted, binary.AppendUvarint(nil, 5))
	for name, b := range map[string][]byte{
		"nothing": nil, "newer version": {changelogVersion + 1}, "member twice": append(append([]byte{changelogVersion}, member...), member...),
		"member cut": append([]byte{changelogVersion}, member[:2]...), "member too long": {changelogVersion, metaAccepted, 2, 5, 5},
		"tag zero": {changelogVersion, 0, 0}, "empty member": {changelogVersion, metaAccepted, 0},
	} {
		if got, err := DecodeMeta(b); err == nil {
			t.Errorf("%s was accepted as %+v", name, got)
		}
	}
}

// FuzzChangelog: keys that are accepted are the one encoding of what they decode to; values never panic, and what they
// decode to survives another round.
func FuzzChangelog(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 3))
	f.Add(AppendMetaKey(nil), AppendMeta(nil, &Meta{Watermark: 5, Accepted: 6, Sources: randomSources(r), Rules: "x"}))
	f.Add(AppendMarkKey(nil, []byte{tagTrue}), AppendMark(nil, Mark{Evicted: 7}))
	row := randomRow(r)
	f.Add(AppendEntryKey(nil, []byte{tagTrue}, row.Stream(), row.ID()), AppendEntry(nil, row))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k, err := DecodeChangelogKey(key)
		if err != nil {
			return
		}
		var again []byte
		switch k.Kind {
		case ChangelogEntry:
			again = AppendEntryKey(nil, k.Key, k.Stream, k.ID)
			if row, err := DecodeEntry(k, value, 2); err == nil && !bytes.Equal(AppendEntry(nil, row), value) {
				t.Fatalf("%x decodes to %x", value, row)
			}
		case ChangelogMeta:
			again = AppendMetaKey(nil)
			if m, err := DecodeMeta(value); err == nil {
				if twice, err := DecodeMeta(AppendMeta(nil, &m)); err != nil || !reflect.DeepEqual(twice, m) {
					t.Fatalf("%+v became %+v, %v", m, twice, err)
				}
			}
		case ChangelogMark:
			again = AppendMarkKey(nil, k.Key)
			if m, err := DecodeMark(value); err == nil {
				if twice, err := DecodeMark(AppendMark(nil, m)); err != nil || twice != m {
					t.Fatalf("%+v became %+v, %v", m, twice, err)
				}
			}
		case ChangelogBarrier:
			again = AppendBarrierKey(nil, string(k.Instance))
		}
		if !bytes.Equal(again, key) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", key, k, again)
		}
	})
}
