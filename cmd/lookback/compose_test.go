package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// A variable that compose sets and run does not read would be a setting without effect; one that run reads and compose
// does not set would be a setting that nobody finds.
func TestComposeSetsWhatRunReads(t *testing.T) {
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	set := slices.Sorted(maps.Keys(file.Services["lookback"].Environment))
	if read := slices.Sorted(slices.Values(runEnv())); !slices.Equal(set, read) {
		t.Errorf("compose sets %s; run reads %s", strings.Join(set, ", "), strings.Join(read, ", "))
	}
}
