package processors

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/tables"
)

// Whatever becomes of the files of a disk store while nobody has it open, the next start has the right table, from the changelog
// where the files are of no use any more.
func TestADamagedStoreIsRestored(t *testing.T) {
	each := func(pattern string, change func(t *testing.T, file string)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("no files %s in %s: %v", pattern, dir, err)
			}
			for _, file := range files {
				change(t, file)
			}
		}
	}
	flip := func(t *testing.T, file string) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(5, uint64(len(content))))
		for range 1 + len(content)/100 {
			if len(content) > 0 {
				content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
			}
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	halve := func(t *testing.T, file string) {
		info, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, file string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	age := func(t *testing.T, file string) {
		then := time.Now().Add(-tombstoneRetention - time.Hour)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(t *testing.T, dir string){
		"none":               func(*testing.T, string) {},
		"all gone":           func(t *testing.T, dir string) { each("*", remove)(t, dir) },
		"manifest flipped":   each("MANIFEST-*", flip),
		"manifest cut":       each("MANIFEST-*", halve),
		"manifest gone":      each("MANIFEST-*", remove),
		"log flipped":        each("*.log", flip),
		"log cut":            each("*.log", halve),
		"log gone":           each("*.log", remove),
		"options flipped":    each("OPTIONS-*", flip),
		"everything flipped": each("*", flip),
		"too old":            each("*", age),
		"tables flipped":     each("*.sst", flip),
		"tables gone":        each("*.sst", remove),
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRig(t), t.TempDir()
			r.transactional = testGroup + ".test"
			const n = 1000
			r.produce(0, n)
			run := r.start(dir)
			r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			for partition := range testPartitions {
				at := filepath.Join(dir, strconv.Itoa(partition))
				if strings.HasPrefix(name, "tables") {
					writeTables(t, at)
				}
				damage(t, at)
			}
			r.produce(n, n+100)
			run = r.start(dir)
			r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == 100 })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
			if len(run.log.restored) != n {
				t.Errorf("%d rows in the tables, want %d", len(run.log.restored), n)
			}
			r.wantAll(n + 100)
		})
	}
}

// records collects what is logged.
type records struct {
	slog.Handler
	mu   sync.Mutex
	said []string
}

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := record.Message
	record.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	r.said = append(r.said, text)
	return nil
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *records) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, text := range r.said {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

// A store that has seen more than its changelog has is not believed, and somebody is told.
func TestAStoreThatIsAheadIsRestored(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{1000, 100} { // each with topics of its own, and the same store
		r := newRig(t)
		r.transactional = testGroup + ".test"
		r.produce(0, n)
		log := &records{Handler: slog.DiscardHandler}
		run := r.start(dir, func(p *processor) { p.log = slog.New(log) })
		r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		r.wantAll(n)
		r.wantTable(n)
		want := 0
		if n == 100 {
			want = testPartitions
			if got := len(run.log.restored); got != 0 {
				t.Errorf("%d rows of another changelog were in the tables", got)
			}
		}
		if got := log.count("local state is discarded and restored from the changelog"); got != want {
			t.Errorf("%d partitions were said to be discarded, want %d", got, want)
		}
	}
}

// A row that nobody can read is an error that says where, at this start and at the next one.
func TestAChangelogThatCannotBeRead(t *testing.T) {
	eachStore(t, func(t *testing.T, dir string) {
		r := newRig(t)
		r.transactional = testGroup + ".test"
		r.produce(0, 100)
		run := r.start("")
		r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == 100 })
		if err := run.stop(); err != nil {
			t.Fatal(err)
		}
		key := codecs.AppendEntryKey(nil, echoKey, 0, codecs.AppendValue(nil, codecs.StringValue("bad")))
		r.write(codecs.Record{Topic: testChangelog, Partition: 1, Key: key, Value: []byte{255, 1, 2}})
		for range 2 {
			run = r.start(dir)
			<-run.done // it ends by itself
			if err := run.stop(); !isFatal(err) || !strings.Contains(err.Error(), testChangelog+"/1") || !strings.Contains(err.Error(), "cannot be read") {
				t.Errorf("got %v, want an error that names the partition", err)
			}
		}
	})
}

// writeTables opens and closes a store, which writes its log out as tables.
func writeTables(t *testing.T, dir string) {
	t.Helper()
	store, err := tables.Open(echoShape, tables.Options{Dir: dir})
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A disk store of a changelog that was deleted and created again is not taken up, nor is one of another format.
func TestAStoreOfAnotherChangelogIsRestored(t *testing.T) {
	r, dir := newRig(t), t.TempDir()
	incarnation := "one"
	withOptions := func(p *processor) {
		p.stores = newStores(echoShape, func(partition int32) tables.Options {
			return tables.Options{Dir: filepath.Join(dir, strconv.Itoa(int(partition))), Incarnation: incarnation}
		})
	}
	const n = 100
	r.produce(0, n)
	run := r.start(dir, withOptions)
	r.eventually("everything committed", func() bool { return run.log.count(run.log.committed) == n })
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		incarnation string
		stale       bool
	}{{"one", false}, {"", false}, {"two", true}} {
		incarnation = step.incarnation
		st := &store{partition: 0, of: newStores(echoShape, func(int32) tables.Options {
			return tables.Options{Dir: filepath.Join(dir, "0"), Incarnation: incarnation}
		})}
		err := st.open()
		if (err != nil) != step.stale {
			t.Errorf("incarnation %q: %v", step.incarnation, err)
		}
		if err := st.close(); err != nil {
			t.Fatal(err)
		}
	}
	run = r.start(dir, withOptions)
	r.eventually("all partitions restored", func() bool { return opened(run) == testPartitions })
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	if len(run.log.restored) != n {
		t.Errorf("%d rows in the tables, want %d", len(run.log.restored), n)
	}
}
