// Package fbpcs reads the public attribution test set in testdata/fbpcs and yields it as the records of the streams in
// that folder's rules.yaml, for tests and benchmarks. It knows the files and nothing of attribution.
package fbpcs

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Record is one event as a producer would send it. It is the caller's.
type Record struct {
	Stream string // "view", "click" or "conversion"
	ID     int64  // the number of its row; views and clicks share theirs
	Key    []byte // the user's id
	Value  []byte // JSON
	Time   int64  // event time in seconds
}

// AppendLine appends the record as a line of a replay file, `{"click":{...}}` and a newline.
func (r *Record) AppendLine(dst []byte) []byte {
	dst = append(append(append(dst, `{"`...), r.Stream...), `":`...)
	return append(append(dst, r.Value...), "}\n"...)
}

// Load reads the records of the set in a folder, padding included, in the order of their times.
func Load(dir string) ([]Record, error) {
	touches, err := readRows(filepath.Join(dir, "touches.csv"), "id_", "ad_id", "timestamp", "is_click")
	if err != nil {
		return nil, err
	}
	conversions, err := readRows(filepath.Join(dir, "conversions.csv"), "id_", "conversion_timestamp", "conversion_value")
	if err != nil {
		return nil, err
	}
	var records []Record
	for i, row := range touches {
		user, ad, seconds, isClick := row[0], row[1], row[2], row[3]
		r := Record{Stream: "view", ID: int64(i + 1), Key: strconv.AppendInt(nil, user, 10), Time: seconds}
		if isClick == 1 {
			r.Stream = "click"
		}
		r.Value = fmt.Appendf(nil, `{"touch_id":%d,"timestamp":%d,"user_id":%d,"ad_id":%d}`, r.ID, seconds, user, ad)
		records = append(records, r)
	}
	for i, row := range conversions {
		user, seconds, value := row[0], row[1], row[2]
		r := Record{Stream: "conversion", ID: int64(i + 1), Key: strconv.AppendInt(nil, user, 10), Time: seconds}
		r.Value = fmt.Appendf(nil, `{"conversion_id":%d,"timestamp":%d,"user_id":%d,"value":%d}`, r.ID, seconds, user, value)
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.Time, b.Time) })
	return records, nil
}

// Result is what a rule comes to over the whole set.
type Result struct {
	Rule    string           `json:"rule"`
	ByAd    map[string]Total `json:"by_ad"`    // by the text of the ad's id
	ByClass map[string]int64 `json:"by_class"` // conversions by class, "none" where unattributed
}

// Total is what one ad gets credit for.
type Total struct {
	Conversions int64 `json:"conversions"`
	Value       int64 `json:"value"`
}

// LoadExpected reads the set's expected result from the folder.
func LoadExpected(dir string) (Result, error) {
	var want Result
	path := filepath.Join(dir, "expected.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return want, err
	}
	if err := json.Unmarshal(b, &want); err != nil {
		return want, fmt.Errorf("%s: %w", path, err)
	}
	return want, nil
}

// readRows returns the named columns of a file of integers.
func readRows(path string, columns ...string) (rows [][]int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := csv.NewReader(f)
	cells, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("%s: the file is empty", path)
	}
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i] = slices.Index(cells[0], name); at[i] < 0 {
			return nil, fmt.Errorf("%s: there is no column %q", path, name)
		}
	}
	for n, line := range cells[1:] {
		row := make([]int64, len(columns))
		for i := range columns {
			if row[i], err = strconv.ParseInt(line[at[i]], 10, 64); err != nil {
				return nil, fmt.Errorf("%s: row %d: column %q: %w", path, n+1, columns[i], err)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}
