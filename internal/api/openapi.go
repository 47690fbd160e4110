package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// description is the OpenAPI document of all that servers of ours serve.
//
//go:embed openapi.json
var description []byte

// describe returns the document of a server that serves these paths.
func describe(version string, paths []string) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(description, &doc); err != nil {
		return nil, fmt.Errorf("the OpenAPI document: %w", err)
	}
	doc["info"].(map[string]any)["version"] = version
	all := doc["paths"].(map[string]any)
	for path := range all {
		if !slices.Contains(paths, path) {
			delete(all, path)
		}
	}
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the OpenAPI document: %w", err)
	}
	return append(body, '\n'), nil
}

// writeJSON answers with JSON.
func writeJSON(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(body) // who has hung up meanwhile cannot be told
}
