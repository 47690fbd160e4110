package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// loadPlan compiles a rules file.
func loadPlan(path string) (*rules.Plan, error) {
	plan, err := rules.Load(path)
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// warnings says what is allowed and still likely to surprise.
func warnings(plan *rules.Plan) []string {
	var out []string
	for _, r := range plan.Rules {
		for _, name := range r.Unused {
			out = append(out, fmt.Sprintf("rule %q: nothing uses let %s", r.Name, name))
		}
		if r.Deltas && plan.Settings.Delivery == "at_least_once" {
			out = append(out, fmt.Sprintf("rule %q: deltas under at_least_once may be written twice after a crash; drop repeated delta_ids, or read the upserts", r.Name))
		}
	}
	if plan.Settings.MaxMemory > 0 && plan.Settings.Store == "memory" {
		out = append(out, "state.max_memory bounds what store: disk keeps in memory; with store: memory histories take what they need")
	}
	for _, s := range plan.Streams {
		if s.Lateness == 0 && s.Disorder == 0 {
			out = append(out, fmt.Sprintf("stream %q: without lateness or disorder, an event that comes out of order is late", s.Name))
		}
	}
	return out
}

// openDimensions loads the tables that come from files. files overrides where, by table name; a table that comes from a
// topic stays nil unless it has a file there.
func openDimensions(plan *rules.Plan, files map[string]string) ([]*tables.Dimension, error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !slices.ContainsFunc(plan.Tables, func(t *rules.Table) bool { return t.Name == name }) {
			return nil, usagef("--table %s: no such table in the rules", name)
		}
	}
	dims := make([]*tables.Dimension, len(plan.Tables))
	for i, t := range plan.Tables {
		path := t.File
		if f, ok := files[t.Name]; ok {
			path = f
		}
		if path == "" {
			continue
		}
		d, err := tables.LoadDimension(path, tables.DimensionSpec{Name: t.Name, Key: t.Key, Columns: t.Columns})
		if err != nil {
			return nil, err // it names the file and the line
		}
		dims[i] = d
	}
	return dims, nil
}

// openFileDimensions is openDimensions for commands that read files alone: every table needs one.
func openFileDimensions(plan *rules.Plan, files map[string]string) ([]*tables.Dimension, error) {
	dims, err := openDimensions(plan, files)
	for i, d := range dims {
		if d == nil && err == nil {
			return nil, usagef("table %q comes from a topic: give it as a file, --table %s=FILE", plan.Tables[i].Name, plan.Tables[i].Name)
		}
	}
	return dims, err
}
