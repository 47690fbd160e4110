package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is lookback in a process of its own.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	pipe   io.Closer // standard output's
	stderr *bytes.Buffer
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), self, args...), stderr: &bytes.Buffer{}}
	p.Env = append(os.Environ(), asCommand+"=1")
	p.Stderr = p.stderr
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.pipe = bufio.NewReader(out), out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// ended reads the rest of the output, waits for the end and returns the state and standard error.
func (p *process) ended(t *testing.T) (*os.ProcessState, string) {
	t.Helper()
	_, _ = io.Copy(io.Discard, p.stdout) // it may be closed
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text := p.stderr.String()
	if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		t.Errorf("it panicked:\n%s", text)
	}
	return p.ProcessState, text
}

func (p *process) readLine(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("standard output ends after %q: %v", line, err)
	}
	return line
}

func TestSignalsEndTheProcess(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	for name, signal := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM} {
		t.Run("replay, "+name, func(t *testing.T) {
			p := startProcess(t, "replay", rules, "-")
			// More than its buffers take, so that output comes while the input stays open.
			var feeding sync.WaitGroup
			feeding.Go(func() {
				for range 20_000 {
					if _, err := io.WriteString(p.stdin, "no JSON\n"); err != nil {
						return // the process has ended, which is what is tested
					}
				}
			})
			p.readLine(t)
			if err := p.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			state, text := p.ended(t)
			feeding.Wait()
			if state.ExitCode() != exitFailed || !strings.Contains(text, "lookback: interrupted at -:") {
				t.Errorf("%v, and standard error\n%s", state, text)
			}
		})
		t.Run("dev, "+name, func(t *testing.T) {
			p := startProcess(t, "dev", rules, "--addr", "127.0.0.1:0", "--data-dir", t.TempDir())
			if line := p.readLine(t); !strings.HasPrefix(line, "ready: broker 127.0.0.1:") {
				t.Errorf("the first line is %q", line)
			}
			if err := p.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if state, text := p.ended(t); state.ExitCode() != exitOK || strings.Contains(text, "level=ERROR") {
				t.Errorf("%v, and standard error\n%s", state, text)
			}
		})
	}
}

// A reader that goes early ends the writer quietly, as `| head` expects.
func TestAReaderThatGoesEndsTheProcess(t *testing.T) {
	rules := file(t, "rules.yaml", shopRules)
	for name, args := range map[string][]string{
		"gen":    {"gen", "--events", "100000000"},
		"replay": {"replay", rules, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, args...)
			var feeding sync.WaitGroup
			feeding.Go(func() {
				for {
					if _, err := io.WriteString(p.stdin, "no JSON\n"); err != nil {
						return
					}
				}
			})
			p.readLine(t)
			if err := p.pipe.Close(); err != nil {
				t.Fatal(err)
			}
			if state, text := p.ended(t); state.Success() {
				t.Errorf("%v, and standard error\n%s", state, text)
			}
			feeding.Wait()
		})
	}
}

func TestExitCodesOfTheProcess(t *testing.T) {
	good, bad := file(t, "good.yaml", shopRules+"delivery: at_least_once\n"), file(t, "bad.yaml", "app: shop\n")
	for line, want := range map[string]int{
		"check " + good: exitOK, "check " + bad: exitFailed, "check --nope": exitUsage, "check --lint-fatal " + good: exitFindings,
	} {
		p := startProcess(t, strings.Fields(line)...)
		if state, text := p.ended(t); state.ExitCode() != want {
			t.Errorf("%s: %v, want exit code %d; standard error\n%s", line, state, want, text)
		}
	}
}
