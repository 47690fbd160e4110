//go:build !failpoints

package failpoint

// Hit does nothing in this build.
func Hit(string) {}

// On is false in this build.
func On(string) bool { return false }
