package producer

import (
	"context"
	"net"
	"sync"

	"github.com/IBM/sarama"
)

// dialer opens connections that end with a term. Requests of sarama cannot be cancelled, but those whose connection is
// closed under them come back.
type dialer struct {
	ctx  context.Context
	conf *sarama.Config // the client's, except that it connects through the dialer
	base interface {
		Dial(network, addr string) (net.Conn, error)
	}

	mu      sync.Mutex
	ended   bool
	conns   map[*conn]struct{}
	brokers map[*sarama.Broker]struct{}
}

// conn is a connection that the dialer knows until it is closed.
type conn struct {
	net.Conn
	dialer *dialer
}

func newDialer(ctx context.Context, conf *sarama.Config) *dialer {
	d := &dialer{ctx: ctx, conns: map[*conn]struct{}{}, brokers: map[*sarama.Broker]struct{}{}}
	if conf.Net.Proxy.Enable {
		d.base = conf.Net.Proxy.Dialer
	} else {
		d.base = &net.Dialer{Timeout: conf.Net.DialTimeout, KeepAlive: conf.Net.KeepAlive, LocalAddr: conf.Net.LocalAddr}
	}
	own := *conf
	own.Net.Proxy.Enable, own.Net.Proxy.Dialer = true, d
	d.conf = &own
	context.AfterFunc(ctx, d.sever)
	return d
}

// open connects to a broker.
func (d *dialer) open(addr string) (*sarama.Broker, error) {
	b := sarama.NewBroker(addr)
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return nil, context.Cause(d.ctx)
	}
	d.brokers[b] = struct{}{}
	d.mu.Unlock()
	err := b.Open(d.conf)
	if err == nil {
		var connected bool
		if connected, err = b.Connected(); !connected && err == nil {
			err = sarama.ErrNotConnected
		}
	}
	if err != nil {
		d.close(b)
		return nil, err
	}
	return b, nil
}

// close gives a connection up. Its error would only say that the connection was broken before.
func (d *dialer) close(b *sarama.Broker) {
	d.mu.Lock()
	delete(d.brokers, b)
	d.mu.Unlock()
	_ = b.Close()
}

// sever ends all connections, whatever uses them.
func (d *dialer) sever() {
	d.mu.Lock()
	d.ended = true
	conns, brokers := d.conns, d.brokers
	d.conns, d.brokers = nil, nil
	d.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
	for b := range brokers {
		_ = b.Close()
	}
}

// Dial is how sarama connects.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	var raw net.Conn
	var err error
	if base, ok := d.base.(interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	}); ok {
		ctx, cancel := context.WithTimeout(d.ctx, d.conf.Net.DialTimeout)
		defer cancel()
		raw, err = base.DialContext(ctx, network, addr)
	} else {
		raw, err = d.base.Dial(network, addr)
	}
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = raw.Close()
		return nil, context.Cause(d.ctx)
	}
	c := &conn{Conn: raw, dialer: d}
	d.conns[c] = struct{}{}
	return c, nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
