// Package lookback carries the shipped example of a rules file, so that one binary is enough to try it.
package lookback

import _ "embed"

// Rules is rules.yaml as it was when the binary was built.
//
//go:embed rules.yaml
var Rules []byte
