//go:build race

package processors

import "testing"

// alone skips what works in one goroutine under the race detector, which has nothing to find there and makes it several times as slow. `make check`
// runs it without.
func alone(t *testing.T) {
	t.Helper()
	t.Skip("it works in one goroutine; make check runs it without the race detector")
}
