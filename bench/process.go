package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// stopTimeout is how long a process may take to end before it is killed.
const stopTimeout = 20 * time.Second

// process is a job at work in a process of its own.
type process struct {
	job  *job
	proc procfs.Proc
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// startProcess starts the job, with its log in a file. It ends with ctx.
func startProcess(ctx context.Context, binary, brokers string, j *job) (*process, error) {
	log, err := os.Create(filepath.Join(j.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, binary, j.args(brokers)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = j.env(), log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		stop()
		return nil, err
	}
	p := &process{job: j, stop: stop, done: make(chan struct{})}
	go func() {
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
			p.err = err
		}
		close(p.done)
	}()
	if p.proc, err = procfs.NewProc(cmd.Process.Pid); err != nil {
		return nil, fmt.Errorf("a process is measured by /proc: %w (%w)", err, p.end())
	}
	return p, nil
}

// end stops the process and returns the error that it ended with.
func (p *process) end() error {
	p.stop()
	<-p.done
	return p.failure()
}

// failure says how a process that has ended did so: nil for a clean end.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	const lastLines = 2000
	log, err := os.ReadFile(filepath.Join(p.job.dir, "log"))
	if err != nil {
		return fmt.Errorf("%s: %w", p.job.label, p.err)
	}
	return fmt.Errorf("%s: %w\n%s", p.job.label, p.err, log[max(0, len(log)-lastLines):])
}

// usage is what a process has used.
type usage struct {
	at   time.Time
	cpu  float64 // seconds
	rss  float64 // bytes now
	peak float64 // largest rss so far
}

func (p *process) usage() (usage, error) {
	stat, err := p.proc.Stat()
	if err != nil {
		return usage{}, err
	}
	status, err := p.proc.NewStatus()
	if err != nil {
		return usage{}, err
	}
	return usage{at: time.Now(), cpu: stat.CPUTime(), rss: float64(status.VmRSS), peak: float64(status.VmHWM)}, nil
}
