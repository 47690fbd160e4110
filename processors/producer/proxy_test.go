package producer_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// proxy stands between a client and a broker and makes trouble.
type proxy struct {
	target   string
	listener net.Listener

	mu     sync.Mutex
	random *rand.Rand
	cut    float64 // chance that a request or an answer is cut off, with the connection
	delay  float64 // chance that it waits for some milliseconds
	mute   bool    // answers are swallowed
	muted  chan struct{}
	conns  map[net.Conn]struct{}
	cuts   int
}

func newProxy(t testing.TB, target string, seed uint64) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		target:   target,
		listener: listener,
		random:   rand.New(rand.NewPCG(seed, 0)),
		muted:    make(chan struct{}, 1),
		conns:    map[net.Conn]struct{}{},
	}
	go p.accept()
	t.Cleanup(func() {
		listener.Close()
		p.sever()
	})
	return p
}

// Dial is for the client's configuration: it leads every connection through the proxy.
func (p *proxy) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, p.listener.Addr().String())
}

func (p *proxy) config() *sarama.Config {
	c := clientConfig()
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, p
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 20, time.Millisecond
	return c
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[broker] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.pass(client, broker, false)
		go p.pass(broker, client, true)
	}
}

// pass copies one direction until either end closes.
func (p *proxy) pass(from, to net.Conn, answers bool) {
	defer func() {
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
		from.Close()
		to.Close()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		keep, cut, wait := n, p.random.Float64() < p.cut, time.Duration(0)
		if cut {
			keep = p.random.IntN(n + 1) // up to all of it, and the answer is lost then
			p.cuts++
		}
		if p.random.Float64() < p.delay {
			wait = time.Duration(p.random.IntN(5)+1) * time.Millisecond
		}
		swallow := p.mute && answers
		p.mu.Unlock()
		if swallow {
			select {
			case p.muted <- struct{}{}:
			default:
			}
			continue
		}
		if wait > 0 {
			<-time.After(wait)
		}
		if _, err := to.Write(buffer[:keep]); err != nil || cut {
			return
		}
	}
}

func (p *proxy) trouble(cut, delay float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.delay = cut, delay
}

func (p *proxy) cutSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// open counts connections, each twice.
func (p *proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// swallow keeps answers back from now on, or no longer.
func (p *proxy) swallow(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = on
	select {
	case <-p.muted:
	default:
	}
}

// asked waits until an answer was swallowed.
func (p *proxy) asked(t testing.TB) {
	t.Helper()
	select {
	case <-p.muted:
	case <-patient(t).Done():
		t.Fatal("nothing was asked")
	}
}

func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}
