package apache

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// properties is the configuration of the process, with @NAME@ for what differs between runs.
//
//go:embed server.properties
var properties string

// clusterID is fixed: a data directory is never shared between clusters.
const clusterID = "bG9va2JhY2sta2Fma2EtMQ"

// startTimeout bounds one attempt to start, on a machine that is busy with other things.
const startTimeout = 2 * time.Minute

// supervise runs the command that follows, ends it when descriptor 3 ends, and then removes the directory if one is given.
// That descriptor is a pipe from this process and closes with it, so that no broker outlives a test that was killed. What was
// written to it names the signal. Otherwise kept data gets a clean shutdown; for data that goes away that would be a second
// lost. A command that ends by itself leaves its directory, with the log that says why.
const supervise = `dir=$1; shift
signal=TERM; if [ -n "$dir" ]; then signal=KILL; fi
trap '' INT
"$@" 3<&- & pid=$!
(told=$(cat <&3); kill -s ${told:-$signal} $pid) & watcher=$!
wait $pid; code=$?
kill $watcher 2>/dev/null
if [ -n "$dir" ] && [ $code = 137 ]; then rm -rf "$dir"; fi
exit $code`

// Options say how a server runs. The zero value is a throw-away broker on a free port.
type Options struct {
	// Port is where clients connect; 0 takes a free one.
	Port int
	// Dir keeps configuration, log and data, and is left as it is at the end. Empty means a temporary directory that is
	// removed.
	Dir string
	// Heap is Java's -Xmx; empty means 512m.
	Heap string
	// Controller is where the controller is that StartController has started; empty makes the process its own. A broker that is
	// killed and is its own controller comes back as the leader that it was, and finds out seconds later that it is a new one: a
	// group's coordinator that loads its log in that moment can end with a part of it.
	Controller string
}

// Server is a running Apache Kafka.
type Server struct {
	addr  string
	dir   string
	stdin io.WriteCloser
	done  chan struct{} // closed when the process has ended
	err   error         // how it ended; read after done
	stop  sync.Once
}

// Start formats a data directory where needed, starts the process and waits until it answers clients.
func (d Distribution) Start(ctx context.Context, opts Options) (*Server, error) {
	// Free ports are found by asking and letting go, so that another process may take one first.
	const attempts = 3
	var failed error
	for range attempts {
		s, err := d.start(ctx, opts)
		if err == nil {
			return s, nil
		}
		failed = err
		if opts.Port != 0 || ctx.Err() != nil || !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, fmt.Errorf("start Apache Kafka: %w", failed)
}

var errPortTaken = errors.New("a port was taken by another process")

func (d Distribution) start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Dir != "" {
		return d.startIn(ctx, opts.Dir, "", opts)
	}
	temp, err := os.MkdirTemp("", "lookback-kafka-")
	if err != nil {
		return nil, err
	}
	s, err := d.startIn(ctx, temp, temp, opts)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	return s, nil
}

// startIn runs the process in dir; the supervisor removes the directory named by remove.
func (d Distribution) startIn(ctx context.Context, dir, remove string, opts Options) (*Server, error) {
	port, controllerPort, err := choosePorts(opts.Port)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	role := brokerRole(addr, opts.Controller)
	if opts.Controller == "" {
		role = bothRoles(addr, net.JoinHostPort("127.0.0.1", strconv.Itoa(controllerPort)))
	}
	s, err := d.launch(ctx, launch{addr: addr, dir: dir, remove: remove, heap: cmp.Or(opts.Heap, "512m"), role: role})
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx); err != nil {
		log := s.Log()
		s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	return s, nil
}

// StartController starts a controller with its data in dir, for brokers that are processes of their own, and does not wait for it:
// a broker is not ready before its controller is.
func (d Distribution) StartController(ctx context.Context, dir string) (*Server, error) {
	port, _, err := choosePorts(0)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return d.launch(ctx, launch{addr: addr, dir: dir, heap: "256m", role: controllerRole(addr)})
}

// launch is one process: where it listens, its directory, the one to remove at its end, Java's -Xmx and the configuration that tells
// its role.
type launch struct {
	addr, dir, remove, heap, role string
}

func (d Distribution) launch(ctx context.Context, l launch) (*Server, error) {
	config := filepath.Join(l.dir, "server.properties")
	text := strings.NewReplacer("@DIR@", l.dir, "@ROLE@", l.role).Replace(properties)
	if err := errors.Join(os.MkdirAll(l.dir, 0o755), os.WriteFile(config, []byte(text), 0o644)); err != nil {
		return nil, err
	}
	if err := d.format(ctx, config); err != nil {
		return nil, err
	}
	s := &Server{addr: l.addr, dir: l.dir, done: make(chan struct{})}
	return s, s.run(l.remove, d.java("-Xmx"+l.heap, "kafka.Kafka", config))
}

// Numbers of the nodes. They are fixed because a broker's data carries its own.
const brokerID, controllerID = 1, 2

func bothRoles(clients, controller string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%[1]d
controller.quorum.voters=%[1]d@%[3]s
listeners=PLAINTEXT://%[2]s,CONTROLLER://%[3]s
advertised.listeners=PLAINTEXT://%[2]s`, brokerID, clients, controller)
}

func brokerRole(clients, controller string) string {
	return fmt.Sprintf(`process.roles=broker
node.id=%d
controller.quorum.voters=%d@%s
listeners=PLAINTEXT://%[4]s
advertised.listeners=PLAINTEXT://%[4]s
broker.heartbeat.interval.ms=1000`, brokerID, controllerID, controller, clients)
}

// controllerRole lets a broker that was killed come back after a few seconds: the controller takes no other for it before that.
func controllerRole(addr string) string {
	return fmt.Sprintf(`process.roles=controller
node.id=%d
controller.quorum.voters=%[1]d@%[2]s
listeners=CONTROLLER://%[2]s
broker.session.timeout.ms=4000`, controllerID, addr)
}

// java is the command line of one of Kafka's programs. The flags trade peak speed for a quick start.
func (d Distribution) java(heap, class string, args ...string) []string {
	return append([]string{"java", heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", d.classpath(), class}, args...)
}

func (d Distribution) format(ctx context.Context, config string) error {
	args := d.java("-Xmx128m", "kafka.tools.StorageTool",
		"format", "--ignore-formatted", "--cluster-id", clusterID, "--config", config)
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("format data directory: %w\n%s", err, tail(out))
	}
	return nil
}

// run starts the supervised process, whose output goes to a file: a pipe would keep `go test` waiting for its end.
func (s *Server) run(remove string, java []string) error {
	log, err := os.Create(filepath.Join(s.dir, "kafka.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd := exec.Command("sh", append([]string{"-c", supervise, "sh", remove}, java...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{read} // descriptor 3
	if err := cmd.Start(); err != nil {
		return errors.Join(err, write.Close())
	}
	s.stdin = write
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return nil
}

// waitReady polls until a client sees the broker and its controller, or the process ends.
func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := probe(s.addr)
		if err == nil {
			return nil
		}
		// Kafka takes a minute to give up after that.
		if strings.Contains(s.Log(), "Address already in use") {
			return errPortTaken
		}
		select {
		case <-s.done:
			return fmt.Errorf("the process ended: %w", s.err)
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w (last: %w)", s.addr, ctx.Err(), err)
		case <-poll.C:
		}
	}
}

// probeTimeout bounds one question, so that a silent port does not hide that the process has ended.
const probeTimeout = 5 * time.Second

func probe(addr string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V3_0_0_0
	config.Metadata.Retry.Max = 0
	config.Net.DialTimeout, config.Net.ReadTimeout = probeTimeout, probeTimeout
	client, err := sarama.NewClient([]string{addr}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.RefreshController()
	return err
}

// Addr is the bootstrap address, as host:port.
func (s *Server) Addr() string { return s.addr }

// Done is closed when the process has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Log is the end of what the process has written.
func (s *Server) Log() string {
	log, err := os.ReadFile(filepath.Join(s.dir, "kafka.log"))
	if err != nil {
		return err.Error()
	}
	return string(tail(log))
}

// Stop ends the process and waits for it. Data in Options.Dir can be used again.
func (s *Server) Stop() {
	s.stop.Do(func() { s.stdin.Close() })
	<-s.done
}

// Kill ends the process as a crash does, with nothing written or told to anybody, and waits for it. A server that is started
// with the same Options.Dir and Options.Port takes its place.
func (s *Server) Kill() {
	s.stop.Do(func() {
		// A process that has ended by itself does not listen.
		_, _ = io.WriteString(s.stdin, "KILL")
		s.stdin.Close()
	})
	<-s.done
}

// choosePorts returns the clients' port, a free one for 0, and a free one for the controller.
func choosePorts(port int) (clients, controller int, err error) {
	var chosen [2]int
	for i, wanted := range []int{port, 0} {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		chosen[i] = l.Addr().(*net.TCPAddr).Port
	}
	return chosen[0], chosen[1], nil
}
