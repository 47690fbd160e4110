package tables

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
)

// sorter puts more entries in the order of their keys than fit into memory: what it is given is sorted whenever bytes have come
// together, and written behind one another to one file, from which the sorted runs are merged. Of entries with one key it keeps
// the last.
type sorter struct {
	dir   string // where the file is made, once there is one
	bytes int    // kept in memory, about

	buf     []byte   // entries: see add
	at      []uint32 // where they begin
	file    *os.File // nil: everything is in buf
	runs    []run
	written int64
}

// run is a part of the file.
type run struct{ from, to int64 }

// sorterPattern names the sorters' files, which a process that was killed leaves behind.
const sorterPattern = "restore-*.run"

// add takes an entry, which it copies. removed says that the key has no value any more.
func (s *sorter) add(key, value []byte, removed bool) error {
	s.at = append(s.at, uint32(len(s.buf)))
	length := uint64(len(value)) + 1
	if removed {
		length = 0
	}
	s.buf = binary.AppendUvarint(s.buf, uint64(len(key)))
	s.buf = binary.AppendUvarint(s.buf, length)
	s.buf = append(append(s.buf, key...), value...)
	if len(s.buf)+4*len(s.at) < s.bytes {
		return nil
	}
	return s.spill()
}

// sortedEntry takes apart the entry that b begins with, and returns its size too.
func sortedEntry(b []byte) (key, value []byte, removed bool, size int) {
	k, n := binary.Uvarint(b)
	v, m := binary.Uvarint(b[n:])
	key = b[n+m:][:k]
	if v == 0 {
		return key, nil, true, n + m + len(key)
	}
	value = b[n+m+len(key):][:v-1]
	return key, value, false, n + m + len(key) + len(value)
}

// sort puts the entries in memory in order, the last of those with one key first.
func (s *sorter) sort() {
	slices.SortFunc(s.at, func(a, b uint32) int {
		x, _, _, _ := sortedEntry(s.buf[a:])
		y, _, _, _ := sortedEntry(s.buf[b:])
		if c := bytes.Compare(x, y); c != 0 {
			return c
		}
		return int(b) - int(a)
	})
}

// spill writes what is in memory to the file.
func (s *sorter) spill() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, sorterPattern); err != nil {
			return err
		}
	}
	s.sort()
	out := bufio.NewWriterSize(s.file, runBuffer)
	from := s.written
	for _, at := range s.at {
		_, _, _, size := sortedEntry(s.buf[at:])
		if _, err := out.Write(s.buf[at:][:size]); err != nil {
			return err
		}
		s.written += int64(size)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, run{from, s.written})
	s.buf, s.at = s.buf[:0], s.at[:0]
	return nil
}

// runBuffer is how much of a run is read or written at a time.
const runBuffer = 64 << 10

// each calls visit with the last entry of every key, in the order of the keys, until ctx ends. The slices are valid during the
// call.
func (s *sorter) each(ctx context.Context, visit func(key, value []byte, removed bool) error) error {
	var sources []*source
	for i, r := range s.runs {
		src := &source{age: len(s.runs) - i, in: bufio.NewReaderSize(io.NewSectionReader(s.file, r.from, r.to-r.from), runBuffer)}
		if err := src.next(); err != nil {
			return err
		}
		sources = append(sources, src)
	}
	s.sort()
	if rest := (&source{buf: s.buf, at: s.at}); len(s.at) > 0 {
		if err := rest.next(); err != nil {
			return err
		}
		sources = append(sources, rest)
	}
	slices.SortFunc(sources, (*source).compare) // which makes a heap
	var last []byte
	visits := 0
	for begun := false; len(sources) > 0; begun = true {
		if visits++; visits%eachPatience == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		first := sources[0]
		if !begun || !bytes.Equal(first.key, last) {
			last = append(last[:0], first.key...)
			if err := visit(first.key, first.value, first.removed); err != nil {
				return err
			}
		}
		switch err := first.next(); {
		case errors.Is(err, io.EOF):
			sources[0] = sources[len(sources)-1]
			sources = sources[:len(sources)-1]
		case err != nil:
			return err
		}
		sink(sources)
	}
	return nil
}

// eachPatience is after how many entries each looks whether it is still wanted.
const eachPatience = 1024

// sink restores the heap whose first element has changed.
func sink(heap []*source) {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
			if heap[child].compare(heap[least]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// reset makes the sorter empty.
func (s *sorter) reset() error {
	err := s.close()
	s.buf, s.at, s.runs, s.written = s.buf[:0], s.at[:0], nil, 0
	return err
}

// close removes the file.
func (s *sorter) close() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	s.file = nil
	return err
}

// source is a sorted run that is being merged: a part of the file, or what is in memory.
type source struct {
	age     int // of what has one key, the entry of the youngest run counts
	in      *bufio.Reader
	buf     []byte
	at      []uint32
	key     []byte
	value   []byte
	removed bool
	entry   []byte
}

func (s *source) compare(other *source) int {
	if c := bytes.Compare(s.key, other.key); c != 0 {
		return c
	}
	return s.age - other.age
}

// next moves to the next entry; io.EOF says that there is none.
func (s *source) next() error {
	if s.in == nil {
		if len(s.at) == 0 {
			return io.EOF
		}
		s.key, s.value, s.removed, _ = sortedEntry(s.buf[s.at[0]:])
		s.at = s.at[1:]
		return nil
	}
	k, err := binary.ReadUvarint(s.in)
	if err != nil {
		return err
	}
	v, err := binary.ReadUvarint(s.in)
	if err != nil {
		return unexpected(err)
	}
	s.removed = v == 0
	size := int(k)
	if !s.removed {
		size += int(v - 1)
	}
	s.entry = slices.Grow(s.entry[:0], size)[:size]
	if _, err := io.ReadFull(s.in, s.entry); err != nil {
		return unexpected(err)
	}
	s.key, s.value = s.entry[:k], s.entry[k:]
	return nil
}

// unexpected is the error of a run that ends within an entry.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
