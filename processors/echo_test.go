package processors

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// echo is a work that writes every input to the output topic and a row of it to the table.
type echo struct {
	s       *session
	log     *echoLog
	tables  [testPartitions]*tables.Table
	handled [testPartitions][]string
}

// echoLog is what the echoes of one processor have done, over its sessions.
type echoLog struct {
	mu        sync.Mutex
	restored  map[string]bool // values found in the tables as they were opened last, by partition and value
	opened    map[int32]bool  // partitions that were opened
	handled   map[string]int
	committed map[string]int
	fail      func(in *input) error // may be nil
}

func newEchoLog() *echoLog {
	return &echoLog{restored: map[string]bool{}, opened: map[int32]bool{}, handled: map[string]int{}, committed: map[string]int{}}
}

func (l *echoLog) count(m map[string]int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(m)
}

type rowVisitor func(codecs.Row)

func (v rowVisitor) Visit(r codecs.Row) bool { v(r); return true }

var echoKey = codecs.AppendValue(nil, codecs.StringValue("k"))

func (w *echo) open(partition int32, t *tables.Table) error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.log.opened[partition] = true
	w.tables[partition] = t
	if t == nil {
		return nil
	}
	maps.DeleteFunc(w.log.restored, func(name string, _ bool) bool { return name[0] == byte('0'+partition) })
	h, err := t.History(echoKey)
	if err != nil {
		return err
	}
	h.Ascend(rowVisitor(func(r codecs.Row) {
		w.log.restored[fmt.Sprintf("%d/%s", partition, r.IDValue().Str)] = true
	}))
	return nil
}

func (w *echo) handle(batch []input) error {
	for i := range batch {
		if err := w.take(&batch[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *echo) take(in *input) error {
	w.log.mu.Lock()
	w.log.handled[string(in.Value)]++
	fail := w.log.fail
	w.log.mu.Unlock()
	if fail != nil {
		if err := fail(in); err != nil {
			return err
		}
	}
	w.handled[in.Partition] = append(w.handled[in.Partition], string(in.Value))
	w.s.outbox.Add(codecs.Record{Topic: testOutput, Partition: -1, Key: in.Key, Value: in.Value})
	if t := w.tables[in.Partition]; t != nil {
		h, err := t.History(echoKey)
		if err != nil {
			return err
		}
		ev := codecs.Event{Time: in.Offset, ID: codecs.StringValue(string(in.Value))}
		row := codecs.AppendRow(nil, &ev, 0)
		if h.Get(0, row.ID()) == nil {
			h.Insert(row)
		}
	}
	return nil
}

func (w *echo) tick(time.Time) error { return nil }

func (w *echo) committed(time.Time) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for n := range w.handled {
		for _, v := range w.handled[n] {
			w.log.committed[v]++
		}
		w.handled[n] = nil
	}
}
