//go:build !unix

package apache

// lockFile is not needed where the processes of a test cannot be started: they go through a Unix shell.
func lockFile(string) (unlock func(), err error) { return nil, ErrUnavailable }
