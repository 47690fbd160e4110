package codecs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

var testLayouts = []Layout{
	LayoutOf("impression", []Field{{Name: "user_id", Type: String}, {Name: "price", Type: Decimal}}),
	LayoutOf("click", nil),
	LayoutOf("conversion", []Field{{Name: "value", Type: Int}}),
}

func randomRow(r *rand.Rand) Row {
	stream := r.IntN(len(testLayouts))
	ev := randomEvent(r, testLayouts[stream].Fields)
	ev.Stream = stream
	return AppendRow(nil, ev, len(ev.Fields))
}

func randomShuffle(r *rand.Rand) *Shuffle {
	s := &Shuffle{Row: randomRow(r), Origin: Origin{Partition: r.Int32(), Offset: r.Int64(), Timestamp: r.Int64() - r.Int64()}}
	s.Layout = testLayouts[s.Row.Stream()].Fingerprint
	if r.IntN(2) == 0 {
		s.OriginalKey, s.Original = []byte("key"), []byte(impressionJSON)
	}
	return s
}

func randomSources(r *rand.Rand) []Source {
	var sources []Source
	for range r.IntN(4) {
		sources = append(sources, Source{Stream: r.IntN(256), Partition: r.Int32(), Time: r.Int64() - r.Int64(), Idle: r.IntN(2) == 0})
	}
	return sources
}

func TestShuffleRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	got, noMark := &Shuffle{OriginalKey: []byte("left"), Original: []byte("over")}, &Watermark{}
	for range 1000 {
		want := randomShuffle(r)
		b := AppendShuffle(nil, want)
		if watermark, err := DecodeShuffle(b, testLayouts, got, noMark); err != nil || watermark || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v came back as %+v, %v", want, got, err)
		}
		for cut := range len(b) {
			if _, err := DecodeShuffle(b[:cut], testLayouts, got, noMark); err == nil {
				t.Fatalf("accepted when cut to %d of %d bytes", cut, len(b))
			}
		}
	}
	if !reflect.DeepEqual(noMark, &Watermark{}) {
		t.Errorf("events changed the watermark: %+v", noMark)
	}
}

func TestWatermarkRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	noEvent, got := &Shuffle{}, &Watermark{}
	for range 1000 {
		want := &Watermark{Sender: []string{"", "host-1"}[r.IntN(2)], Sources: randomSources(r)}
		b := AppendWatermark(nil, want)
		watermark, err := DecodeShuffle(b, testLayouts, noEvent, got)
		if err != nil || !watermark || got.Sender != want.Sender || len(got.Sources) != len(want.Sources) {
			t.Fatalf("%+v came back as %+v, %v", want, got, err)
		}
		for i := range want.Sources {
			if got.Sources[i] != want.Sources[i] {
				t.Fatalf("%+v came back as %+v", want, got)
			}
		}
		if _, err := DecodeShuffle(append(b, 0), testLayouts, noEvent, got); err == nil {
			t.Fatal("accepted with a byte too many")
		}
	}
}

func TestShuffleOfOtherRulesIsRefused(t *testing.T) {
	s := randomShuffle(rand.New(rand.NewPCG(3, 3)))
	other := LayoutOf("impression", []Field{{Name: "price", Type: Decimal}, {Name: "user_id", Type: String}})
	for name, layouts := range map[string][]Layout{"other fields": {other, other, other}, "fewer streams": nil} {
		if _, err := DecodeShuffle(AppendShuffle(nil, s), layouts, &Shuffle{}, &Watermark{}); !errors.Is(err, ErrOtherLayout) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLayoutTellsFieldsApart(t *testing.T) {
	a, b := Field{Name: "a", Type: String}, Field{Name: "b", Type: String}
	layouts := map[uint32]string{}
	for name, l := range map[string]Layout{
		"none": LayoutOf("s", nil), "a": LayoutOf("s", []Field{a}), "a b": LayoutOf("s", []Field{a, b}), "b a": LayoutOf("s", []Field{b, a}),
		"ab": LayoutOf("s", []Field{{Name: "ab", Type: String}}), "a int": LayoutOf("s", []Field{{Name: "a", Type: Int}}), "stream": LayoutOf("t", []Field{a}),
	} {
		if same, ok := layouts[l.Fingerprint]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, same)
		}
		layouts[l.Fingerprint] = name
	}
	if LayoutOf("s", []Field{{Name: "t", Type: Time, Unit: Seconds}}) != LayoutOf("s", []Field{{Name: "t", Type: Time}}) {
		t.Error("the unit of times in JSON changes the layout of rows")
	}
}

func TestWireRefusesUnknownForms(t *testing.T) {
	event := AppendShuffle(nil, randomShuffle(rand.New(rand.NewPCG(4, 3))))
	newer, kind := bytes.Clone(event), bytes.Clone(event)
	newer[0], kind[1] = 2, 9
	idle := AppendWatermark(nil, &Watermark{Sources: []Source{{}}})
	idle[len(idle)-1] = 2
	for name, b := range map[string][]byte{
		"nothing": nil, "newer version": newer, "unknown kind": kind, "idle is no bool": idle,
		"more sources than bytes":  {shuffleVersion, shuffleWatermark, 0, 0xff, 0xff, 0xff, 0x7f},
		"sender longer than bytes": {shuffleVersion, shuffleWatermark, 9, 'a'},
		"length not shortest":      {shuffleVersion, shuffleWatermark, 0x80, 0x00, 0},
	} {
		if _, err := DecodeShuffle(b, testLayouts, &Shuffle{}, &Watermark{}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// FuzzShuffle: whatever is accepted is the one encoding of what it decodes to.
func FuzzShuffle(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 3))
	for range 10 {
		f.Add(AppendShuffle(nil, randomShuffle(r)))
		f.Add(AppendWatermark(nil, &Watermark{Sender: "a", Sources: randomSources(r)}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Shuffle
		var w Watermark
		watermark, err := DecodeShuffle(b, testLayouts, &s, &w)
		if err != nil {
			return
		}
		again := AppendShuffle(nil, &s)
		if watermark {
			again = AppendWatermark(nil, &w)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v %+v, which encodes to %x", b, s, w, again)
		}
	})
}
