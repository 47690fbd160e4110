package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner starts processes that the system kills when this one ends, however it ends. They hang on the thread that has
// started them, so one goroutine with a thread of its own starts them all and never ends.
var spawner = sync.OnceValue(func() chan func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// spawn starts a process that does not outlive this one.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	return <-started
}
