package tables

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// DimensionSpec says what a dimension table looks like.
type DimensionSpec struct {
	Name    string
	Key     int // index into Columns
	Columns []codecs.Field
}

// Dimension is a table of rows by key that events are stamped from when they enter: campaigns, advertisers, exchange
// rates. It comes from a file (LoadDimension) or from a compacted topic (NewDimension and Put). A row has versions, and
// an event gets the one that was current at its record's Kafka timestamp, whenever it is read.
//
// One goroutine may write while many read.
type Dimension struct {
	spec DimensionSpec

	mu      sync.RWMutex
	decoder *codecs.Decoder
	event   codecs.Event // what decoder decodes into
	rows    map[codecs.Value][]rowVersion
	changed map[codecs.Value]struct{} // keys that Trim may find something of
}

// rowVersion is what a key's row was from a time on. Of a key's versions no two have the same time, and later ones come
// later.
type rowVersion struct {
	from   int64 // microseconds
	values []codecs.Value
}

// deleted versions have no values, not even the key.
func (v rowVersion) deleted() bool { return v.values == nil }

// ofFile is the time of rows that a file holds.
const ofFile = math.MinInt64

// NewDimension returns an empty table, to be filled by Put.
func NewDimension(spec DimensionSpec) *Dimension {
	return &Dimension{
		spec:    spec,
		decoder: codecs.NewDecoder(codecs.DecodeSpec{Slots: spec.Columns}),
		rows:    map[codecs.Value][]rowVersion{},
		changed: map[codecs.Value]struct{}{},
	}
}

// Name returns the table's name.
func (d *Dimension) Name() string { return d.spec.Name }

// Len returns the number of keys, deleted ones that are still remembered included.
func (d *Dimension) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.rows)
}

// Get returns a column of the row that was current at a time: the newest version from at or before it, or the oldest
// known one where all are later. An at of 0 asks for the newest. It returns Null where the key is unknown or deleted,
// and for a Null key.
func (d *Dimension) Get(key codecs.Value, column int, at int64) codecs.Value {
	d.mu.RLock()
	defer d.mu.RUnlock()
	versions := d.rows[key]
	if len(versions) == 0 {
		return codecs.Value{}
	}
	i := len(versions) - 1
	if at != 0 {
		i = max(0, currentVersion(versions, at))
	}
	if v := versions[i]; !v.deleted() {
		return v.values[column]
	}
	return codecs.Value{}
}

// currentVersion returns the index of the newest version from at or before a time, -1 where all are later.
func currentVersion(versions []rowVersion, at int64) int {
	return sort.Search(len(versions), func(i int) bool { return versions[i].from > at }) - 1
}

// Put takes a record of the table's topic: the row of a key from a time on, as JSON, or its deletion from then on where
// value is nil. The record's key is the text of the key column; the row may leave that column out, but not contradict
// it. Records need not come in the order of their times; of two with the same time the one put later counts. After an
// error the table is as before.
func (d *Dimension) Put(key, value []byte, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, err := d.parseKey(string(key))
	if err != nil {
		return fmt.Errorf("table %q: record key: %w", d.spec.Name, err)
	}
	v := rowVersion{from: at}
	if value != nil {
		if v.values, err = d.parseRow(value); err != nil {
			return fmt.Errorf("table %q: key %q: %w", d.spec.Name, key, err)
		}
		switch own := v.values[d.spec.Key]; {
		case own.IsNull():
			v.values[d.spec.Key] = k
		case own != k:
			return fmt.Errorf("table %q: record key %q is not the row's %s %q", d.spec.Name, key,
				d.spec.Columns[d.spec.Key].Name, codecs.AppendText(nil, own))
		}
	}
	versions := d.rows[k]
	i := currentVersion(versions, at)
	if i >= 0 && versions[i].from == at {
		versions[i] = v
	} else {
		versions = slices.Insert(versions, i+1, v)
	}
	d.rows[k] = versions
	if len(versions) > 1 || versions[0].deleted() {
		d.changed[k] = struct{}{}
	}
	return nil
}

// Trim forgets the versions that no look-up at a time of before or later can return. Its cost follows the number of
// keys that changed, not the size of the table.
func (d *Dimension) Trim(before int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k := range d.changed {
		versions := d.rows[k]
		if i := currentVersion(versions, before); i > 0 {
			versions = slices.Delete(versions, 0, i)
		}
		switch {
		case len(versions) > 1:
			d.rows[k] = versions
			continue
		case versions[0].deleted() && versions[0].from <= before:
			delete(d.rows, k)
		case versions[0].deleted():
			continue // its time to be forgotten is still to come
		default:
			d.rows[k] = versions
		}
		delete(d.changed, k)
	}
}

func (d *Dimension) parseKey(text string) (codecs.Value, error) {
	column := d.spec.Columns[d.spec.Key]
	if text == "" {
		return codecs.Value{}, fmt.Errorf("empty key %q", column.Name)
	}
	return parseCell(text, column)
}

// parseRow returns the columns of a JSON row; they do not alias it.
func (d *Dimension) parseRow(row []byte) ([]codecs.Value, error) {
	if err := d.decoder.Decode(row, &d.event); err != nil {
		return nil, rejectMessage(err)
	}
	values := slices.Clone(d.event.Fields)
	for i := range values {
		// The decoder's strings share a copy of the whole record, of which a row may need little.
		values[i].Str = strings.Clone(values[i].Str)
	}
	return values, nil
}

// parseCell returns the value of a column from its text.
func parseCell(text string, column codecs.Field) (codecs.Value, error) {
	v, err := codecs.ParseText(text, column)
	if err != nil {
		return codecs.Value{}, rejectMessage(err)
	}
	v.Str = strings.Clone(v.Str)
	return v, nil
}
