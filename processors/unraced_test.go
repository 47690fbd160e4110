//go:build !race

package processors

import "testing"

func alone(*testing.T) {}
