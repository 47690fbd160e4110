package processors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"sync"
)

// spillSeed is that of the hashes by which entries are divided and grouped.
var spillSeed = maphash.MakeSeed()

// spill divides entries among files by their hashes, so that what belongs together can be looked at a file at a time though all of it
// does not fit into memory. Adding is safe for concurrent use.
type spill struct {
	parts []spillPart
}

// spillPart is a file, which nobody else can open: it has no name any more.
type spillPart struct {
	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	bytes int64
	entry []byte
}

var errSpill = errors.New("read a temporary file: it is not what was written")

// spillBuffer is how much of a part is written at a time.
const spillBuffer = 16 << 10

// newSpill returns a spill of n parts in a folder; "": the system's for temporary files.
func newSpill(dir string, n int) (*spill, error) {
	s := &spill{parts: make([]spillPart, n)}
	for i := range s.parts {
		f, err := os.CreateTemp(dir, "lookback-*.spill")
		if err != nil {
			s.close()
			return nil, fmt.Errorf("make a temporary file: %w", err)
		}
		// A process that is killed leaves nothing behind.
		_ = os.Remove(f.Name())
		s.parts[i].file, s.parts[i].out = f, bufio.NewWriterSize(f, spillBuffer)
	}
	return s, nil
}

// add adds the entry that build appends.
func (s *spill) add(hash uint64, build func(dst []byte) []byte) error {
	p := &s.parts[hash%uint64(len(s.parts))]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entry = build(p.entry[:0])
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(p.entry)))
	if _, err := p.out.Write(length[:n]); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	if _, err := p.out.Write(p.entry); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	p.bytes += int64(n + len(p.entry))
	return nil
}

// take returns the entries of a part in the order in which they were added, and gives the part up. Nobody may be adding any more.
func (s *spill) take(i int) (entries [][]byte, err error) {
	p := &s.parts[i]
	defer p.close()
	if err := p.out.Flush(); err != nil {
		return nil, fmt.Errorf("write a temporary file: %w", err)
	}
	all := make([]byte, p.bytes)
	if _, err := io.ReadFull(io.NewSectionReader(p.file, 0, p.bytes), all); err != nil {
		return nil, fmt.Errorf("read a temporary file: %w", err)
	}
	for len(all) > 0 {
		length, n := binary.Uvarint(all)
		if n <= 0 || length > uint64(len(all)-n) {
			return nil, errSpill
		}
		entries = append(entries, all[n:n+int(length):n+int(length)])
		all = all[n+int(length):]
	}
	return entries, nil
}

// eachGroup calls visit with the indexes of the entries of each group, in their order. Groups come in no order. They are sorted by their
// hashes, which is faster than by themselves.
func eachGroup(n int, group func(i int) []byte, visit func(members []int) error) error {
	type member struct {
		hash uint64
		at   int
	}
	order := make([]member, n)
	for i := range order {
		order[i] = member{maphash.Bytes(spillSeed, group(i)), i}
	}
	slices.SortFunc(order, func(a, b member) int {
		if c := cmp.Compare(a.hash, b.hash); c != 0 {
			return c
		}
		return cmp.Or(bytes.Compare(group(a.at), group(b.at)), cmp.Compare(a.at, b.at))
	})
	var members []int
	for i, m := range order {
		members = append(members, m.at)
		if i+1 < n && bytes.Equal(group(order[i+1].at), group(m.at)) {
			continue
		}
		if err := visit(members); err != nil {
			return err
		}
		members = members[:0]
	}
	return nil
}

func (p *spillPart) close() {
	if p.file != nil {
		_ = p.file.Close() // what was in it is read, or of no use
		p.file = nil
	}
}

// close gives up what was not taken.
func (s *spill) close() {
	for i := range s.parts {
		s.parts[i].close()
	}
}
