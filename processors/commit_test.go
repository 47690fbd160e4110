package processors

import (
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// never is a commit interval that does not pass during a test.
func never(p *processor) { p.interval = time.Hour }

// A commit does not wait for its interval once enough records have been handled, and one that has not enough waits.
func TestACommitComesEarlyWithManyRecords(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		const few, n, enough = 100, 5000, 300
		r.produce(0, few)
		run := r.start("", never, func(p *processor) { p.records = enough })
		r.eventually("the first are handled", func() bool { return run.log.count(run.log.handled) == few })
		if got := r.committed(); got > 0 {
			t.Errorf("%d records were committed before they were enough", got)
		}
		r.produce(few, n)
		r.eventually("all that makes a commit is committed", func() bool { return n-r.committed() < enough })
		r.eventually("everything is handled", func() bool { return run.log.count(run.log.handled) == n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		if got := r.committed(); got != n {
			t.Errorf("offsets committed up to %d after the stop, want %d", got, n)
		}
		r.wantAll(n)
		run.wantHandledOnce()
	})
}

// hotEcho changes one entry of the table with every record.
type hotEcho struct{ echo }

func (w *hotEcho) handle(batch []input) error {
	for i := range batch {
		in := &batch[i]
		w.handled[in.Partition] = append(w.handled[in.Partition], string(in.Value))
		w.log.mu.Lock()
		w.log.handled[string(in.Value)]++
		w.log.mu.Unlock()
		h, err := w.tables[in.Partition].History(echoKey)
		if err != nil {
			return err
		}
		row := codecs.AppendRow(nil, &codecs.Event{Time: in.Offset, ID: codecs.StringValue("hot")}, 0)
		h.Remove(0, codecs.Row(row).ID())
		h.Insert(row)
	}
	return nil
}

// However often an entry changes between two commits, the changelog gets its last value, once.
func TestAnEntryIsWrittenOncePerCommit(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		const n = 3000
		log := newEchoLog()
		run := r.start("", never, func(p *processor) {
			p.newWork = func(s *session) (work, error) { return &hotEcho{echo{s: s, log: log}}, nil }
		})
		for round := 1; round <= 2; round++ {
			r.produce((round-1)*n, round*n)
			r.eventually("everything handled", func() bool { return log.count(log.handled) == round*n })
			if round == 1 { // a stop commits, and the next run goes on
				if err := run.stop(); err != nil {
					t.Fatal(err)
				}
				run = r.start("", never, func(p *processor) {
					p.newWork = func(s *session) (work, error) { return &hotEcho{echo{s: s, log: log}}, nil }
				})
			}
		}
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		rows, ends := map[int32][]int64{}, map[int32]int64{}
		for _, m := range r.read(testInput) {
			ends[m.Partition] = max(ends[m.Partition], m.Offset)
		}
		for _, m := range r.read(testChangelog) {
			key, err := codecs.DecodeChangelogKey(m.Key)
			if err != nil || m.Value == nil || key.Stream != 0 {
				continue // barriers, and what the table says of itself
			}
			row, err := codecs.DecodeEntry(key, m.Value, 0)
			if err != nil {
				t.Fatal(err)
			}
			rows[m.Partition] = append(rows[m.Partition], row.Time())
		}
		for partition, end := range ends {
			got := rows[partition]
			if len(got) != 2 || got[0] >= got[1] || got[1] != end {
				t.Errorf("partition %d: the changelog has the values %v of the entry after two commits, of which %d is the last", partition, got, end)
			}
		}
	})
}

// What a producer has aborted is not there: nothing is made of it, and what stands behind it is read.
func TestInputsAreReadCommitted(t *testing.T) {
	eachDelivery(t, func(t *testing.T, newRig func(t *testing.T) *rig) {
		r := newRig(t)
		config := testConfig()
		config.Net.MaxOpenRequests = 1
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Return.Successes = true
		config.Producer.Transaction.ID = "a producer of events"
		producer, err := sarama.NewSyncProducer(r.cluster.ListenAddrs(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		want := 0
		for round := range 10 {
			if err := producer.BeginTxn(); err != nil {
				t.Fatal(err)
			}
			aborted := round%2 == 0
			for i := range 30 {
				text := "aborted " + strconv.Itoa(100*round+i)
				if !aborted {
					text = strconv.Itoa(want)
					want++
				}
				if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: testInput, Key: sarama.StringEncoder(text), Value: sarama.StringEncoder(text)}); err != nil {
					t.Fatal(err)
				}
			}
			end := producer.CommitTxn
			if aborted {
				end = producer.AbortTxn
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		run := r.start("")
		r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) >= want })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		if got := run.log.count(run.log.handled); got != want {
			t.Errorf("%d records were handled, %d were committed by their producer", got, want)
		}
		r.wantAll(want)
		r.wantTable(want)
	})
}
