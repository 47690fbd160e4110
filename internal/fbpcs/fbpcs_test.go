package fbpcs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const dir = "../../testdata/fbpcs"

func loadSet(t *testing.T) []Record {
	t.Helper()
	records, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestLoad(t *testing.T) {
	counts := map[string]int{}
	ids := map[string]bool{}
	last := int64(-1 << 62)
	for _, r := range loadSet(t) {
		var line map[string]map[string]int64
		if err := json.Unmarshal(r.AppendLine(nil), &line); err != nil {
			t.Fatal(err)
		}
		fields := line[r.Stream]
		id := fields["touch_id"] + fields["conversion_id"]
		if len(line) != 1 || len(fields) != 4 || id != r.ID || fields["timestamp"] != r.Time || strconv.FormatInt(fields["user_id"], 10) != string(r.Key) {
			t.Fatalf("record %+v has the line %v", r, line)
		}
		kind := "touch"
		if r.Stream == "conversion" {
			kind = r.Stream
		}
		if name := kind + strconv.FormatInt(id, 10); ids[name] {
			t.Fatalf("%s comes twice", name)
		} else {
			ids[name] = true
		}
		if r.Time < last {
			t.Fatalf("time %d after %d", r.Time, last)
		}
		last = r.Time
		counts[r.Stream]++
	}
	if want := map[string]int{"view": 3500, "click": 1300, "conversion": 3500}; !reflect.DeepEqual(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for want, touches := range map[string]string{
		"no such file":                   "",
		`no column "is_click"`:           "id_,ad_id,timestamp\n",
		`row 2: column "ad_id": strconv`: "id_,ad_id,timestamp,is_click\n1,2,3,0\n1,x,3,0\n",
		"wrong number of fields":         "id_,ad_id,timestamp,is_click\n1\n",
	} {
		dir := t.TempDir()
		if touches != "" {
			if err := os.WriteFile(filepath.Join(dir, "touches.csv"), []byte(touches), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "touches.csv") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
