package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// eventLines reads files of events, one per line: the stream's name and the record (see codecs.SplitLine). Files whose
// names end in .gz are unpacked.
type eventLines struct {
	ranks  map[string]int // of streams, by name
	stdin  io.Reader      // stands behind the name "-"
	record func(stream int, raw *processors.Raw) error
	reject func(raw *processors.Raw, why *codecs.Reject) error

	lines int64        // that are not empty
	read  atomic.Int64 // bytes of files, packed as they are
}

func newEventLines(plan *rules.Plan, stdin io.Reader) *eventLines {
	l := &eventLines{ranks: map[string]int{}, stdin: stdin}
	for _, s := range plan.Streams {
		l.ranks[s.Name] = s.Rank
	}
	return l
}

// file reads one file to its end, and returns early with an error, or when ctx ends.
func (l *eventLines) file(ctx context.Context, name string) error {
	return eachLine(ctx, name, l.stdin, &l.read, func(line []byte, number int64) error {
		l.lines++
		return l.line(line, name, number)
	})
}

// eachLine calls visit with the lines of a file that are not empty, each of which is valid during the call. "-" is stdin; names that end in
// .gz are unpacked. read counts bytes, packed as they are.
func eachLine(ctx context.Context, name string, stdin io.Reader, read *atomic.Int64, visit func(line []byte, number int64) error) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		defer f.Close()
		in = &countingReader{f, read}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in = interruptible(ctx, in)
	if strings.HasSuffix(name, ".gz") {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		in = unpacked
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	var long []byte
	for number := int64(1); ; number++ {
		line, err := readLine(lines, &long)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted at %s:%d", name, number)
		case err != nil && err != io.EOF:
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := visit(line, number); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (l *eventLines) line(line []byte, file string, number int64) error {
	name, record, ts, err := codecs.SplitLine(line)
	raw := processors.Raw{Value: record, Origin: codecs.Origin{Topic: file, Offset: number, Timestamp: ts}}
	if err != nil {
		raw.Value = line
		return l.reject(&raw, codecs.Rejectf(reasonMalformedLine, "%v", err))
	}
	rank, ok := l.ranks[name]
	if !ok {
		raw.Value = line
		return l.reject(&raw, codecs.Rejectf(reasonUnknownStream, "no stream %q in the rules", name))
	}
	return l.record(rank, &raw)
}

// readLine returns the next line, which is valid until the next call.
func readLine(in *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	*long = append((*long)[:0], line...)
	for err == bufio.ErrBufferFull {
		line, err = in.ReadSlice('\n')
		*long = append(*long, line...)
	}
	return *long, err
}

// countingReader counts what is read.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}
