package rules

import (
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// tableInfo is a table while it is compiled.
type tableInfo struct {
	index  int
	broken bool // something of it is at fault, so look-ups in it are not judged
}

var tableFiles = []string{".csv", ".jsonl", ".ndjson"}

func (c *compiler) declareTables(v value) {
	for _, e := range v.entries() {
		if !e.entityName() {
			continue
		}
		if c.streams[e.name] != nil {
			e.errorAt(positionOf(e.key), "%q is the name of a stream", e.name)
			continue
		}
		info := &tableInfo{index: len(c.plan.Tables)}
		t := &Table{Name: e.name}
		c.plan.Tables = append(c.plan.Tables, t)
		c.tables[e.name] = info
		info.broken = !c.declareTable(t, e.value.at(`table "`+e.name+`"`))
	}
}

func (c *compiler) declareTable(t *Table, v value) bool {
	faults := len(c.list) + c.more
	got := v.section([]string{"file", "topic", "key", "fields"}, "version", "previous_key")
	from, hasFile := got["file"]
	topic, hasTopic := got["topic"]
	switch {
	case hasFile == hasTopic && v.node.Kind == yaml.MappingNode:
		v.errorf("a table has either file or topic")
	case hasFile:
		if file, ok := from.text(); ok {
			if !slices.Contains(tableFiles, filepath.Ext(file.text)) {
				file.errorf("%q: a table is a .csv, .jsonl or .ndjson file", file.shown)
			}
			t.File = file.text
		}
	case hasTopic:
		if name, ok := topic.topic(""); ok {
			c.claim(name, name.text, `the topic of table "`+t.Name+`"`)
			t.Topic = name.text
		}
	}
	for _, required := range []string{"key", "fields"} {
		if _, ok := got[required]; !ok && v.node.Kind == yaml.MappingNode {
			v.errorf("%s is missing", required)
		}
	}
	columns := &streamInfo{stream: &Stream{}, broken: true}
	if f, ok := got["fields"]; ok {
		columns.stream.Declared, columns.fields, columns.broken = declareFields(f)
		t.Columns = columns.stream.Declared
		for _, column := range t.Columns {
			if column.Of != nil {
				f.child(column.Name, valueNode(f.node, column.Name)).errorf("a column of a table is a single value; %s is for fields of streams", column.TypeName())
			}
		}
	}
	if key, ok := got["key"]; ok {
		t.Key = columns.roleField(key, "string, int or bool", codecs.String, codecs.Int, codecs.Bool)
	}
	return len(c.list)+c.more == faults
}
