package rules

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// edit returns src with each pair's first text replaced by its second; each must occur.
func edit(t testing.TB, src string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(src, pairs[i]) {
			t.Fatalf("no %q to edit", pairs[i])
		}
		src = strings.ReplaceAll(src, pairs[i], pairs[i+1])
	}
	return src
}

func TestHashFollowsTheMeaning(t *testing.T) {
	src := adStreams + mediaMathRule
	base := mustCompile(t, src)
	if len(base.Hash) != 16 || len(base.Rules[0].Hash) != 16 {
		t.Errorf("hashes %q, %q", base.Hash, base.Rules[0].Hash)
	}
	same := map[string][]string{
		"comments":              {"app: ads", "# a comment\napp: ads # another\n"},
		"settings":              {"app: ads", "app: ads\nkafka: {brokers: 'x:1'}\nidle_timeout: 1m\nstate: {store: disk, max_touches: 7}\ntopics: {partitions: 2}\n"},
		"defaults written out":  {"into: attributed", "into: attributed\n    model: last\n    unattributed: skip\n    emit: both"},
		"another unit":          {"within: 7d", "within: 168h"},
		"order of keys":         {"time: event_ts\n    id: click_id", "id: click_id\n    time: event_ts"},
		"order of fields":       {"auction_id: string, pixel_id: string, campaign_id", "pixel_id: string, auction_id: string, campaign_id"},
		"order of joins":        {"      impression: conversion.pixel_id == impression.pixel_id\n      click: click.auction_id == impression.auction_id", "      click: click.auction_id == impression.auction_id\n      impression: conversion.pixel_id == impression.pixel_id"},
		"quotes and spaces":     {"click.auction_id == impression.auction_id", "'click.auction_id  ==  impression.auction_id'"},
		"the environment's way": {"topic: clicks", "topic: ${NONE:-clicks}"},
	}
	for name, pairs := range same {
		p := mustCompile(t, edit(t, src, pairs...))
		if p.Hash != base.Hash || p.Rules[0].Hash != base.Rules[0].Hash {
			t.Errorf("%s: the hash changed", name)
		}
		if !reflect.DeepEqual(layoutOf(p), layoutOf(base)) {
			t.Errorf("%s: equal hashes, but slots differ: %v, %v", name, layoutOf(p), layoutOf(base))
		}
	}
	ofRule := map[string][]string{
		"a window":          {"within: 7d", "within: 6d"},
		"a join":            {"click.auction_id ==", "click.user_id =="},
		"a column":          {"campaign_id: impression.campaign_id", "campaign_id: impression.auction_id"},
		"a column's name":   {"campaign_id: impression.campaign_id", "campaign: impression.campaign_id"},
		"unattributed":      {"into: attributed", "into: attributed\n    unattributed: emit"},
		"emit":              {"into: attributed", "into: attributed\n    emit: deltas"},
		"the preset":        {"    preset: mediamath\n", ""},
		"the max_gap":       {"max_gap: 20d", "max_gap: 19d"},
		"the class's where": {"touch: impression, within", "touch: impression, where: impression.price > 1, within"},
		"the key's order":   {"[user_id, advertiser_id]", "[advertiser_id, user_id]"},
	}
	seen := map[string]string{base.Rules[0].Hash: "the original"}
	for name, pairs := range ofRule {
		p := mustCompile(t, edit(t, src, pairs...))
		if other, taken := seen[p.Rules[0].Hash]; taken {
			t.Errorf("%s: the rule's hash is that of %s", name, other)
		}
		seen[p.Rules[0].Hash] = name
		if p.Hash == base.Hash {
			t.Errorf("%s: the plan's hash did not change", name)
		}
	}
	for name, pairs := range map[string][]string{
		"a field's type": {"price: decimal", "price: float"},
		"a where":        {"id: click_id", "id: click_id\n    where: user_id != ''"},
		"lateness":       {"id: click_id", "id: click_id\n    lateness: 1h"},
		"a topic":        {"topic: clicks", "topic: clicks2"},
	} {
		if p := mustCompile(t, edit(t, src, pairs...)); p.Hash == base.Hash {
			t.Errorf("%s: the plan's hash did not change", name)
		}
	}
	i, j := strings.Index(src, "  click:"), strings.Index(src, "  conversion:")
	k := strings.Index(src, "rules:")
	if p := mustCompile(t, src[:i]+src[j:k]+src[i:j]+src[k:]); p.Hash == base.Hash {
		t.Error("the order of streams breaks ties, but is not in the hash")
	}
}

// layoutOf names what each stream's slots hold.
func layoutOf(p *Plan) (list []string) {
	for _, s := range p.Streams {
		for i, slot := range s.Slots {
			name := "stamp"
			if slot.Stamp == nil {
				name = s.Declared[slot.Field].Name
			}
			if i >= s.Kept {
				name += " (not kept)"
			}
			list = append(list, s.Name+"."+name)
		}
	}
	return list
}

func TestOnlyWhatIsReadIsDecoded(t *testing.T) {
	p := mustCompile(t, edit(t, adStreams+mediaMathRule, "id: click_id", "id: click_id\n    where: event_ts.Hour() > 1 and click_id != ''"))
	want := []string{
		"impression.auction_id", "impression.pixel_id", "impression.campaign_id", "impression.advertiser_id (not kept)", "impression.user_id (not kept)",
		"click.auction_id", "click.advertiser_id (not kept)", "click.user_id (not kept)",
		"conversion.pixel_id", "conversion.value", "conversion.advertiser_id (not kept)", "conversion.user_id (not kept)",
	}
	if got := layoutOf(p); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	all := mustCompile(t, edit(t, adStreams+mediaMathRule, "id: impression_id", "id: impression_id\n    keep: all"))
	if s := all.Streams[0]; s.Kept != len(s.Declared)-2 || len(s.Slots) != s.Kept {
		t.Errorf("keep: all keeps %d slots of %d", s.Kept, len(s.Slots))
	}
}

func TestTableColumnsAreStamps(t *testing.T) {
	src := edit(t, adStreams+mediaMathRule,
		"rules:", "tables:\n  campaign: {file: c.csv, key: cid, fields: {name: string, cid: string, active: bool}}\nrules:",
		"id: impression_id", "id: impression_id\n    where: campaign[campaign_id].active",
		"{campaign_id: impression.campaign_id}", "{name: 'campaign[impression.campaign_id].name', by: 'campaign[touch.user_id].name', own: 'campaign[impression.impression_id].name'}")
	p := mustCompile(t, src)
	if table := p.Tables[0]; table.Name != "campaign" || table.File != "c.csv" || table.Key != 1 {
		t.Errorf("table: %+v", table)
	}
	s := p.Streams[0]
	type stamp struct {
		column, key string
		kept        bool
	}
	got := map[stamp]bool{}
	for i, slot := range s.Slots {
		if slot.Stamp == nil {
			continue
		}
		key := s.Declared[s.ID].Name
		if slot.Stamp.Key != codecs.SlotID {
			key = s.Declared[s.Slots[slot.Stamp.Key].Field].Name
		}
		got[stamp{p.Tables[0].Columns[slot.Stamp.Column].Name, key, i < s.Kept}] = true
	}
	want := map[stamp]bool{{"active", "campaign_id", false}: true, {"name", "campaign_id", true}: true, {"name", "user_id", true}: true, {"name", "impression_id", true}: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stamps: got %v, want %v", got, want)
	}
	if strings.Contains(strings.Join(layoutOf(p), " "), "impression.campaign_id ") && slotOf(t, p, 0, "campaign_id") < s.Kept {
		t.Error("the key of a stamp is kept, though no rule reads it")
	}
	if len(p.Streams[1].Slots) == 0 || p.Streams[1].Slots[1].Stamp == nil {
		t.Errorf("the click has no stamp for touch: %+v", p.Streams[1].Slots)
	}
}

func TestRulesOfOneKeyShareIt(t *testing.T) {
	second := edit(t, strings.TrimPrefix(mediaMathRule, "\nrules:\n"), "name: attributed", "name: second", "into: attributed", "into: second",
		"    preset: mediamath\n", "", "within: 7d", "within: 9d")
	other := edit(t, second, "name: second", "name: third", "into: second", "into: third", "[user_id, advertiser_id]", "user_id")
	p := mustCompile(t, adStreams+mediaMathRule+second+other)
	if len(p.Keys) != 2 || p.Rules[0].Key != p.Rules[1].Key || p.Rules[0].Key == p.Rules[2].Key {
		t.Fatalf("keys: %d", len(p.Keys))
	}
	// Without the preset lag is from the click, so the impression stays for gap and window.
	if want := []int64{29 * day, 9 * day, 0}; !reflect.DeepEqual(p.Keys[0].Retention, want) {
		t.Errorf("retention: got %v, want %v", p.Keys[0].Retention, want)
	}
	if len(p.Keys[0].Paths[0]) != 3 {
		t.Errorf("equal paths are not shared: %v", p.Keys[0].Paths[0])
	}
}

func TestDirectNeedsOnePartitioningOfAllStreams(t *testing.T) {
	by := func(impression, click, conversion string) *Plan {
		src := adStreams + mediaMathRule
		for id, p := range map[string]string{"impression_id": impression, "click_id": click, "conversion_id": conversion} {
			if p != "" {
				src = edit(t, src, "id: "+id+"\n", "id: "+id+"\n    partitioned_by: "+p+"\n")
			}
		}
		return mustCompile(t, src)
	}
	for _, c := range []struct {
		impression, click, conversion string
		want                          bool
	}{
		{"user_id", "user_id", "[user_id]", true},
		{"[user_id, advertiser_id]", "[user_id, advertiser_id]", "[user_id, advertiser_id]", true},
		{"user_id", "user_id", "", false},
		{"user_id", "user_id", "[user_id, advertiser_id]", false},
		{"", "", "", false},
	} {
		if got := by(c.impression, c.click, c.conversion).Keys[0].Direct; got != c.want {
			t.Errorf("%+v: direct is %v", c, got)
		}
	}
}

func TestClassesKeepTheirOrder(t *testing.T) {
	p := mustCompile(t, edit(t, adStreams+mediaMathRule, "    preset: mediamath\n", "",
		"      PC: {touch: click, within: 7d}\n", "      z: {touch: click, within: 1h, anchor: click}\n      a: {touch: [click, impression], within: 2h, anchor: impression}\n"))
	classes := p.Rules[0].Classes
	if classes[0].Name != "z" || classes[1].Name != "a" || classes[2].Name != "PV" {
		t.Errorf("order: %s, %s, %s", classes[0].Name, classes[1].Name, classes[2].Name)
	}
	if classes[0].Vias[0].AnchorParent || !classes[1].Vias[0].AnchorParent || classes[1].Vias[1].AnchorParent || classes[1].Vias[0].MaxParentLag != 0 {
		t.Errorf("anchors: %+v", classes[1].Vias)
	}
}

func TestGapOfATouchWithoutEqualityIsStrict(t *testing.T) {
	p := mustCompile(t, edit(t, adStreams+mediaMathRule, "click: click.auction_id == impression.auction_id", "click: click.auction_id < impression.auction_id"))
	via := p.Rules[0].Classes[0].Vias[0]
	if via.AnyGap || len(via.TouchParent) != 0 || len(via.Residual) != 1 || via.Residual[0].String() != "click.auction_id < impression.auction_id" {
		t.Errorf("via: %+v", via)
	}
}

func TestInterpolation(t *testing.T) {
	env := func(name string) (string, bool, error) {
		v, ok := map[string]string{"A": "alpha", "EMPTY": ""}[name]
		return v, ok, nil
	}
	for text, want := range map[string]string{
		"plain": "plain", "${A}": "alpha", "x${A}y${A}": "xalphayalpha", "${EMPTY}": "", "${EMPTY:-d}": "d", "${NONE:-d}": "d", "${NONE:-}": "",
		"${A:-d}": "alpha", "${A:?m}": "alpha", "$$": "$", "$${A}": "${A}", "^a$": "^a$", "a$b": "a$b", "${NONE:-a:b}": "a:b", "$$$$": "$$",
	} {
		if got, _, err := interpolate(text, env); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${NONE}": "NONE is not set", "${NONE:?give it}": "NONE: give it", "${EMPTY:?give it}": "EMPTY: give it", "${A": "without }", "${}": "not the name",
		"${a b}": "not the name", "${A:+x}": ":-default, :?message",
	} {
		if _, _, err := interpolate(text, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestInterpolationNeverChangesTheStructure(t *testing.T) {
	const evil = "x, topic: y}\nz: [1] # \""
	_, err := Compile("rules.yaml", []byte(edit(t, adStreams+mediaMathRule, "topic: clicks", "topic: ${EVIL}")), func(string) (string, bool) { return evil, true })
	list, ok := err.(Errors)
	if !ok || len(list) != 1 || !strings.Contains(list[0].Msg, `topic: "${EVIL}" is not a topic name`) {
		t.Errorf("got %v", err)
	}
}

func TestLoadReadsFilesThatVariablesName(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("rules.yaml", edit(t, adStreams+mediaMathRule, "topic: clicks", "topic: ${LOOKBACK_TEST_TOPIC}"))
	t.Setenv("LOOKBACK_TEST_TOPIC", "from.env")
	p, err := Load(path)
	if err != nil || p.Streams[1].Topic != "from.env" {
		t.Fatalf("got %v", err)
	}
	t.Setenv("LOOKBACK_TEST_TOPIC_FILE", write("secret", "from.file\n"))
	p, err = Load(path)
	if err != nil || p.Streams[1].Topic != "from.file" {
		t.Fatalf("got %v", err)
	}
	t.Setenv("LOOKBACK_TEST_TOPIC_FILE", filepath.Join(dir, "none"))
	if _, err = Load(path); err == nil || !strings.Contains(err.Error(), "named by LOOKBACK_TEST_TOPIC_FILE") {
		t.Errorf("got %v", err)
	}
	if _, err = Load(filepath.Join(dir, "none.yaml")); err == nil || !strings.Contains(err.Error(), "read the rules file") {
		t.Errorf("got %v", err)
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0s": 0, "30d": 30 * day, "1w": 7 * day, "1d12h": day + day/2, "90m": 90 * 60e6, "1.5s": 1_500_000, "2ms": 2000, "3us": 3, "3µs": 3, "1h1m1s": 3661e6,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
		if again, err := parseDuration(FormatDuration(got)); err != nil || again != got {
			t.Errorf("%s is written as %s, which reads as %d, %v", text, FormatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "1", "-1s", "d", "1x", "1.2.3s", "1 d", "0.1us", "36501d", "9999999999999999999d", "1e3s", "36500d1s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
	for text, want := range map[string]int64{"256MB": 256e6, "64KiB": 65536, "1 GiB": 1 << 30, "7B": 7} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "MB", "-1MB", "1.5MB", "99999999999TB", "1 potato"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for name, want := range map[string]string{"auctionid": "auction_id", "acution_id": "auction_id", "usre_id": "user_id", "price": "", "x": ""} {
		got := suggestion(name, []string{"auction_id", "user_id"})
		if want != "" {
			want = ` (did you mean "` + want + `"?)`
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
