package tables

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2058fbc3/lookback/codecs"
)

func load(t *testing.T, name, content string) (*Dimension, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := LoadDimension(path, campaigns)
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), ""))
	}
	return d, err
}

func TestLoadDimension(t *testing.T) {
	want := map[string][2]codecs.Value{
		"c1": {codecs.StringValue("Summer, \"hot\"\nsale"), codecs.DecimalValue(15, 1)},
		"c2": {codecs.StringValue(""), {}},
		"c3": {codecs.StringValue("é"), codecs.DecimalValue(-2, 0)},
	}
	for name, content := range map[string]string{
		"campaigns.csv": "budget,name,other,campaign_id\r\n1.50,\"Summer, \"\"hot\"\"\nsale\",x,c1\r\n,,,c2\n-2,é,,c3",
		"bom.CSV":       "\xef\xbb\xbfcampaign_id,name,budget\nc1,\"Summer, \"\"hot\"\"\nsale\",1.5\nc2,,\n\nc3,é,-2\n",
		"campaigns.jsonl": `{"campaign_id": "c1", "name": "Summer, \"hot\"\nsale", "budget": 1.50}` + "\n\n" +
			`{"other": {}, "name": "", "campaign_id": "c2", "budget": null}` + "\r\n" + `{"budget": "-2", "campaign_id": "c3", "name": "é"}`,
		"campaigns.ndjson": "\xef\xbb\xbf" + `{"campaign_id": "c1", "name": "Summer, \"hot\"\nsale", "budget": 15e-1}` + "\n" +
			`{"campaign_id": "c2", "name": ""}` + "\n" + `{"budget": -2, "campaign_id": "c3", "name": "\u00e9"}` + "\n",
	} {
		d, err := load(t, name, content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Len() != len(want) {
			t.Errorf("%s: %d rows", name, d.Len())
		}
		for key, cells := range want {
			for i, cell := range cells {
				for _, at := range []int64{0, 1, -1, 1 << 60} {
					if got := d.Get(codecs.StringValue(key), 1+i, at); got != cell {
						t.Errorf("%s: %s at %d, column %d: got %v, want %v", name, key, at, 1+i, got, cell)
					}
				}
			}
		}
	}
}

func TestLoadDimensionRefuses(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"a.csv", "", `a.csv:1: the file is empty: the first line must name the columns`},
		{"a.csv", "campaign_id,name\n", `a.csv:1: there is no column "budget": the header has campaign_id, name`},
		{"a.csv", "campaign_id,name,budget,name\n", `a.csv:1: columns 2 and 4 are both named "name"`},
		{"a.csv", "campaign_id,name,budget\nc1,\"two\nlines\",1\nc2,b,2\nc1,c,3\nc2,d,4\n",
			"a.csv:5: duplicate key \"c1\" (first on line 2)\na.csv:6: duplicate key \"c2\" (first on line 4)"},
		{"a.csv", "campaign_id,name,budget\n,a,1\nc2,b\nc3,b,x\nc4,\xff,1\n",
			"a.csv:2: empty key \"campaign_id\"\na.csv:3: wrong number of fields\n" +
				"a.csv:4: field \"budget\": expected decimal, found x\na.csv:5: field \"name\": the text is not UTF-8"},
		{"a.csv", "campaign_id,name,budget\nc1,a\"b,1\nc2,b\n", `a.csv:2: bare " in non-quoted-field`},
		{"a.csv", "campaign_id,name,budget\nc1,\"a,1\n", `a.csv:2: extraneous or missing " in quoted-field`},
		{"a.jsonl", "{\"campaign_id\": \"c1\"}\n\n{\"campaign_id\": \"c1\"}\n{\"name\": \"x\"}\n",
			"a.jsonl:3: duplicate key \"c1\" (first on line 1)\na.jsonl:4: empty key \"campaign_id\""},
		{"a.jsonl", "{\"campaign_id\": \"c1\", \"budget\": true}\n", "a.jsonl:1: field \"budget\": expected decimal, found "},
		{"a.jsonl", strings.Repeat(" ", maxRowBytes) + "{}", "a.jsonl:1: the line is longer than 1048576 bytes"},
		{"a.json", "[]", `a.json: table "campaign": unknown file type ".json": use .csv, .jsonl or .ndjson`},
	} {
		d, err := load(t, c.name, c.content)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60q: got\n%v\nwant\n%s", c.content, err, c.want)
		}
		if d != nil {
			t.Errorf("%.60q: a table came with the error", c.content)
		}
	}
}

func TestLoadDimensionOfMissingFile(t *testing.T) {
	_, err := LoadDimension(filepath.Join(t.TempDir(), "campaigns.csv"), campaigns)
	if err == nil || !strings.Contains(err.Error(), "campaigns.csv: table \"campaign\": there is no such file: create it, or") {
		t.Errorf("got %v", err)
	}
}

func TestLoadDimensionBoundsItsErrors(t *testing.T) {
	rows := strings.Repeat("c1,a,b\n", 1000)
	_, err := load(t, "a.csv", "campaign_id,name,budget\n"+rows)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxFileErrors+1 || lines[maxFileErrors] != "a.csv: more errors follow" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}
