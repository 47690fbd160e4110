//go:build !linux

package main

import "os/exec"

// spawn starts a process. Should this one be killed, it stays behind.
func spawn(cmd *exec.Cmd) error { return cmd.Start() }
