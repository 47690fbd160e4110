package processors

import (
	"context"
	"strconv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// A copy of a table that was interrupted wherever it was, and went on from there, has everything.
func TestACopyThatIsInterruptedLacksNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, dir string) {
		const n = 40_000
		r := newRig(t)
		r.write(changelogOf(t, n)...)
		end, err := r.client.GetOffset(testChangelog, 0, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}

		p := r.processor(dir)
		p.partitions = 1 << 10 // which makes what is fetched at once a fraction of the changelog
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if err := p.connect(ctx); err != nil {
			t.Fatal(err)
		}
		defer p.disconnect()
		s := newStandbys(ctx, p)
		st := p.stores.follow(0)
		fetches := r.requests(kmsg.Fetch)
		interruptions := 0
		for st.table == nil || st.table.Position() < end {
			// With the third request there is a block at hand while the first is being loaded.
			from := fetches.Load()
			s.assign(nil, []int32{0})
			r.eventually("changelog fetched", func() bool { return fetches.Load() >= from+3 })
			s.assign([]int32{0}, nil)
			interruptions++
		}
		defer p.stores.close()
		t.Logf("%d interruptions", interruptions)
		if err := st.table.Loaded(ctx, end); err != nil {
			t.Fatal(err)
		}

		lost := 0
		for i := range n {
			h, err := st.table.History(numberedKey(i))
			if err != nil {
				t.Fatal(err)
			}
			if h.Get(0, numberedRow(i).ID()) == nil {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("the copy lacks %d of %d rows", lost, n)
		}
	})
}

// changelogOf returns records that put a row under each of n keys into partition 0's table.
func changelogOf(t *testing.T, n int) (records []codecs.Record) {
	t.Helper()
	table, err := tables.Open(echoShape, tables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		h, err := table.History(numberedKey(i))
		if err != nil {
			t.Fatal(err)
		}
		h.Insert(numberedRow(i))
	}
	table.Changes(func(key, value []byte) {
		records = append(records, codecs.Record{Topic: testChangelog, Partition: 0, Key: key, Value: value})
	})
	return records
}

func numberedKey(i int) []byte {
	return codecs.AppendValue(nil, codecs.StringValue("user-"+strconv.Itoa(i)))
}

func numberedRow(i int) codecs.Row {
	ev := codecs.Event{Time: int64(i), ID: codecs.StringValue("event-" + strconv.Itoa(i))}
	return codecs.AppendRow(nil, &ev, 0)
}
