package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// A variable that compose sets and run does not read would be a setting without effect.
func TestComposeSetsOnlyWhatRunReads(t *testing.T) {
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
	set := file.Services["lookback"].Environment
	if len(set) == 0 {
		t.Fatal("the lookback service has no environment")
	}
	read := runEnv()
	for name := range set {
		if !slices.Contains(read, name) {
			t.Errorf("compose sets %s, which run does not read (it reads %s)", name, strings.Join(read, ", "))
		}
	}
}
