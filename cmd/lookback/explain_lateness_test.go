package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func latenessOf(t *testing.T, args ...string) *latenessAnswer {
	t.Helper()
	r := command(t, "", append([]string{"explain", "--lateness", "--format", "json"}, args...)...)
	r.want(t, exitOK)
	var a latenessAnswer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// What more lateness is said to recover is what replays with that lateness differ by, to the row and the cent.
func TestExplainLatenessIsWhatReplaysDifferBy(t *testing.T) {
	events := filepath.Join(t.TempDir(), "events.jsonl")
	command(t, "", "gen", "--events", "60000", "--users", "300", "--clicks", "0.1", "--conversions", "0.05", "--spread", "240h", "--disorder", "0.1",
		"--disorder-max", "2h", "--out", events).want(t, exitOK)
	shipped, err := os.ReadFile("../../rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"model: last ", "model: [last, linear] "} {
		text := edited(t, string(shipped), "model: last ", model)
		rules := file(t, "rules.yaml", text)
		replayed := func(lateness string) (rows map[string]map[string]any, stderr string) {
			t.Helper()
			t.Setenv("LATENESS", lateness)
			r := command(t, "", "replay", rules, events, "--emit", "final")
			r.want(t, exitOK)
			rows = map[string]map[string]any{}
			for _, rec := range r.records(t) {
				row := map[string]any{}
				if err := json.Unmarshal(rec.Value, &row); err != nil {
					t.Fatal(err)
				}
				rows[*rec.Key] = row
			}
			return rows, r.stderr
		}
		now, summary := replayed("5m")
		a := latenessOf(t, rules, events, "--more", "30m")
		late := int64(0)
		for _, s := range a.Streams {
			late += s.Late
			n := int64(0)
			for _, b := range s.Buckets {
				n += b.Events
			}
			if n != s.Events || s.P50 > s.P90 || s.P90 > s.P99 || s.P99 > s.Max || s.Late > s.Behind || s.Late == 0 || s.Max < 3600 || s.Max > 3*3600 {
				t.Errorf("stream %+v", s)
			}
		}
		if !strings.Contains(summary, fmt.Sprintf("late        %d\n", late)) {
			t.Errorf("%d are late; replay says\n%s", late, summary)
		}
		seconds := []float64{}
		for _, step := range a.Steps {
			seconds = append(seconds, step.Seconds)
			then, _ := replayed(fmt.Sprintf("%.0fs", 300+step.Seconds))
			rows, conversions, attributed := int64(0), map[any]bool{}, map[any]bool{}
			gained := map[string]float64{}
			keys := maps.Clone(now)
			maps.Copy(keys, then)
			for key := range keys {
				before, after := now[key], then[key]
				if fmt.Sprint(before) == fmt.Sprint(after) {
					continue
				}
				rows++
				for sign, row := range map[float64]map[string]any{-1: before, 1: after} {
					if row == nil {
						continue
					}
					conversions[row["conversion_id"]] = true
					if row["class"] != "none" {
						gained[fmt.Sprint(row["model"], row["class"])] += sign * row["revenue"].(float64)
					}
				}
			}
			touched := func(rows map[string]map[string]any) map[any]bool {
				of := map[any]bool{}
				for _, row := range rows {
					if row["class"] != "none" {
						of[row["conversion_id"]] = true
					}
				}
				return of
			}
			before := touched(now)
			for id := range touched(then) {
				if !before[id] {
					attributed[id] = true
				}
			}
			got := step.Rules[0]
			if got.Rows != rows || got.Changed != int64(len(conversions)) || got.Attributed != int64(len(attributed)) || rows == 0 {
				t.Errorf("+%v s: %+v; replays differ in %d rows of %d conversions, %d have a touch now", step.Seconds, got, rows, len(conversions), len(attributed))
			}
			for _, g := range got.Gained {
				near(t, fmt.Sprintf("+%v s: revenue of %s %s", step.Seconds, g.Model, g.Class), parseFloat(t, g.Sums["revenue"]), gained[g.Model+g.Class], 1e-6)
			}
			if step.Cost == nil || step.Cost.Events <= 0 || step.Cost.Memory <= 0 || step.Cost.Disk <= 0 || step.Cost.Changelog <= 0 {
				t.Errorf("+%v s costs %+v", step.Seconds, step.Cost)
			}
		}
		if !slices.Equal(seconds, []float64{60, 600, 1800, 3600, 21600}) {
			t.Errorf("steps of %v seconds", seconds)
		}
	}
}

// The text says it, also where nothing is late and nothing can be said of the state.
func TestExplainLatenessText(t *testing.T) {
	t.Parallel()
	ads := func(minutes ...int) string {
		var b strings.Builder
		for i, m := range minutes {
			fmt.Fprintf(&b, `{"ad": {"ad_id": "a%d", "at": "2026-01-01T%02d:%02d:00Z", "user": "u", "product": "p"}}`+"\n", i, 10+m/60, m%60)
			if i == 0 {
				fmt.Fprintln(&b, `{"sale": {"sale_id": "s", "at": "2026-01-01T12:30:00Z", "user": "u", "product": "p", "price": 1}}`)
			}
		}
		return b.String()
	}
	rules := file(t, "rules.yaml", shopRules)
	for name, c := range map[string]struct {
		events string
		texts  []string
	}{
		"in order":   {ads(0, 1, 2), []string{"no event was refused: more lateness recovers nothing, and costs", "+10m", "0 of 0"}},
		"one stream": {strings.Split(ads(0, 1), "\n")[0], []string{"what it costs cannot be told: no accepted events of sale", "+10m"}},
		"late":       {ads(0, 300, 1), []string{"more lateness", "1 of 1", "behind the watermark by", "rule credit gains", "assumed"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, "", "explain", rules, "--lateness", file(t, "events.jsonl", c.events), "--more", "24h")
			r.want(t, exitOK)
			for _, text := range c.texts {
				if !strings.Contains(r.stdout, text) {
					t.Errorf("lacks %q:\n%s", text, r.stdout)
				}
			}
		})
	}
}

func parseFloat(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
