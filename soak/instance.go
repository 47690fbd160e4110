package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// instance is one of the app's processes and what it is started with. It is started again whenever it ends.
type instance struct {
	name     string
	store    string // memory or disk
	static   bool   // it has an instance id
	standby  string // how many copies of each table there are where it is the one to say
	stateDir string

	run *run

	mu      sync.Mutex
	process *process // nil while it is down on purpose
	busy    bool     // something is being done to it
	rival   bool     // another process has its instance id
	over    bool     // it is not started any more
}

// process is one life of an instance.
type process struct {
	cmd   *exec.Cmd
	log   string        // file
	from  int64         // where its part of the file begins
	ended chan struct{} // closed when it has ended
	err   error         // how it ended; read after ended
	rival bool          // another process had its instance id when it began

	mu     sync.Mutex
	wanted bool // it was told or made to end
}

// program says how instances are started.
type program struct {
	binary, rules, addr, dir string
	delivery                 string
	failpoints               func() string // a value for LOOKBACK_FAILPOINT
}

// start begins a life of an instance.
func (p *program) start(in *instance) (*process, error) {
	args := []string{"run", "--rules", p.rules, "--brokers", p.addr, "--store", in.store, "--state-dir", in.stateDir}
	cmd := exec.Command(p.binary, args...)
	cmd.Env = append(os.Environ(), "SOAK_DELIVERY="+p.delivery, "LOOKBACK_FAILPOINT="+p.failpoints(), "LOOKBACK_STANDBY="+in.standby)
	if in.static {
		cmd.Env = append(cmd.Env, "SOAK_INSTANCE="+in.name)
	}
	name := filepath.Join(p.dir, in.name+".log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := spawn(cmd); err != nil {
		return nil, fmt.Errorf("start instance %s: %w", in.name, err)
	}
	life := &process{cmd: cmd, log: name, from: from, ended: make(chan struct{})}
	go func() {
		life.err = cmd.Wait()
		close(life.ended)
	}()
	return life, nil
}

// want says that the process is about to end because it is told to.
func (p *process) want() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
}

func (p *process) isWanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal a process: %w", err)
	}
	return nil
}

// kill ends the process as a crash does, also one that is stopped.
func (p *process) kill() error {
	p.want()
	err := p.signal(syscall.SIGKILL)
	<-p.ended
	return err
}

// output returns the end of what the process has written.
func (p *process) output() string {
	const enough = 8 << 10
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(p.from, info.Size()-enough)
	text := make([]byte, info.Size()-from)
	n, err := f.ReadAt(text, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return string(text[:n])
}

var failpointHit = regexp.MustCompile(`failpoint ([a-z-]+): killing the process`)

// begin starts the instance and watches it from then on.
func (in *instance) begin() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return nil
	}
	life, err := in.run.program.start(in)
	if err != nil {
		return err
	}
	life.rival = in.rival
	in.process = life
	go in.watch(life)
	return nil
}

// watch waits for the end of a process. One that has ended by itself is judged and started again, unless that is being done.
func (in *instance) watch(life *process) {
	<-life.ended
	if life.isWanted() {
		return
	}
	output := life.output()
	if hit := failpointHit.FindStringSubmatch(output); hit != nil {
		in.run.tally.add("kill -9 at " + hit[1])
	} else if life.rival && strings.Contains(output, "another instance runs with instance_id") {
		in.run.tally.add("fenced by the zombie that it replaced")
	} else {
		in.run.problem("instance %s has ended by itself: %v\n%s", in.name, life.err, output)
	}
	wait(in.run.ctx, in.run.pause())
	in.mu.Lock()
	again := in.process == life
	in.mu.Unlock()
	if again {
		if err := in.begin(); err != nil {
			in.run.problem("%v", err)
		}
	}
}

// take gives the one who does something to the instance its process, or false where somebody else is at it.
func (in *instance) take() (*process, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.busy || in.process == nil {
		return nil, false
	}
	select {
	case <-in.process.ended:
		return nil, false
	default:
	}
	in.busy = true
	return in.process, true
}

// release ends what take began.
func (in *instance) release() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.busy, in.rival = false, false
}

// meet says that another process has the instance's id until release. Of two such processes the last to join a group goes on,
// and that can be the older one, where a broker that has crashed knows neither any more. With several groups each can find that the
// other has one, so that both end, the newer perhaps after the older.
func (in *instance) meet() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.rival = true
}

// patience is how long an instance may take to stop before that is a problem. It promises two seconds, whether a broker
// answers or not; the rest is for a machine that is busy.
const patience = 10 * time.Second

// stop tells the process to end and waits for it.
func (in *instance) stop(life *process) error {
	life.want()
	if err := life.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-life.ended:
	case <-timer.C:
		in.run.problem("instance %s did not stop within %s\n%s", in.name, patience, life.output())
		return life.kill()
	}
	// A fail point may have been quicker, and a process that has not said a word yet does not listen to signals yet.
	output := life.output()
	early := output == "" && endedBy(life.err, syscall.SIGTERM)
	if life.err != nil && !early && failpointHit.FindString(output) == "" {
		in.run.problem("instance %s, told to stop, ended with %v\n%s", in.name, life.err, output)
	}
	return nil
}

// endedBy tells whether a process was ended by a signal that it does not handle.
func endedBy(err error, s syscall.Signal) bool {
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

// dump has the process write to its log what it is doing, and end.
func (in *instance) dump() error {
	life, ok := in.take()
	if !ok {
		return nil
	}
	defer in.release()
	life.want()
	return life.signal(syscall.SIGQUIT)
}

// end kills what runs when the soak is over.
func (in *instance) end() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over = true
	if in.process == nil {
		return nil
	}
	if in.process.isWanted() { // it may be writing its last words
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-in.process.ended:
		case <-timer.C:
		}
	}
	return in.process.kill()
}

// freePort finds a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// build compiles the program with its fail points.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "lookback")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "failpoints", "-o", binary,
		"github.com/seed-2058fbc3/lookback/cmd/lookback")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build lookback: %w\n%s", err, out)
	}
	return binary, nil
}
