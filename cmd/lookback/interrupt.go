package main

import (
	"context"
	"io"
)

// interruptible returns a reader of in whose Read returns when ctx ends, although in's may block for as long as nobody
// writes: a terminal, a pipe. A Read of in that is then under way is abandoned, together with what it would have read.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r := &interruptibleReader{ctx: ctx, chunks: make(chan chunk), free: make(chan []byte, 2)}
	for range cap(r.free) {
		r.free <- make([]byte, 1<<18)
	}
	go r.pump(in)
	return r
}

type interruptibleReader struct {
	ctx    context.Context
	chunks chan chunk
	free   chan []byte // buffers that nobody reads from
	last   chunk
	rest   []byte // of last
}

type chunk struct {
	buf []byte
	n   int
	err error
}

func (r *interruptibleReader) pump(in io.Reader) {
	for {
		var c chunk
		select {
		case c.buf = <-r.free:
		case <-r.ctx.Done():
			return
		}
		c.n, c.err = in.Read(c.buf)
		select {
		case r.chunks <- c:
		case <-r.ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

func (r *interruptibleReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.last.err != nil {
			return 0, r.last.err
		}
		if r.last.buf != nil {
			r.free <- r.last.buf
		}
		select {
		case r.last = <-r.chunks:
			r.rest = r.last.buf[:r.last.n]
		case <-r.ctx.Done():
			r.last = chunk{err: r.ctx.Err()}
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
